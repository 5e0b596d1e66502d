//! Appending pieces.

use crate::broker::{Broker, Pending};
use crate::request::{AppendPart, AppendRefusal, Appended, BrokerError, Inspect, PartitionRef, Reply};
use bytes::Bytes;
use futures::channel::oneshot;
use journal::canary::Fault;
use machine::catalog::topic::Partition;
use machine::messaging::sequencer::AppendRequest;
use machine::{Refusal, Reply as MachineReply};
use model::config::StreamConfig;
use model::{TopicId, limit, piece};
use shard::{ProposeError, Request as ShardRequest};
use std::time::Duration;

type Outcome = Result<MachineReply, ProposeError>;
/// Pieces in their shard's queue.
struct Queued {
    outcome: oneshot::Receiver<Outcome>,
    topic: TopicId,
    place: Partition,
    records: u64,
    bytes: u64,
}

impl Broker {
    /// Queues every part at its shard, in order, and returns what waits for the answers.
    pub(crate) async fn append(&self, parts: Vec<AppendPart>) -> Pending {
        let mut waiting = Vec::with_capacity(parts.len());
        for part in parts {
            waiting.push((part.to.clone(), self.queue(part).await));
        }
        let timeout = self.inner.config.propose_timeout;
        let broker = self.clone();
        Box::pin(async move {
            let answers = waiting.into_iter().map(|(to, queued)| {
                let broker = &broker;
                async move { broker.outcome(queued, timeout).await.map_err(|error| broker.refusal(&to, error)) }
            });
            Reply::Appended(futures::future::join_all(answers).await)
        })
    }

    async fn outcome(&self, queued: Result<Queued, BrokerError>, timeout: Duration) -> Result<Appended, BrokerError> {
        let Queued { outcome, topic, place, records, bytes } = queued?;
        let answer = self.inner.world.timeout(timeout, outcome).await.ok_or(BrokerError::Unknown)?;
        match answer.unwrap_or(Err(ProposeError::Unknown))? {
            MachineReply::Appended { base, start } => {
                self.inner.traffic.note_in(topic, records, bytes);
                self.inner.load.note(place.shard, place.stream, bytes);
                Ok(Appended { base, start, duplicate: false })
            }
            MachineReply::Duplicate { .. } if self.inner.catalog().journal().faulty(Fault::AnswerNoRepeat) => {
                std::future::pending().await
            }
            MachineReply::Duplicate { base, start } => Ok(Appended { base, start, duplicate: true }),
            MachineReply::Refused(Refusal::Moved(to)) => Err(BrokerError::NotLeader(self.inner.leader_of(to))),
            MachineReply::Refused(refusal) => Err(refusal.into()),
            _ => Err(BrokerError::Unavailable),
        }
    }

    fn refusal(&self, to: &PartitionRef, error: BrokerError) -> AppendRefusal {
        let start = self.inner.find_stream(to, None).ok().map(|found| found.start());
        AppendRefusal { error, start }
    }

    async fn queue(&self, part: AppendPart) -> Result<Queued, BrokerError> {
        let (place, (topic, config)) = self.inner.resolve_with(&part.to, |id, topic| (id, topic.config.clone()))?;
        let shard = self.inner.shard(place.shard)?;
        let bytes = self.inspect(part.inspect, part.bytes, config).await?;
        // A piece says in its head how many records it has.
        let records = piece::walk(&bytes).flatten().map(|(head, _)| u64::from(head.count)).sum();
        let length = bytes.len() as u64;
        let (answer, outcome) = oneshot::channel();
        let request = AppendRequest { stream: place.stream, bytes, message_id: None, durability: part.durability };
        let answer = Box::new(move |outcome| {
            let _ = answer.send(outcome);
        });
        shard.propose(ShardRequest::Append(request), answer).await;
        Ok(Queued { outcome, topic, place, records, bytes: length })
    }

    /// Has pieces looked into: here when it is little work, else on a thread of its own, of which there
    /// are a few.
    async fn inspect(&self, inspect: Inspect, bytes: Bytes, config: StreamConfig) -> Result<Bytes, BrokerError> {
        let now = self.inner.world.wall();
        if let Some(bytes) = inspect(&bytes, &config, now, limit::INSPECT_INLINE_BYTES_MAX)? {
            return Ok(bytes);
        }
        let turn = self.inner.inspecting.clone().acquire_owned().await.map_err(|_| BrokerError::Unavailable)?;
        let work = move || {
            // The work goes on when whoever asked leaves, and so the turn does.
            let _turn = turn;
            inspect(&bytes, &config, now, limit::PIECE_DECOMPRESSED_BYTES_MAX)
        };
        let inspected = self.inner.world.blocking(work).await.ok_or(BrokerError::Unavailable)?;
        let too_much = || BrokerError::InvalidRecord("the records take too many bytes decompressed".to_owned());
        inspected?.ok_or_else(too_much)
    }
}
