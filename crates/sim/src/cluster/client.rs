//! Clients: each appends numbered records, to streams of its own choice, and remembers exactly what
//! it was told.

use super::checker::Ledger;
use crate::rng::Rng;
use bytes::Bytes;
use machine::messaging::sequencer::AppendRequest;
use machine::{Command, Reply};
use model::record::Message;
use model::{Offset, StreamId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{ProposeError, Request, Role, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// The replicas that run now, by node.
pub(super) type Replicas = Arc<Mutex<BTreeMap<u64, Shard>>>;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) struct Client {
    pub(super) number: u64,
    pub(super) replicas: Replicas,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) rng: Rng,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) streams: u64,
}

impl Client {
    pub(super) async fn run(mut self) {
        let mut nth = 0;
        while !self.stop.load(SeqCst) {
            let pause = self.rng.between(100, 20_000);
            SimRuntime::sleep(Duration::from_micros(pause)).await;
            let Some(shard) = self.leader() else { continue };
            let stream = StreamId(1 + self.rng.below(self.streams));
            if self.rng.per_mille(30) {
                self.trim(&shard, stream).await;
                continue;
            }
            if self.rng.per_mille(100) {
                self.read(&shard, stream);
            }
            nth += 1;
            self.append(&shard, stream, self.number * 1_000_000 + nth).await;
        }
    }

    /// Somebody who believes to lead, else anybody.
    fn leader(&mut self) -> Option<Shard> {
        let replicas: Vec<Shard> = self.replicas.lock().values().cloned().collect();
        let leads = replicas.iter().find(|shard| shard.role() == Role::Leader && !self.rng.per_mille(50));
        leads.or_else(|| self.rng.pick(&replicas)).cloned()
    }

    async fn append(&mut self, shard: &Shard, stream: StreamId, id: u64) {
        let size = self.rng.between(8, 900) as usize;
        let value: Vec<u8> = id.to_le_bytes().into_iter().cycle().take(size.max(8)).collect();
        let Ok(bytes) = (Message { value: &value, ..Message::default() }).encode() else { return };
        let request = AppendRequest { stream, bytes: Bytes::from(bytes), message_id: None, durability: None };
        self.ledger.lock().asked(stream, id);
        match propose(shard, Request::Append(request)).await {
            Some(Ok(Reply::Appended { base, .. })) => self.ledger.lock().acknowledged(stream, id, base),
            // Not proposed, or refused: it must never be seen.
            Some(Err(ProposeError::NotLeader(_) | ProposeError::DiskFull)) | Some(Ok(Reply::Refused(_))) => {
                self.ledger.lock().denied(stream, id);
            }
            _ => {}
        }
    }

    async fn trim(&mut self, shard: &Shard, stream: StreamId) {
        let Some((start, end)) = self.ledger.lock().acknowledged_span(stream) else { return };
        let to = Offset(self.rng.between(start, end));
        self.ledger.lock().may_trim(stream, to);
        let _ = propose(shard, Request::Command(Command::Trim { stream, to })).await;
    }

    /// What any replica shows must be what stays there.
    fn read(&mut self, shard: &Shard, stream: StreamId) {
        if shard.role() != Role::Leader || shard.is_in_doubt() {
            return;
        }
        let Some((start, end)) = shard.machine().messaging.stream(stream).map(|s| (s.start, s.end)) else { return };
        let from = Offset(self.rng.between(start.0, end.0.max(start.0)));
        let Ok(slices) = shard.journal().read(stream, from, end, 4096) else { return };
        let mut ledger = self.ledger.lock();
        for (offset, id) in super::checker::records(&slices) {
            ledger.seen(stream, offset, id);
        }
    }
}

/// Proposes and waits; `None` when no answer came.
pub(super) async fn propose(shard: &Shard, request: Request) -> Option<Result<Reply, ProposeError>> {
    let (sender, wait) = futures::channel::oneshot::channel();
    let answer = Box::new(move |result| drop(sender.send(result)));
    SimRuntime::timeout(PATIENCE, async {
        shard.propose(request, answer).await;
        wait.await.ok()
    })
    .await
    .ok()
    .flatten()
}
