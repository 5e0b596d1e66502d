//! A checkpoint as the journal keeps one: the newest bytes of every object.

use machine::{ApplyError, Machine};
use model::ShardId;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    objects: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Checkpoint {
    pub(super) fn take(&mut self, machine: &mut Machine) {
        for (key, object) in machine.take_changes() {
            match object {
                Some(object) => self.objects.insert(key, object.bytes()),
                None => self.objects.remove(&key),
            };
        }
    }

    pub(super) fn restore(&self, shard: ShardId) -> Result<Machine, ApplyError> {
        Machine::restore(shard, self.objects.iter().map(|(key, value)| (&key[..], &value[..])))
    }
}
