//! What is asked and answered, as types: one file per noun. The server writes them and the command line
//! reads them, so each can be serialised and deserialised; the OpenAPI document is made from them.
//!
//! What a client sends is read strictly: unknown and repeated fields are refused. What the server answers
//! may grow, so its types ignore fields that they do not know.

pub mod bounded;
pub mod cluster;
pub mod config;
pub mod data;
pub mod error;
pub mod group;
pub mod node;
pub mod offsets;
pub mod record;
pub mod time;
pub mod topic;

pub use cluster::{AlterNode, ClusterNode, Copying, NodeList, NodeState, Replica, RestartSafety};
pub use config::{ConfigSource, ConfigValue, Configs, TopicConfig};
pub use data::Data;
pub use error::{Code, ErrorBody, Problem};
pub use group::{Assignment, Group, GroupEntry, GroupList, GroupOffset, GroupState, GroupType, Member};
pub use node::{Disk, Node, NodeStates, Shard, ShardState};
pub use offsets::{DeletedOffsets, MoveOffsets, MovedOffset, MovedOffsets, Target, TopicPartitions};
pub use record::{
    Acks, Compression, Encoding, Header, NewRecord, NewRecords, Record, Records, TimestampType, Trimmed, Written,
    WrittenRecord,
};
pub use time::Time;
pub use topic::{
    AlterTopic, AlteredTopic, CreateTopic, CreatedTopic, MovePartition, MovedPartition, Partition, Topic, TopicEntry,
    TopicList,
};
