//! The bytes of one file: what is on stable storage, what the page cache shows, and the writes that
//! make the difference.

use super::faults::Tally;
use crate::rng::Rng;

/// What a disk writes as a whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// Something that happened to a file since it was last synced.
#[derive(Debug)]
enum Change {
    /// The length was set.
    Length(usize),
    /// Sectors were written. `bytes` start at a sector and are what the page cache held right after,
    /// because that is what goes to the disk: a sector never holds a later write without an
    /// earlier one to it.
    Sectors { position: usize, bytes: Vec<u8> },
}

/// How much of what was not synced survives.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Nothing,
    Everything,
    Mixed,
}

/// A file's bytes.
#[derive(Debug, Default)]
pub(super) struct Inode {
    stable: Vec<u8>,
    cached: Vec<u8>,
    changes: Vec<Change>,
}

impl Inode {
    /// What reading shows.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    /// Bytes of the disk it takes.
    pub(super) fn allocated(&self) -> u64 {
        self.cached.len().max(self.stable.len()) as u64
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.cached.resize(length, 0);
        self.changes.push(Change::Length(length));
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        if end > self.cached.len() {
            self.cached.resize(end, 0);
        }
        self.cached[position..end].copy_from_slice(bytes);
        let from = position - position % SECTOR_BYTES;
        let to = end.next_multiple_of(SECTOR_BYTES).min(self.cached.len());
        self.changes.push(Change::Sectors { position: from, bytes: self.cached[from..to].to_vec() });
    }

    /// Everything written is stable.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change.apply(&mut self.stable, |_| true);
        }
    }

    /// A sync fails: some of what was written is stable, the rest is forgotten, because the pages
    /// count as clean afterwards. With `evicted` the page cache lets go of them too, and reading
    /// shows what is stable.
    pub(super) fn sync_badly(&mut self, evicted: bool, rng: &mut Rng, tally: &mut Tally) {
        self.lose(rng, tally);
        if evicted {
            self.cached.clone_from(&self.stable);
        }
    }

    /// The power goes.
    pub(super) fn lose_power(&mut self, rng: &mut Rng, tally: &mut Tally) {
        self.lose(rng, tally);
        self.cached.clone_from(&self.stable);
    }

    /// Each change survives whole, in part, or not at all; sectors on their own, so a later write
    /// may survive an earlier one.
    fn lose(&mut self, rng: &mut Rng, tally: &mut Tally) {
        let luck = match rng.below(4) {
            0 => Luck::Nothing,
            1 => Luck::Everything,
            _ => Luck::Mixed,
        };
        for change in std::mem::take(&mut self.changes) {
            let fate = match luck {
                Luck::Nothing => 0,
                Luck::Everything => 1,
                Luck::Mixed => rng.below(3),
            };
            match fate {
                0 => tally.lost_writes += 1,
                1 => change.apply(&mut self.stable, |_| true),
                _ => {
                    tally.torn_writes += 1;
                    change.apply(&mut self.stable, |_| rng.percent(50));
                }
            }
        }
    }

    /// Flips a bit of a byte that is stable.
    pub(super) fn flip(&mut self, position: usize, bit: u32) -> bool {
        let Some(byte) = self.stable.get_mut(position) else { return false };
        *byte ^= 1 << (bit % 8);
        if let Some(shown) = self.cached.get_mut(position) {
            *shown = *byte;
        }
        true
    }

    /// One past the last stable byte that is not zero.
    pub(super) fn content_end(&self) -> usize {
        self.stable.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }
}

impl Change {
    fn apply(self, stable: &mut Vec<u8>, mut survives: impl FnMut(usize) -> bool) {
        match self {
            Change::Length(length) => {
                if survives(0) {
                    stable.resize(length, 0);
                }
            }
            Change::Sectors { position, bytes } => {
                for (nth, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if !survives(nth) {
                        continue;
                    }
                    let from = position + nth * SECTOR_BYTES;
                    let to = from + sector.len();
                    if stable.len() < to {
                        stable.resize(to, 0);
                    }
                    stable[from..to].copy_from_slice(sector);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_survive_and_others_survive_by_sector() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let (mut rng, mut tally) = (Rng::new(seed), Tally::default());
            let mut inode = Inode::default();
            inode.set_length(4 * SECTOR_BYTES);
            inode.write(0, &[1; SECTOR_BYTES]);
            inode.sync();
            inode.write(SECTOR_BYTES, &[2; SECTOR_BYTES]);
            inode.write(2 * SECTOR_BYTES, &[3; 2 * SECTOR_BYTES]);
            inode.lose_power(&mut rng, &mut tally);
            assert_eq!(inode.bytes().len(), 4 * SECTOR_BYTES);
            let sectors: Vec<u8> = inode.bytes().chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
            assert!(inode.bytes().chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            assert_eq!(sectors[0], 1);
            outcomes.insert(sectors);
        }
        for expected in [[1, 0, 0, 0], [1, 2, 3, 3], [1, 0, 3, 3], [1, 2, 0, 3], [1, 0, 0, 3]] {
            assert!(outcomes.contains(&expected[..]), "{expected:?} never happened");
        }
    }

    #[test]
    fn a_sector_never_holds_a_later_write_without_an_earlier_one() {
        for seed in 0..100 {
            let (mut rng, mut tally) = (Rng::new(seed), Tally::default());
            let mut inode = Inode::default();
            inode.write(0, &[1; 100]);
            inode.write(100, &[2; 100]);
            inode.lose_power(&mut rng, &mut tally);
            let shown = inode.bytes();
            assert!(shown.len() < 200 || (shown[0], shown[150]) == (1, 2), "seed {seed}");
        }
    }

    #[test]
    fn what_a_failed_sync_lost_is_not_there_after_the_next() {
        let mut lost = 0;
        for seed in 0..50 {
            let (mut rng, mut tally) = (Rng::new(seed), Tally::default());
            let mut inode = Inode::default();
            inode.write(0, &[7; SECTOR_BYTES]);
            inode.sync_badly(false, &mut rng, &mut tally);
            assert_eq!(inode.bytes()[0], 7, "the page cache still shows it");
            inode.sync();
            inode.lose_power(&mut rng, &mut tally);
            lost += u32::from(inode.bytes().is_empty());
        }
        assert!((10..40).contains(&lost), "{lost}");
    }
}
