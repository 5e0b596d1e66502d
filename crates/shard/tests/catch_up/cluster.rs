//! Replicas on real folders under tokio, and what becomes of the chunks between them.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use journal::disk::{Disk, DiskFile, Folder};
use journal::install::SnapshotOffer;
use journal::thread::{Bell, spawn};
use journal::{CacheBudget, Journal, Options};
use machine::messaging::sequencer::AppendRequest;
use machine::{Command, Reply};
use model::record::Message;
use model::{NodeId, Offset, ShardId, StreamConfig, StreamId, Timestamp};
use openraft::TokioRuntime;
use parking_lot::Mutex;
use shard::{
    Bandwidth, CatchUp, Environment, Lane, Pace, ProposeError, Request, Role, Shard, Transport, TransportError, Upkeep,
};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What does not come about by then never does.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(10);
const STREAM: StreamId = StreamId(1);
/// A file has many chunks, and none is so small that it is packed.
pub(crate) const CHUNK_BYTES: usize = 32 << 10;
const LOG_FILE_BYTES: u64 = 2 << 20;
const VALUE_BYTES: usize = 64 << 10;
pub(crate) const VALUES: usize = 100;

/// A chunk that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) by: u64,
    pub(crate) of: u64,
    /// The part, as it is written in the question.
    pub(crate) part: Vec<u8>,
    pub(crate) position: u64,
    pub(crate) bytes: u64,
}

impl Asked {
    /// How a question for a chunk begins.
    const PULL: [u8; 2] = [1, 5];

    fn read(by: NodeId, of: NodeId, request: &[u8]) -> Option<Self> {
        let (rest, bytes) = request.strip_prefix(&Self::PULL)?.split_last_chunk::<4>()?;
        let (part, position) = rest.split_last_chunk::<8>()?;
        let (position, bytes) = (u64::from_le_bytes(*position), u32::from_le_bytes(*bytes).into());
        Some(Asked { by: by.0, of: of.0, part: part.to_vec(), position, bytes })
    }

    /// Whether it is of a file, and not of the checkpoint.
    pub(crate) fn is_of_file(&self) -> bool {
        self.part[0] == 2
    }
}

/// What becomes of a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    /// A bit flips on the way.
    Altered,
}

type Fates = Box<dyn FnMut(&Asked) -> Fate + Send>;

struct Wires {
    shards: BTreeMap<NodeId, Shard>,
    fates: Fates,
    /// Every chunk that arrived.
    arrived: Vec<Asked>,
    /// How long a chunk is on its way.
    delay: Duration,
    /// Chunks that are on their way, and the most that ever were.
    under_way: usize,
    most_under_way: usize,
}

/// The network. Clones are the same network.
#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<Wires>>);

impl Net {
    pub(crate) fn new() -> Self {
        let fates: Fates = Box::new(|_| Fate::Arrives);
        Net(Arc::new(Mutex::new(Wires {
            shards: BTreeMap::new(),
            fates,
            arrived: Vec::new(),
            delay: Duration::ZERO,
            under_way: 0,
            most_under_way: 0,
        })))
    }

    pub(crate) fn decide(&self, fates: impl FnMut(&Asked) -> Fate + Send + 'static) {
        self.0.lock().fates = Box::new(fates);
    }

    /// The chunks that have arrived since this was last asked.
    pub(crate) fn take_arrived(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().arrived)
    }

    /// From now on chunks take so long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.0.lock().delay = delay;
    }

    /// The most chunks that were on their way at a time.
    pub(crate) fn most_under_way(&self) -> usize {
        self.0.lock().most_under_way
    }

    pub(crate) fn arrived(&self) -> usize {
        self.0.lock().arrived.len()
    }
}

struct Port {
    net: Net,
    from: NodeId,
}

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        _shard: ShardId,
        _lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let request = Bytes::from(request.concat());
        let (target, fate, is_chunk) = {
            let mut wires = self.net.0.lock();
            let asked = Asked::read(self.from, to, &request);
            let is_chunk = asked.is_some();
            let fate = asked.as_ref().map_or(Fate::Arrives, |asked| (wires.fates)(asked));
            wires.arrived.extend(asked.filter(|_| fate == Fate::Arrives));
            (wires.shards.get(&to).cloned(), fate, is_chunk)
        };
        let answer = match (target, fate) {
            (None, _) => async move { Err(TransportError::NotSent(format!("{to} is not there"))) }.boxed(),
            (_, Fate::Lost) => async { Err(TransportError::Lost("cut".into())) }.boxed(),
            (Some(shard), Fate::Arrives) => shard.handle(self.from, request).map_ok(in_one).boxed(),
            (Some(shard), Fate::Altered) => shard.handle(self.from, request).map_ok(in_one).map_ok(altered).boxed(),
        };
        if is_chunk { self.net.under_way(answer) } else { answer }
    }
}

type Answer = BoxFuture<'static, Result<Bytes, TransportError>>;

impl Net {
    /// A chunk that takes its time. Whoever does not wait for it any more does not count.
    fn under_way(&self, answer: Answer) -> Answer {
        struct UnderWay(Net);
        impl Drop for UnderWay {
            fn drop(&mut self) {
                self.0.0.lock().under_way -= 1;
            }
        }
        let delay = {
            let mut wires = self.0.lock();
            wires.under_way += 1;
            wires.most_under_way = wires.most_under_way.max(wires.under_way);
            wires.delay
        };
        let counted = UnderWay(self.clone());
        async move {
            let _counted = counted;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            answer.await
        }
        .boxed()
    }
}

fn in_one(parts: Vec<Bytes>) -> Bytes {
    Bytes::from(parts.concat())
}

fn altered(answer: Bytes) -> Bytes {
    let mut answer = answer.to_vec();
    if let Some(last) = answer.last_mut() {
        *last ^= 0x10;
    }
    Bytes::from(answer)
}

/// A replica on a folder.
pub(crate) struct Node {
    pub(crate) shard: Shard,
    net: Net,
    id: NodeId,
    writer: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(id: u64, folder: &Path, net: &Net) -> Self {
        Node::start_with(id, folder, net, None).await
    }

    /// One that copies no more than the bandwidth allows.
    pub(crate) async fn start_with(id: u64, folder: &Path, net: &Net, bandwidth: Option<Bandwidth>) -> Self {
        let disk = Folder::open(folder.join(NodeId(id).to_string())).unwrap();
        Node::start_on(id, Arc::new(disk), net, CatchUp { bandwidth, ..CatchUp::default() }).await
    }

    /// One that copies as is said, to this disk.
    pub(crate) async fn start_on(id: u64, disk: Arc<dyn Disk>, net: &Net, catch_up: CatchUp) -> Self {
        let id = NodeId(id);
        let bell = Bell::new();
        let mut options = Options::new(ShardId(1), CacheBudget::new(8 << 20), 0xabc0 + id.0);
        options.log_file_bytes = LOG_FILE_BYTES;
        options.reserve_bytes = 64 << 10;
        options.wake_writer = bell.ringer();
        let (journal, writer, recovered) = Journal::open(disk, options).unwrap();
        assert!(!recovered.in_doubt, "{recovered:?}");
        let writer = spawn(writer, bell).unwrap();
        let environment = Environment {
            transport: Arc::new(Port { net: net.clone(), from: id }),
            wall: Arc::new(|| Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)),
            offload: Arc::new(|work| {
                tokio::task::spawn_blocking(work);
            }),
            on_effects: Arc::new(|_, _| ()),
            on_role: Arc::new(|_| ()),
            upkeep: Upkeep { log_kept_bytes: 0, purge_delay: Duration::ZERO, ..Upkeep::default() },
            turns: Arc::new(tokio::sync::Semaphore::new(1)),
            catch_up: CatchUp { chunk_bytes: CHUNK_BYTES, ..catch_up },
        };
        let shard = Shard::start::<TokioRuntime>(id, journal, false, environment).await.unwrap();
        net.0.lock().shards.insert(id, shard.clone());
        Node { shard, net: net.clone(), id, writer }
    }

    /// Stops it, and leaves in `folder` what there would be if it had been killed now. It must not be writing.
    pub(crate) async fn kill(self, from: &Path, folder: &Path) {
        let own = self.id.to_string();
        std::fs::create_dir_all(folder.join(&own)).unwrap();
        for entry in std::fs::read_dir(from.join(&own)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(&own).join(entry.file_name())).unwrap();
        }
        self.stop().await;
    }

    pub(crate) async fn stop(self) {
        self.net.0.lock().shards.remove(&self.id);
        self.shard.shutdown().await;
        self.shard.journal().stop();
        let writer = self.writer;
        tokio::task::spawn_blocking(|| writer.join().unwrap()).await.unwrap();
    }

    /// Counts of this process: parts that were gone on with, that were there whole, that were refused; chunks that
    /// were refused.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let counters = &self.shard.journal().counters;
        let all = [&counters.parts_resumed, &counters.parts_reused, &counters.parts_refused, &counters.chunks_refused];
        all.map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
    }
}

/// A first replica, alone, whose log begins after many records.
pub(crate) async fn founder(folder: &Path, net: &Net) -> Node {
    let node = Node::start(1, folder, net).await;
    node.shard.initialize(vec![NodeId(1)]).await.unwrap();
    node.shard.elect().await;
    let create = Command::CreateStream { stream: STREAM, config: StreamConfig::default() };
    until("it leads", || node.shard.role() == Role::Leader).await;
    while let Err(ProposeError::NotLeader(_)) = node.shard.command(create.clone()).await {}
    for nth in 0..VALUES {
        append(&node.shard, nth).await;
    }
    node.shard.checkpoint().await;
    until("the log is purged", || node.shard.journal().floor().index > VALUES as u64).await;
    node
}

/// A folder with no room for parts of snapshots. Clones are the same folder.
#[derive(Clone)]
pub(crate) struct FullFolder {
    folder: Arc<Folder>,
    /// How many parts it has refused, until there is room.
    refused: Arc<Mutex<Option<usize>>>,
}

impl FullFolder {
    pub(crate) fn open(path: &Path) -> Self {
        FullFolder { folder: Arc::new(Folder::open(path).unwrap()), refused: Arc::new(Mutex::new(Some(0))) }
    }

    pub(crate) fn has_refused(&self) -> bool {
        self.refused.lock().is_some_and(|refused| refused > 0)
    }

    pub(crate) fn make_room(&self) {
        *self.refused.lock() = None;
    }
}

impl Disk for FullFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        if name.starts_with("pulled-")
            && let Some(refused) = &mut *self.refused.lock()
        {
            *refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.folder.create(name, length)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.folder.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_names()
    }
    fn boot_id(&self) -> u128 {
        self.folder.boot_id()
    }
}

/// Takes the turn of another shard of the node.
pub(crate) async fn take(turn: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    tokio::time::timeout(PATIENCE, turn.clone().acquire_owned()).await.expect("never its turn").unwrap()
}

/// How much there is of the snapshot that a leader offers.
pub(crate) fn snapshot_bytes(leader: &Node) -> u64 {
    let journal = leader.shard.journal();
    SnapshotOffer { journal: journal.id(), manifest: journal.snapshot_manifest().unwrap() }.bytes()
}

pub(crate) async fn append(shard: &Shard, nth: usize) {
    let value: Vec<u8> = format!("{nth}/").into_bytes().into_iter().cycle().take(VALUE_BYTES).collect();
    let bytes = Bytes::from(Message { value: &value, ..Message::default() }.encode().unwrap());
    let request = AppendRequest { stream: STREAM, bytes, message_id: None, durability: None };
    let (sender, wait) = futures::channel::oneshot::channel();
    let answer = Box::new(move |result| drop(sender.send(result)));
    shard.propose(Request::Append(request), answer).await;
    assert!(matches!(wait.await.unwrap(), Ok(Reply::Appended { .. })));
}

/// Lets `node` follow; it catches up in its own time.
pub(crate) fn follow(leader: &Node, node: u64) {
    let shard = leader.shard.clone();
    tokio::spawn(async move { shard.follow(NodeId(node)).await });
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Waits until `node` has all that `leader` has, and compares.
pub(crate) async fn caught_up(node: &Node, leader: &Node) {
    until("it has caught up", || node.shard.applied() >= leader.shard.applied()).await;
    assert_eq!(values(&node.shard), values(&leader.shard));
    until("nothing is left of its parts", || node.shard.journal().kept_parts() == 0).await;
}

fn values(shard: &Shard) -> Vec<Vec<u8>> {
    let end = shard.machine().messaging.stream(STREAM).map_or(Offset(0), |stream| stream.end);
    assert!(end >= Offset(VALUES as u64));
    let mut values = Vec::new();
    let mut next = Offset(0);
    while next < end {
        for slice in shard.journal().read(STREAM, next, end, 1 << 20).unwrap() {
            next = slice.end();
            for piece in model::piece::walk(&slice.bytes) {
                values.push(Message::decode(&slice.bytes[piece.unwrap().1]).unwrap().value.to_vec());
            }
        }
    }
    values
}

/// Time that passes only for those who wait for bandwidth, and while the gate is open.
pub(crate) struct Waiting {
    now: Mutex<Duration>,
    gate: tokio::sync::watch::Sender<bool>,
}

impl Waiting {
    pub(crate) fn new(open: bool) -> Arc<Self> {
        Arc::new(Waiting { now: Mutex::default(), gate: tokio::sync::watch::Sender::new(open) })
    }

    pub(crate) fn open(&self) {
        self.gate.send_replace(true);
    }
}

/// What passes on a clock of its own.
pub(crate) struct Clock(pub(crate) Arc<Waiting>);

impl Pace for Clock {
    fn now(&self) -> Duration {
        *self.0.now.lock()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let waiting = self.0.clone();
        let until = *waiting.now.lock() + time;
        Box::pin(async move {
            let mut gate = waiting.gate.subscribe();
            gate.wait_for(|open| *open).await.unwrap();
            let mut now = waiting.now.lock();
            *now = until.max(*now);
        })
    }
}
