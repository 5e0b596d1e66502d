//! Moving partitions from shard to shard.

use crate::broker::{Broker, Inner};
use crate::cluster::standing::Standing;
use crate::request::{BrokerError, PartitionRef};
use machine::{Command, Refusal, Reply as MachineReply};
use model::ShardId;
use shard::ProposeError;
use std::time::Duration;

/// How long whoever has a partition moved waits until it is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long leaders are asked before that.
const LOOK: Duration = Duration::from_secs(2);

impl Broker {
    /// Has a partition go on in another shard, and waits until it does. Its records stay where they are until they
    /// expire or are trimmed.
    ///
    /// # Errors
    /// `UnknownShard`; `NoLeader` when a shard could not do its part, `TooManyMoves`, `NotAllowed` where partitions do
    /// not move: then nothing was done. `Moving` while it goes to yet another shard, or has older records in one;
    /// `Unknown` when it is not there in time: it will be.
    pub async fn move_partition(&self, partition: &PartitionRef, to: ShardId) -> Result<(), BrokerError> {
        let inner = &self.inner;
        let (place, id) = inner.resolve_with(partition, |id, _| id)?;
        // A move cannot be taken back, and appends are refused from its first step to its last.
        inner.check_led(&[ShardId::CATALOG, place.shard, to]).await?;
        let command = Command::MoveStream { id, partition: partition.partition, to };
        match inner.catalog_command(command).await {
            Ok(MachineReply::Refused(Refusal::TooNew)) => return Err(inner.cannot_move()),
            Ok(MachineReply::Refused(refusal)) => return Err(refusal.into()),
            Ok(_) => {}
            Err(ProposeError::NotLeader(_)) => return Err(BrokerError::NoLeader(ShardId::CATALOG)),
            Err(error) => return Err(error.into()),
        }
        let deadline = inner.world.now() + PATIENCE;
        loop {
            let changed = inner.changes.streams.notified();
            if inner.resolve(partition)?.shard == to {
                return Ok(());
            }
            if inner.world.timeout_at(deadline, changed).await.is_none() {
                return Err(BrokerError::Unknown);
            }
        }
    }
}

impl Inner {
    /// Whether each of these shards that there are can decide something now.
    async fn check_led(&self, shards: &[ShardId]) -> Result<(), BrokerError> {
        let deadline = self.world.now() + LOOK;
        let known: Vec<ShardId> = {
            let machine = self.catalog().machine();
            let is_known =
                |shard: &ShardId| *shard == ShardId::CATALOG || machine.catalog.shards().any(|known| known == *shard);
            shards.iter().copied().filter(is_known).collect()
        };
        let asked = known.into_iter().map(|shard| async move {
            let standing = match &self.network {
                Some(network) => self.standing_of(&**network, shard, deadline).await,
                None => self.shards.get(shard).and_then(|replica| Standing::of(&replica, self.me()).ok()),
            };
            standing.filter(Standing::has_quorum).map(drop).ok_or(BrokerError::NoLeader(shard))
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    /// Why the behaviour in force has no moves. It does not pass by itself.
    fn cannot_move(&self) -> BrokerError {
        BrokerError::NotAllowed(match self.network {
            None => "a node that listens for no others (listen.peer is off) moves no partitions",
            Some(_) => "some node of the cluster runs a version that does not know how to; upgrade it first",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{CreateTopic, Reply, Request, TopicInfo, TopicRef};
    use crate::setting::Settings;
    use machine::machine::VERSION_OF_MOVES;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_partition_that_is_on_its_way_is_told_and_where_none_moves_that_is_told_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path(), Config { shards: 2, ..Config::default() }).await.unwrap();
        let (name, settings) = ("t".to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(1), replicas: None, settings, validate_only: false };
        let Reply::TopicsCreated(mut made) = broker.call(Request::CreateTopics(vec![topic])).await.await else {
            panic!()
        };
        let TopicInfo { id, partitions, .. } = made.remove(0).unwrap();
        let from = partitions[0].shard.unwrap();
        let to = ShardId(3 - from.0);
        let partition = PartitionRef { topic: TopicRef::Name("t".into()), partition: 0 };
        let refused = broker.move_partition(&partition, to).await;
        assert!(matches!(refused, Err(BrokerError::NotAllowed(why)) if why.contains("listen.peer")), "{refused:?}");

        // The catalog knows of moves, and the shard does not: so it stays on its way.
        let inner = &broker.inner;
        inner.catalog_command(Command::Barrier { version: VERSION_OF_MOVES }).await.unwrap();
        inner.catalog_command(Command::MoveStream { id, partition: 0, to }).await.unwrap();
        let (id, topic) = inner.find(&partition.topic).unwrap();
        let told = inner.describe(id, &topic).partitions.remove(0);
        assert_eq!((told.shard, told.moving_to, told.older_shard), (Some(from), Some(to), None));
        broker.stop().await;
    }
}
