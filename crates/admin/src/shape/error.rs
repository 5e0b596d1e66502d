//! What an answer says when something was not done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of every answer whose status is 400 or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Problem,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// For programs.
    pub code: Code,
    /// For people: what was wrong, by name, and what to do.
    pub message: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $status:literal $name:ident,)+) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$name),+];

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Code::$name => $status,)+
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Code::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

codes! {
    /// The body is not the JSON that is expected.
    400 InvalidBody,
    /// The body has a field that there is none of.
    400 UnknownField,
    /// The query has a parameter that there is none of.
    400 UnknownParameter,
    /// A parameter has a value that it cannot have.
    400 InvalidParameter,
    /// Not a name.
    400 InvalidName,
    /// Not a number of partitions that a topic can have.
    400 InvalidPartitions,
    /// Not a number of replicas that a topic can have.
    400 InvalidReplicas,
    /// No such configuration, or not a value of it.
    400 InvalidConfig,
    /// A record that the topic does not take.
    400 InvalidRecord,
    /// A timestamp that the topic does not take.
    400 InvalidTimestamp,
    /// The partition has no such offset.
    400 OffsetOutOfRange,
    /// The request comes from a web page of somebody else.
    403 ForeignOrigin,
    /// There is nothing at this path.
    404 UnknownPath,
    /// There is no such topic.
    404 UnknownTopic,
    /// The topic has fewer partitions.
    404 UnknownPartition,
    /// There is no such group.
    404 UnknownGroup,
    /// There is no such node.
    404 UnknownNode,
    /// There is no such shard, or no partitions can be in it.
    404 UnknownShard,
    /// The path does not take this method.
    405 MethodNotAllowed,
    /// The body took too long to arrive.
    408 BodyTimeout,
    /// There is a topic of this name.
    409 TopicExists,
    /// The topic has as many partitions already, or more.
    409 EnoughPartitions,
    /// The group has members, and this needs it to have none.
    409 GroupNotEmpty,
    /// Members of the group consume the topic.
    409 GroupConsumesTopic,
    /// The group is being changed: try again.
    409 GroupChanging,
    /// The node has replicas of shards.
    409 NodeInUse,
    /// The node was removed, which is for ever.
    409 NodeRemoved,
    /// The partition moves, or records of it are still in the shard that it came from.
    409 Moving,
    /// A configuration does not allow it.
    409 NotAllowed,
    /// There are as many as there may be.
    409 LimitReached,
    /// The body is larger than this path takes.
    413 BodyTooLarge,
    /// A record is larger than the topic takes, or than an answer can hold.
    413 RecordTooLarge,
    /// The body is not said to be application/json.
    415 UnsupportedMediaType,
    /// The request is for another host than this one.
    421 ForeignHost,
    /// Something is broken here; the log says more.
    500 Internal,
    /// Bytes on disk are damaged and nobody else has them.
    500 Damaged,
    /// Not now: the node starts, stops or recovers. Try again.
    503 Unavailable,
    /// Another node leads. Ask that one.
    503 NotLeader,
    /// Too much is being done at the moment: try again.
    503 Busy,
    /// It took too long: it may or may not have been done.
    504 OutcomeUnknown,
    /// There is no room on disk.
    507 DiskFull,
}

impl Code {
    /// As it is written in JSON.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_every_code_in_the_row_of_its_status() {
        let guide = include_str!("../../../../docs/admin-api.md");
        for code in Code::ALL {
            let row = guide.lines().find(|line| line.starts_with(&format!("| {} |", code.status())));
            let named = format!("`{}`", code.name());
            assert!(row.is_some_and(|row| row.contains(&named)), "{named} belongs to {}", code.status());
        }
    }
}
