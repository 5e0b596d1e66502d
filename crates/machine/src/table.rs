//! State as tables of objects that know what changed since the last checkpoint.
//!
//! Objects are shared by reference and copied when changed, so taking the changes costs a reference
//! for each; turning them into bytes is done elsewhere and never stalls `apply`.

use model::wire::{Wire, WireError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An object that a checkpoint can hold.
pub trait Object: Send + Sync {
    /// The object as bytes.
    fn bytes(&self) -> Vec<u8>;
}

impl<T: Wire + Send + Sync> Object for T {
    fn bytes(&self) -> Vec<u8> {
        self.to_wire()
    }
}

/// An object's key in a checkpoint and its value, or none when it is gone.
pub type Change = (Vec<u8>, Option<Arc<dyn Object>>);

/// Takes changes out of tables.
#[derive(Default)]
pub struct Taken {
    /// Whether every object is taken as changed.
    pub all: bool,
    /// What was taken.
    pub changes: Vec<Change>,
}

/// Objects of one kind by key.
#[derive(Debug)]
pub struct Table<K, V> {
    /// First byte of the keys in a checkpoint: tells the tables apart.
    tag: u8,
    rows: BTreeMap<K, Arc<V>>,
    changed: BTreeSet<K>,
}

impl<K: Wire + Ord + Clone, V: Wire + Clone + Send + Sync + 'static> Table<K, V> {
    /// An empty table whose keys start with `tag` in checkpoints. Tags are on disk: never reused.
    #[must_use]
    pub fn new(tag: u8) -> Self {
        Table { tag, rows: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// The table's tag.
    #[must_use]
    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The object `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|value| &**value)
    }

    /// The object `key`, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let value = self.rows.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(Arc::make_mut(value))
    }

    /// The object `key`, to change it, made if it is not there.
    pub fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        self.changed.insert(key.clone());
        Arc::make_mut(self.rows.entry(key.clone()).or_insert_with(|| Arc::new(make())))
    }

    /// Adds or replaces the object `key`.
    pub fn insert(&mut self, key: K, value: V) {
        self.changed.insert(key.clone());
        self.rows.insert(key, Arc::new(value));
    }

    /// Removes the object `key`; returns whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let was_there = self.rows.remove(key).is_some();
        if was_there {
            self.changed.insert(key.clone());
        }
        was_there
    }

    /// The objects, ascending by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, value)| (key, &**value))
    }

    /// The objects with keys in `range`, ascending.
    pub fn range(&self, range: impl std::ops::RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range).map(|(key, value)| (key, &**value))
    }

    /// Takes out what changed since the last time.
    pub fn take_changes(&mut self, into: &mut Taken) {
        if into.all {
            self.changed.extend(self.rows.keys().cloned());
        }
        for key in std::mem::take(&mut self.changed) {
            let value = self.rows.get(&key).cloned();
            into.changes.push((self.checkpoint_key(&key), value.map(|value| value as Arc<dyn Object>)));
        }
    }

    /// Puts an object from a checkpoint in its place.
    ///
    /// # Errors
    /// When the bytes are no such key and value.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), WireError> {
        self.rows.insert(K::from_wire(key)?, Arc::new(V::from_wire(value)?));
        Ok(())
    }

    /// Every object as it would be in a checkpoint, ascending by key.
    pub fn dump(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for (key, value) in self.iter() {
            each(&self.checkpoint_key(key), &value.to_wire());
        }
    }

    fn checkpoint_key(&self, key: &K) -> Vec<u8> {
        let mut bytes = vec![self.tag];
        key.put(&mut bytes);
        bytes
    }
}

/// A single object, with a table's behaviour.
#[derive(Debug)]
pub struct Single<V>(Table<(), V>);

impl<V: Wire + Clone + Default + Send + Sync + 'static> Single<V> {
    /// The object, at its default.
    #[must_use]
    pub fn new(tag: u8) -> Self {
        let mut table = Table::new(tag);
        table.rows.insert((), Arc::new(V::default()));
        Single(table)
    }

    /// The object.
    #[must_use]
    pub fn get(&self) -> &V {
        // Made by `new` and never removed.
        &self.0.rows[&()]
    }

    /// The object, to change it.
    pub fn get_mut(&mut self) -> &mut V {
        self.0.get_or_insert_with(&(), V::default)
    }

    /// The table it is in.
    pub fn table(&mut self) -> &mut Table<(), V> {
        &mut self.0
    }

    /// See [`Table::dump`].
    pub fn dump(&self, each: impl FnMut(&[u8], &[u8])) {
        self.0.dump(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_taken_once_and_rebuild_the_table() {
        let mut table: Table<u32, String> = Table::new(9);
        table.insert(1, "one".into());
        table.insert(2, "two".into());
        let mut changes = Taken::default();
        table.take_changes(&mut changes);
        assert_eq!(changes.changes.len(), 2);
        table.get_mut(&2).unwrap().push('!');
        assert!(table.remove(&1) && !table.remove(&7));
        let mut later = Taken::default();
        table.take_changes(&mut later);
        let shown: Vec<_> =
            later.changes.iter().map(|(key, value)| (key[1], value.as_ref().map(|v| v.bytes()))).collect();
        assert_eq!(shown, [(1, None), (2, Some("two!".to_owned().to_wire()))]);
        let before = changes.changes[1].1.as_ref().unwrap().bytes();
        assert_eq!(before, "two".to_owned().to_wire(), "what a checkpoint took does not change any more");
        let mut all = Taken { all: true, changes: Vec::new() };
        table.take_changes(&mut all);
        assert_eq!(all.changes.iter().map(|(key, _)| key[1]).collect::<Vec<_>>(), [2], "what is there, changed or not");
        let mut again: Table<u32, String> = Table::new(9);
        table.dump(|key, value| again.restore(&key[1..], value).unwrap());
        assert_eq!(again.get(&2).unwrap(), "two!");
        assert_eq!(again.len(), 1);
    }
}
