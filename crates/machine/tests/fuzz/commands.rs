//! Commands back to back, applied to a machine; what can be read is written and read again. The first
//! byte says which kind of shard it is, and whether the newest behaviour is in force.

use machine::machine::VERSION_MAX;
use machine::{Command, Machine, Position};
use model::record::Message;
use model::wire::Input;
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceHead, ShardId, StreamId, Wire};

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let mut machine = Machine::new(ShardId(u32::from(kind & 1)));
    let mut input = Input::new(data);
    let mut index = 0;
    let mut first = (kind & 2 != 0).then_some(Command::Barrier { version: VERSION_MAX });
    while let Some(command) = first.take().or_else(|| Command::take(&mut input).ok()) {
        assert_eq!(Command::from_wire(&command.to_wire()).as_ref(), Ok(&command));
        let mut builder = EntryBuilder::new();
        let body = Message::default().encode().expect("a message");
        let head = PieceHead::parse(&body).expect("a piece");
        builder.add_piece(StreamId(1), Offset(index), LeaderEpoch(0), &head, body.clone().into(), None);
        builder.add_command(&command);
        index += 1;
        let entry = Entry::parse(builder.finish(Hlc(index << 16))).expect("an entry");
        if machine.apply(Position { term: 1, index }, &entry).is_err() {
            break;
        }
    }
    let changes = machine.take_changes();
    let objects: Vec<(Vec<u8>, Vec<u8>)> =
        changes.into_iter().filter_map(|(key, value)| Some((key, value?.bytes()))).collect();
    let objects = objects.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    let again = Machine::restore(machine.shard(), objects).expect("its own objects");
    assert_eq!(again.digest(), machine.digest());
}
