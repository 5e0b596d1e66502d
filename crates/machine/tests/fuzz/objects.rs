//! Objects of a checkpoint: a list of keys and values. A machine that takes them writes them again.

use machine::Machine;
use model::{ShardId, Wire};

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(objects) = Vec::<(Vec<u8>, Vec<u8>)>::from_wire(data) else { return };
    let objects = objects.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    if let Ok(machine) = Machine::restore(ShardId(1), objects) {
        let _ = machine.digest();
        let _ = machine.next_deadline();
    }
}
