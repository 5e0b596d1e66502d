//! Pulling one part: a few chunks are asked for ahead, and whatever does not come, or not as it was, is asked for
//! again from where it is missing.

use super::{DISK_RETRY, Failure, LOOK_INTERVAL, Pull, Pulled, Stop, failed, node_stops};
use crate::raft::Runtime;
use crate::replica::Replica;
use crate::rpc::{self, Chunk, Question};
use crate::transport::Lane;
use futures::{FutureExt, Stream, StreamExt};
use journal::install::{CHUNK_BYTES, Wanted};
use journal::parts::{Checked, ChunkError, PartWriter};
use model::limit;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A chunk without an answer for so long is asked for again. Slow links take their time: several are on their way.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// After so many tries in a row that brought nothing, the pull ends; the leader offers again.
const LOST_MAX: u32 = 20;
/// The pause after a try that brought nothing; doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// What is here of a part is made to survive after so many chunks.
const SYNC_CHUNKS: u64 = 16;

impl<R: Runtime> Pull<R> {
    /// Pulls what is missing of a part. Parts before it have `before` bytes.
    pub(super) async fn pull_part(
        &self,
        replica: &Arc<Replica<R>>,
        wanted: &Arc<Wanted>,
        before: u64,
    ) -> Result<Pulled, Stop> {
        let mut damaged = None;
        loop {
            self.look(replica)?;
            match self.try_part(replica, wanted, before, damaged).await? {
                Ok(Checked::Whole) => return Ok(Pulled::Whole),
                // Nothing on the way changes the same twice.
                Ok(Checked::Damaged(crc)) if damaged == Some(crc) => {
                    let why = "a part is damaged where it comes from".into();
                    return Err(Failure { why, damaged: Some(wanted.part) }.into());
                }
                Ok(Checked::Damaged(crc)) => damaged = Some(crc),
                Err(error) => {
                    tracing::warn!(shard = %replica.shard, part = ?wanted.part, %error, "a part is begun anew");
                    // Nobody knows what of it is here, and whoever else waits for the disk needs the space.
                    let (journal, part) = (replica.journal.clone(), wanted.clone());
                    replica.environment.blocking(move || journal.drop_part(&part)).await;
                    if error.kind() == io::ErrorKind::StorageFull {
                        replica.discard_parts(Some(self.offer.clone())).await;
                        return Ok(Pulled::NoSpace);
                    }
                    R::sleep(DISK_RETRY).await;
                }
            }
        }
    }

    /// Pulls and checks a part, until the disk fails.
    async fn try_part(
        &self,
        replica: &Arc<Replica<R>>,
        wanted: &Arc<Wanted>,
        before: u64,
        damaged: Option<u32>,
    ) -> Result<io::Result<Checked>, Stop> {
        let environment = &replica.environment;
        let (journal, part) = (replica.journal.clone(), wanted.clone());
        let sync_bytes = SYNC_CHUNKS * self.chunk_bytes(replica);
        let begun = environment.blocking(move || journal.begin_part(&part, sync_bytes)).await;
        let writer = match begun.ok_or_else(node_stops)? {
            Ok(Some(writer)) => writer,
            Ok(None) => return Ok(Ok(Checked::Whole)),
            Err(error) => return Ok(Err(error)),
        };
        let writer = match self.fill(replica, wanted, before, writer).await? {
            Ok(writer) => writer,
            Err(error) => return Ok(Err(error)),
        };
        let (journal, part) = (replica.journal.clone(), wanted.clone());
        let finished = environment.blocking(move || journal.finish_part(writer, &part, damaged)).await;
        finished.ok_or_else(node_stops)
    }

    /// Pulls until all of a part is here, or until the disk fails. Before it gives up, what is here is made to survive.
    async fn fill(
        &self,
        replica: &Arc<Replica<R>>,
        wanted: &Wanted,
        before: u64,
        mut writer: PartWriter,
    ) -> Result<io::Result<PartWriter>, Stop> {
        let mut lost = 0;
        while writer.position() < wanted.length {
            let from = writer.position();
            self.pulled.store(before.saturating_add(from), Relaxed);
            let (back, ended) = self.add_chunks(replica, wanted, before, writer).await?;
            writer = back;
            lost = if writer.position() > from { 0 } else { lost + 1 };
            let stop = match ended {
                Ok(()) if lost < LOST_MAX => self.look(replica).err(),
                Ok(()) => Some(failed(format!("{} does not answer", self.from)).into()),
                Err(error) => return Ok(Err(error)),
            };
            if let Some(stop) = stop {
                // If that fails, less of it is gone on with.
                drop(replica.environment.blocking(move || writer.sync()).await);
                return Err(stop);
            }
            if lost > 0 {
                R::sleep((RETRY_MIN * 2_u32.saturating_pow(lost - 1)).min(RETRY_MAX)).await;
            }
        }
        Ok(Ok(writer))
    }

    /// Adds chunks until all are here, one does not come, or the pull shall not go on.
    async fn add_chunks(
        &self,
        replica: &Arc<Replica<R>>,
        wanted: &Wanted,
        before: u64,
        mut writer: PartWriter,
    ) -> Result<(PartWriter, io::Result<()>), Stop> {
        let counters = &replica.journal.counters;
        let mut chunks = pin!(self.chunks(replica, wanted, writer.position()));
        loop {
            let next = match R::timeout(LOOK_INTERVAL, chunks.next()).await {
                Ok(next) => next,
                Err(_) if self.look(replica).is_ok() => continue,
                Err(_) => return Ok((writer, Ok(()))),
            };
            let Some((bytes, chunk)) = next else { return Ok((writer, Ok(()))) };
            // Those that were asked for after one that is missing do not follow what is here.
            let chunk = match chunk {
                Ok(chunk) if chunk.bytes.len() as u64 == bytes && self.look(replica).is_ok() => chunk,
                Ok(_) => return Ok((writer, Ok(()))),
                Err(error) => {
                    tracing::debug!(shard = %replica.shard, from = %self.from, error, "a chunk did not come");
                    return Ok((writer, Ok(())));
                }
            };
            let add = move || {
                let added = writer.write(&chunk.bytes, chunk.crc);
                (writer, added)
            };
            let (back, added) = replica.environment.blocking(add).await.ok_or_else(node_stops)?;
            writer = back;
            match added {
                Ok(()) => {}
                Err(ChunkError::Altered) => {
                    counters.chunks_refused.fetch_add(1, Relaxed);
                    tracing::warn!(shard = %replica.shard, from = %self.from, "a chunk changed on the way");
                    return Ok((writer, Ok(())));
                }
                Err(ChunkError::Disk(error)) => return Ok((writer, Err(error))),
            }
            counters.pulled_bytes.fetch_add(bytes, Relaxed);
            self.pulled.store(before.saturating_add(writer.position()), Relaxed);
        }
    }

    fn chunk_bytes(&self, replica: &Replica<R>) -> u64 {
        replica.environment.catch_up.chunk_bytes.clamp(1, CHUNK_BYTES) as u64
    }

    /// The chunks of a part from a position on, in order, some of them asked for ahead: how many bytes each is to have,
    /// and what came.
    fn chunks<'a>(
        &'a self,
        replica: &'a Replica<R>,
        wanted: &Wanted,
        from: u64,
    ) -> impl Stream<Item = (u64, Result<Chunk, String>)> + Send + use<'a, R> {
        let (part, length, most) = (wanted.part, wanted.length, self.chunk_bytes(replica));
        let asked = futures::stream::unfold(from, move |position| async move {
            let bytes = most.min(length.checked_sub(position).filter(|left| *left > 0)?);
            if let Some(bandwidth) = &replica.environment.catch_up.bandwidth {
                bandwidth.take(bytes).await;
            }
            let question = Question::Pull { part, position, bytes: bytes as u32 };
            let request = rpc::encode_question(&question);
            let sent = replica.environment.transport.call(self.from, replica.shard, Lane::Bulk, request);
            let chunk = R::timeout(CHUNK_TIMEOUT, sent).map(move |answer| {
                let answer = match answer {
                    Ok(answer) => answer.map_err(|error| error.to_string()),
                    Err(_) => Err("timed out".into()),
                };
                (bytes, answer.and_then(|answer| Chunk::of_answer(&answer).map_err(|error| error.to_string())))
            });
            Some((chunk, position + bytes))
        });
        asked.buffered(limit::CHUNKS_AHEAD_MAX)
    }
}
