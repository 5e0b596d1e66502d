//! One voter on a real folder under tokio: what is acknowledged is there after a restart.

#![allow(clippy::disallowed_methods, reason = "a real node: real threads and the real clock")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use bytes::Bytes;
use journal::disk::Folder;
use journal::skips::{self, Skip};
use journal::thread::{Bell, spawn};
use journal::{CacheBudget, Journal, Options};
use machine::messaging::sequencer::AppendRequest;
use machine::{Command, Reply};
use model::record::Message;
use model::{NodeId, Offset, ShardId, StreamConfig, StreamId, Timestamp};
use openraft::TokioRuntime;
use shard::{Environment, ProposeError, Request, Role, Shard};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct Node {
    shard: Shard,
    writer: JoinHandle<()>,
}

impl Node {
    async fn start(path: &Path) -> Self {
        let bell = Bell::new();
        let mut options = Options::new(ShardId(1), CacheBudget::new(8 << 20), 0xabc);
        options.log_file_bytes = 256 << 10;
        options.reserve_bytes = 64 << 10;
        options.wake_writer = bell.ringer();
        let (journal, writer, recovered) = Journal::open(Arc::new(Folder::open(path).unwrap()), options).unwrap();
        assert!(!recovered.in_doubt, "{recovered:?}");
        let writer = spawn(writer, bell).unwrap();
        let environment = Environment {
            transport: Arc::new(shard::Alone),
            wall: Arc::new(|| Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)),
            offload: Arc::new(|work| {
                tokio::task::spawn_blocking(work);
            }),
            on_effects: Arc::new(|_, _| ()),
            on_role: Arc::new(|_| ()),
            upkeep: shard::Upkeep::default(),
            turns: Arc::new(tokio::sync::Semaphore::new(1)),
            catch_up: shard::CatchUp::default(),
        };
        let shard = Shard::start::<TokioRuntime>(NodeId(1), journal, false, environment).await.unwrap();
        shard.initialize(vec![NodeId(1)]).await.unwrap();
        shard.elect().await;
        Node { shard, writer }
    }

    /// Waits until the shard has stopped by itself, for ten seconds at most.
    async fn stopped(&self) {
        for _ in 0..500 {
            if self.shard.role() == Role::Stopped {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(self) {
        self.shard.shutdown().await;
        self.shard.journal().stop();
        self.writer.join().unwrap();
    }

    async fn append(&self, value: &[u8]) -> Result<Reply, ProposeError> {
        let bytes = Bytes::from(Message { value, ..Message::default() }.encode().unwrap());
        let request = AppendRequest { stream: StreamId(1), bytes, message_id: None, durability: None };
        let (sender, wait) = futures::channel::oneshot::channel();
        let answer = Box::new(move |result| drop(sender.send(result)));
        self.shard.propose(Request::Append(request), answer).await;
        wait.await.unwrap()
    }

    async fn command(&self, command: Command) -> Reply {
        loop {
            match self.shard.command(command.clone()).await {
                Ok(reply) => return reply,
                Err(ProposeError::NotLeader(_)) => tokio::task::yield_now().await, // the election
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn values(&self) -> Vec<Vec<u8>> {
        let end = self.shard.machine().messaging.stream(StreamId(1)).unwrap().end;
        let mut values = Vec::new();
        let mut next = Offset(0);
        while next < end {
            for slice in self.shard.journal().read(StreamId(1), next, end, 64 << 10).unwrap() {
                next = slice.end();
                for piece in model::piece::walk(&slice.bytes) {
                    values.push(Message::decode(&slice.bytes[piece.unwrap().1]).unwrap().value.to_vec());
                }
            }
        }
        values
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_survive_restarts_with_and_without_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard");
    let node = Node::start(&path).await;
    let created = node.command(Command::CreateStream { stream: StreamId(1), config: StreamConfig::default() }).await;
    assert_eq!(created, Reply::Done);
    let mut expected = Vec::new();
    let mut node = node;
    for round in 0..4 {
        for nth in 0..200 {
            let value = format!("{round}/{nth} {}", "x".repeat(1000));
            let reply = node.append(value.as_bytes()).await.unwrap();
            assert_eq!(reply, Reply::Appended { base: Offset(expected.len() as u64), start: Offset(0) });
            expected.push(value.into_bytes());
        }
        if round % 2 == 1 {
            node.shard.checkpoint().await;
            assert!(node.shard.journal().checkpoint_at().index > 0);
        }
        node.stop().await;
        node = Node::start(&path).await;
        node.command(Command::Tick).await;
        assert_eq!(node.values(), expected);
    }
    assert_eq!(node.shard.role(), Role::Leader);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_applied_stops_the_shard_until_it_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard");
    let node = Node::start(&path).await;
    node.command(Command::CreateStream { stream: StreamId(1), config: StreamConfig::default() }).await;
    node.append(b"before").await.unwrap();
    let index = node.shard.journal().last().index + 1;
    // A behaviour that this build does not have.
    assert!(node.shard.command(Command::Barrier { version: u32::MAX }).await.is_err());
    node.stopped().await;
    assert_eq!(node.shard.role(), Role::Stopped);
    node.stop().await;
    let node = Node::start(&path).await;
    node.stopped().await;
    assert_eq!(node.shard.role(), Role::Stopped, "it comes to the entry again");
    assert_eq!(node.shard.journal().applied(), index - 1);
    node.stop().await;
    let skip = Skip { index, decided: Timestamp(1), reason: "written by a newer version".into() };
    skips::add(&Folder::open(&path).unwrap(), vec![skip.clone()]).unwrap();
    for _ in 0..2 {
        let node = Node::start(&path).await;
        assert_eq!(node.shard.journal().skips().unwrap(), std::slice::from_ref(&skip));
        node.command(Command::Tick).await;
        node.append(b"after").await.unwrap();
        let values = node.values();
        assert_eq!((values[0].as_slice(), values[1].as_slice()), (&b"before"[..], &b"after"[..]));
        node.shard.checkpoint().await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_entries_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let node = Arc::new(Node::start(&folder.path().join("shard")).await);
    node.command(Command::CreateStream { stream: StreamId(1), config: StreamConfig::default() }).await;
    let before = node.shard.journal().last().index;
    let tasks = (0..50u64).map(|_| {
        let node = node.clone();
        tokio::spawn(async move {
            let mut last = None;
            for nth in 0..100u64 {
                let Reply::Appended { base, .. } = node.append(&nth.to_le_bytes()).await.unwrap() else {
                    panic!("appended");
                };
                assert!(last.is_none_or(|last| last < base));
                last = Some(base);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(node.values().len(), 5000);
    let entries = node.shard.journal().last().index - before;
    assert!(entries < 2500, "{entries} entries for 5000 requests");
    Arc::into_inner(node).unwrap().stop().await;
}
