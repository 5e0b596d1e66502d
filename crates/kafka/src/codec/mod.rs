//! Kafka's protocol as bytes, and nothing of what it means.
//!
//! [`frame`] cuts a stream into frames; [`header`] reads what precedes a request or a response;
//! [`body`] reads any of them, given the API and its version; one module per API declares them, in the
//! notation of [`message`]. What Produce and Fetch carry is the crate `batch`'s.
//!
//! Bytes from outside are hostile: every length and every count is held against the bytes that remain
//! before memory is taken for it, nothing recurses on input, and nothing panics on it. The formats and
//! their sources are in docs/protocols/kafka.md.

pub mod api_key;
pub mod body;
pub mod decode_error;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod message;
pub mod primitive;
pub mod reader;
pub mod records;
pub mod text;
pub mod writer;

// One per API.
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod oracle;
#[cfg(test)]
pub(crate) mod round_trip;
#[cfg(test)]
mod sample;
