//! The one door to storage. The journal does all its input and output through [`Disk`], so that the
//! simulator can put a disk behind it that loses, tears, flips and refuses.

use crate::around::Around;
use crate::cold_pages::ColdPages;
use model::limit;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FallocateFlags, Mode, OFlags};
use rustix::io::ReadWriteFlags;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A flat folder of files that belongs to one journal.
pub trait Disk: Send + Sync + 'static {
    /// Names of the files there are.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file of `length` zero bytes whose space is reserved: writing inside it cannot fail
    /// for want of space. The name survives power loss after [`Disk::sync_names`].
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull`, or as the operating system says. After an error the file
    /// does not exist.
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound`, or as the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file over whatever has the new name.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Whoever has it open can go on reading it.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created, renamed and removed names survive power loss.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_names(&self) -> io::Result<()>;

    /// What changes when, and only when, the machine has restarted: while it is the same, whatever
    /// was written is still there, synced or not.
    fn boot_id(&self) -> u128;
}

/// How far ahead of a reader the system is told to read.
const AHEAD_BYTES: u64 = 4 << 20;
/// The kernel may take no more at once than the disk does in one request, and forgets the rest.
const AHEAD_STEP_BYTES: u64 = 256 << 10;

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// As the operating system says.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before the buffer does, or as the operating system says.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `parts`, back to back, at `position`.
    ///
    /// # Errors
    /// As the operating system says; an unknown part has been written then.
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// The same for much that is not expected to be read back soon: the operating system need not keep it
    /// in memory. Behind it, up to the next multiple of 4096, nothing but zeros may be.
    ///
    /// # Errors
    /// See [`DiskFile::write_at`].
    fn write_around(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.write_at(position, parts)
    }

    /// Returns when everything written is on stable storage (`fdatasync`).
    ///
    /// # Errors
    /// As the operating system says. Nobody knows then which unsynced writes are on storage, and a
    /// second attempt could succeed without them: the journal never makes one.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The descriptor, where there is one, for `sendfile`.
    fn descriptor(&self) -> Option<&File> {
        None
    }

    /// Somebody reads upwards, from `from` up to `to` now: the operating system may read on before it is asked to,
    /// and need not keep it in memory when it was not there before.
    fn expect_reads(&self, _from: u64, _to: u64) {}
}

/// Gives a small file new content, all of it or none. On stable storage on return.
pub(crate) fn replace(disk: &dyn Disk, name: &str, temporary: &str, bytes: &[u8]) -> io::Result<()> {
    match disk.remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(temporary, bytes.len() as u64)?;
    file.write_at(0, &[IoSlice::new(bytes)])?;
    file.sync()?;
    disk.rename(temporary, name)?;
    disk.sync_names()
}

/// A folder of the operating system. It is held open, and names are looked up in it, not along a path: whoever goes on
/// working in a folder that was removed finds nothing, also when another one is where it was.
pub struct Folder {
    folder: File,
    boot_id: u128,
    around: Arc<Mutex<Around>>,
    cold: Arc<ColdPages>,
    /// Files opened so far.
    opened: AtomicU64,
}

/// A file of a folder.
struct FolderFile {
    file: Arc<File>,
    /// Which of the folder's opened files.
    number: u64,
    around: Arc<Mutex<Around>>,
    cold: Arc<ColdPages>,
    /// Up to where the system was last told to read ahead.
    ahead: AtomicU64,
}

impl Folder {
    /// Opens `path`, creating it if need be.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let cold = ColdPages::new(limit::COLD_PAGES_BYTES_DEFAULT);
        let folder = File::open(path)?;
        Ok(Folder { folder, boot_id: read_boot_id()?, around: Arc::default(), cold, opened: AtomicU64::new(0) })
    }

    /// Has readers of this folder share with those of others what they may leave in the page cache.
    #[must_use]
    pub fn with_cold_pages(self, cold: Arc<ColdPages>) -> Self {
        Folder { cold, ..self }
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // As everything else a process makes: the umask takes what others are not to have.
        let mode = Mode::from_raw_mode(0o666);
        let file = rustix::fs::openat(&self.folder, name, OFlags::RDWR | OFlags::CLOEXEC | flags, mode);
        file.map(File::from).map_err(|error| about(name)(error.into()))
    }

    fn opened(&self, file: File) -> Arc<dyn DiskFile> {
        let number = self.opened.fetch_add(1, Relaxed);
        let (around, cold) = (self.around.clone(), self.cold.clone());
        Arc::new(FolderFile { file: Arc::new(file), number, around, cold, ahead: AtomicU64::new(0) })
    }
}

impl Drop for FolderFile {
    fn drop(&mut self) {
        self.around.lock().forget(self.number);
    }
}

/// Says which file an error is about.
fn about(name: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{name}: {error}"))
}

fn read_boot_id() -> io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_err(|_| io::Error::other("the kernel's boot id is not a UUID"))
}

impl FolderFile {
    /// Whether the byte at `position` can be read without waiting for the disk.
    fn is_cached(&self, position: u64) -> bool {
        let mut byte = [0];
        let mut buffer = [io::IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(&self.file, &mut buffer, position, ReadWriteFlags::NOWAIT).is_ok_and(|read| read > 0)
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_with(name, OFlags::CREATE | OFlags::EXCL)?;
        if length > 0
            && let Err(error) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length)
        {
            self.remove(name)?;
            return Err(about(name)(error.into()));
        }
        Ok(self.opened(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.opened(self.open_with(name, OFlags::empty())?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        rustix::fs::renameat(&self.folder, from, &self.folder, to).map_err(|error| about(from)(error.into()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
        removed.map_err(|error| about(name)(error.into()))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn boot_id(&self) -> u128 {
        self.boot_id
    }
}

impl DiskFile for FolderFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, position).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the file ends too early"),
            _ => error,
        })
    }

    fn write_at(&self, mut position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        /// The kernel takes no more slices in one call (`IOV_MAX`).
        const SLICES_MAX: usize = 1024;
        let mut parts = parts.to_vec();
        let mut rest = &mut parts[..];
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(SLICES_MAX)];
            let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(self.file.as_fd(), now, position))?;
            if written == 0 && now.iter().any(|part| !part.is_empty()) {
                return Err(io::ErrorKind::WriteZero.into());
            }
            position += written as u64;
            IoSlice::advance_slices(&mut rest, written);
            while rest.first().is_some_and(|part| part.is_empty()) {
                rest = &mut rest[1..];
            }
        }
        Ok(())
    }

    fn write_around(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        match self.around.lock().write(&self.file, self.number, position, parts)? {
            true => Ok(()),
            false => self.write_at(position, parts),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn descriptor(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn expect_reads(&self, from: u64, to: u64) {
        let told = self.ahead.load(Relaxed);
        let Some((begin, end)) = read_ahead(to, told) else { return };
        self.ahead.store(end, Relaxed);
        let Ok(length) = self.length() else { return };
        let (first, begin, end) = (news(from, begin, told).min(length), begin.min(length), end.min(length));
        // What was read before is mostly still there, and then going through all of it is in vain. It is looked for
        // in the middle: in front of it pieces were looked at, and a file ends with its table.
        let looked_for = (begin < end).then(|| begin.midpoint(end));
        if first == end || looked_for.is_some_and(|position| self.is_cached(position)) {
            return;
        }
        for at in (begin..end).step_by(AHEAD_STEP_BYTES as usize) {
            // A hint: nothing follows from a refusal.
            let length = std::num::NonZeroU64::new(AHEAD_STEP_BYTES.min(end - at));
            let _ = rustix::fs::fadvise(&self.file, at, length, rustix::fs::Advice::WillNeed);
        }
        self.cold.note(&self.file, first, end);
    }
}

/// What to read ahead of a reader at `position`, when it was told before to read up to `told`; nothing while
/// much of that lies before the reader. For a reader elsewhere it begins anew.
fn read_ahead(position: u64, told: u64) -> Option<(u64, u64)> {
    let to = position + AHEAD_BYTES;
    match told.checked_sub(position) {
        Some(left) if left > AHEAD_BYTES => Some((position, to)),
        Some(left) if left >= AHEAD_BYTES / 2 => None,
        Some(_) => Some((told, to)),
        None => Some((position, to)),
    }
}

/// From where on nobody has been told before: of what is read from `from` on, and of what is read ahead from
/// `begin` on, when the system was told before to read up to `told`.
fn news(from: u64, begin: u64, told: u64) -> u64 {
    if (from..=begin).contains(&told) { told } else { from.min(begin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_read_and_read_ahead_is_news_once() {
        // In small steps and in large ones, of which the first is not read ahead of.
        for step in [1 << 20, 3 << 20, 50 << 20] {
            let (mut told, mut noted) = (0, Vec::new());
            for from in (0..200 << 20).step_by(step) {
                let to = from + step as u64;
                if let Some((begin, end)) = read_ahead(to, told) {
                    noted.push((news(from, begin, told), end));
                    told = end;
                }
            }
            assert_eq!(noted[0].0, 0, "{step}");
            assert!(noted.windows(2).all(|pair| pair[0].1 == pair[1].0), "{step}: {noted:?}");
        }
        // Elsewhere in the file it begins anew.
        assert_eq!(news(100, 200, 1000), 100);
        assert_eq!(news(100, 200, 50), 100);
    }

    #[test]
    fn it_is_read_ahead_of_a_reader_once() {
        let mut told = 0;
        let mut read = Vec::new();
        for position in (0..10 * AHEAD_BYTES).step_by(1 << 20) {
            if let Some((from, to)) = read_ahead(position, told) {
                read.push((from, to));
                told = to;
            }
            assert!(told >= position + AHEAD_BYTES / 2);
        }
        assert!(read.windows(2).all(|pair| pair[0].1 == pair[1].0), "{read:?}");
        // Readers who are elsewhere get theirs.
        assert_eq!(read_ahead(0, told), Some((0, AHEAD_BYTES)));
        assert_eq!(read_ahead(told + 1, told), Some((told + 1, told + 1 + AHEAD_BYTES)));
    }

    #[test]
    fn a_folder_that_was_removed_is_not_the_one_that_is_there_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let old = Folder::open(&path).unwrap();
        old.create("manifest", 8).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        let new = Folder::open(&path).unwrap();
        new.create("manifest", 8).unwrap();
        assert_eq!(old.list().unwrap(), Vec::<String>::new());
        let kinds = [
            old.create("a", 8).err(),
            old.open("manifest").err(),
            old.rename("manifest", "b").err(),
            old.remove("manifest").err(),
        ];
        assert!(kinds.into_iter().all(|error| error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)));
        assert_eq!(new.list().unwrap(), ["manifest"]);
    }

    #[test]
    fn writes_of_many_slices_land_back_to_back() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let file = disk.create("a", 1 << 20).unwrap();
        let parts: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        file.write_at(5, &slices).unwrap();
        file.sync().unwrap();
        let mut back = vec![0; 12_000];
        file.read_at(5, &mut back).unwrap();
        assert_eq!(back, parts.concat());
        assert_eq!(disk.create("a", 0).err().map(|e| e.kind()), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(disk.list().unwrap(), ["a"]);
    }
}
