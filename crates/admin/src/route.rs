//! Every route, as data: the router looks requests up here, and the OpenAPI document is made from here, so
//! that neither has what the other has not.

use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::errand::{Led, by_leader};
use crate::mapping::{bounds, consume, groups, moves, node, nodes, offsets, produce, topics, trim};
use crate::openapi;
use crate::path;
use crate::query::{Kind, OFFSET_MAX, Parameter};
use crate::refusal::Refusal;
use crate::shape::{
    AlterNode, AlterTopic, AlteredTopic, Code, CreateTopic, CreatedTopic, DeletedOffsets, Group, GroupList,
    MoveOffsets, MovePartition, MovedOffsets, MovedPartition, NewRecords, Node, NodeList, NodeStates, Records,
    RestartSafety, Topic, TopicList, Trimmed, Written,
};
use futures::future::BoxFuture;
use model::limit;
use schemars::{Schema, SchemaGenerator};
use std::fmt;
use std::sync::Arc;

/// Makes the schema of a type, or refers to it.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Does what is asked.
pub(crate) type Handle = fn(Arc<Inner>, Call) -> BoxFuture<'static, Result<Answer, Refusal>>;

/// What can be asked at one path with one method.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Its name, for programs that are made from the document.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) body: Option<Body>,
    pub(crate) successes: &'static [Success],
    /// What may go wrong besides what may with every route.
    pub(crate) codes: &'static [Code],
    pub(crate) handle: Handle,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A body that has to be there.
pub(crate) struct Body {
    pub(crate) bytes_max: usize,
    pub(crate) schema: SchemaOf,
}

/// An answer when it was done.
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) about: &'static str,
    /// Absent when there is no body.
    pub(crate) schema: Option<SchemaOf>,
}

const fn ok(about: &'static str, schema: SchemaOf) -> Success {
    Success { status: 200, about, schema: Some(schema) }
}

const fn body(schema: SchemaOf) -> Option<Body> {
    Some(Body { bytes_max: limit::ADMIN_BODY_BYTES_MAX, schema })
}

const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, about, kind, required: false }
}

const PAGE: u64 = limit::ADMIN_PAGE_MAX as u64;
const LIMIT: Parameter = optional(
    "limit",
    Kind::Natural { least: 1, most: PAGE, default: Some(PAGE) },
    "No more than these. There may be fewer although there are more.",
);
const AFTER: Parameter = optional("after", Kind::Text, "Those behind this name: the answer before has it as next.");
const PREFIX: Parameter = optional("prefix", Kind::Text, "Those whose name begins so.");

/// Which groups are listed.
static GROUPS: [Parameter; 5] = [
    PREFIX,
    optional(
        "state",
        Kind::Word(&["empty", "preparing_rebalance", "completing_rebalance", "stable", "dead"]),
        "Those in this state.",
    ),
    optional("type", Kind::Word(&["classic"]), "Those of this type."),
    LIMIT,
    AFTER,
];

/// The names in paths.
pub(crate) static NAMES: [Parameter; 4] = [
    Parameter { name: "topic", about: "The topic, percent-encoded.", kind: Kind::Text, required: true },
    Parameter {
        name: "partition",
        about: "The number of the partition.",
        kind: Kind::Natural { least: 0, most: u32::MAX as u64, default: None },
        required: true,
    },
    Parameter { name: "group", about: "The group, percent-encoded.", kind: Kind::Text, required: true },
    Parameter {
        name: "node",
        about: "The number of the node.",
        kind: Kind::Natural { least: 1, most: limit::NODE_ID_MAX, default: None },
        required: true,
    },
];

/// What may go wrong with every route.
pub(crate) const ANY: &[Code] = &[
    Code::UnknownParameter,
    Code::InvalidParameter,
    Code::ForeignOrigin,
    Code::ForeignHost,
    Code::Internal,
    Code::Unavailable,
    Code::Busy,
];

/// What may go wrong with a body.
pub(crate) const OF_BODY: &[Code] =
    &[Code::InvalidBody, Code::UnknownField, Code::BodyTimeout, Code::BodyTooLarge, Code::UnsupportedMediaType];

/// What may go wrong when something is changed.
const CHANGE: [Code; 4] = [Code::NotLeader, Code::OutcomeUnknown, Code::DiskFull, Code::LimitReached];

macro_rules! handle {
    ($function:path) => {
        |api, call| Box::pin($function(api, call))
    };
}

/// The same, by whoever leads the partition or the group in the path.
macro_rules! handle_where_led {
    ($led:ident, $function:path) => {
        |api, call| Box::pin(by_leader(api, call, Led::$led, handle!($function)))
    };
}

macro_rules! changing {
    ($($code:ident),* $(,)?) => {
        &[CHANGE[0], CHANGE[1], CHANGE[2], CHANGE[3], $(Code::$code),*]
    };
}

/// All of them.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/v1/openapi.json",
        id: "getOpenApi",
        summary: "This document",
        parameters: &[],
        body: None,
        successes: &[ok("The document.", |_| schemars::json_schema!({ "type": "object" }))],
        codes: &[],
        handle: handle!(openapi::answer),
    },
    Route {
        method: "GET",
        path: "/v1/node",
        id: "getNode",
        summary: "How the node is",
        parameters: &[],
        body: None,
        successes: &[ok("The node.", SchemaGenerator::subschema_for::<Node>)],
        codes: &[],
        handle: handle!(node::describe),
    },
    Route {
        method: "GET",
        path: "/v1/node/states",
        id: "getNodeStates",
        summary: "Checksums of the states of the node's shards, to compare replicas by; shards stand still meanwhile",
        parameters: &[],
        body: None,
        successes: &[ok("The checksums.", SchemaGenerator::subschema_for::<NodeStates>)],
        codes: &[],
        handle: handle!(node::states),
    },
    Route {
        method: "GET",
        path: "/v1/nodes",
        id: "listNodes",
        summary: "List the nodes of the cluster, with the shards that each has",
        parameters: &[],
        body: None,
        successes: &[ok("The nodes.", SchemaGenerator::subschema_for::<NodeList>)],
        codes: &[],
        handle: handle!(nodes::list),
    },
    Route {
        method: "PATCH",
        path: "/v1/nodes/{node}",
        id: "alterNode",
        summary: "Empty a node of replicas, let it have them again, or remove it for ever",
        parameters: &[],
        body: body(SchemaGenerator::subschema_for::<AlterNode>),
        successes: &[ok("The nodes, as they are then.", SchemaGenerator::subschema_for::<NodeList>)],
        codes: changing![UnknownNode, NodeInUse, NodeRemoved],
        handle: handle!(nodes::alter),
    },
    Route {
        method: "GET",
        path: "/v1/node/restart-safe",
        id: "getRestartSafety",
        summary: "Tell whether the node can be stopped without anybody noticing",
        parameters: &[],
        body: None,
        successes: &[ok("Whether it can.", SchemaGenerator::subschema_for::<RestartSafety>)],
        codes: &[],
        handle: handle!(nodes::restart_safety),
    },
    Route {
        method: "GET",
        path: "/v1/topics",
        id: "listTopics",
        summary: "List topics, page by page",
        parameters: &[PREFIX, LIMIT, AFTER],
        body: None,
        successes: &[ok("Some topics, by name.", SchemaGenerator::subschema_for::<TopicList>)],
        codes: &[],
        handle: handle!(topics::list),
    },
    Route {
        method: "POST",
        path: "/v1/topics",
        id: "createTopic",
        summary: "Make a topic",
        parameters: &[],
        body: body(SchemaGenerator::subschema_for::<CreateTopic>),
        successes: &[
            Success {
                status: 201,
                about: "It was made.",
                schema: Some(SchemaGenerator::subschema_for::<CreatedTopic>),
            },
            ok("It could be made: validate_only.", SchemaGenerator::subschema_for::<CreatedTopic>),
        ],
        codes: changing![InvalidName, InvalidPartitions, InvalidReplicas, InvalidConfig, TopicExists],
        handle: handle!(topics::create),
    },
    Route {
        method: "GET",
        path: "/v1/topics/{topic}",
        id: "getTopic",
        summary: "Tell about a topic",
        parameters: &[],
        body: None,
        successes: &[ok("The topic.", SchemaGenerator::subschema_for::<Topic>)],
        codes: &[Code::InvalidName, Code::UnknownTopic],
        handle: handle!(topics::describe),
    },
    Route {
        method: "PATCH",
        path: "/v1/topics/{topic}",
        id: "alterTopic",
        summary: "Change a topic's configuration, add partitions",
        parameters: &[],
        body: body(SchemaGenerator::subschema_for::<AlterTopic>),
        successes: &[ok("It was changed, or could be: validate_only.", SchemaGenerator::subschema_for::<AlteredTopic>)],
        codes: changing![InvalidName, InvalidPartitions, InvalidConfig, UnknownTopic, EnoughPartitions],
        handle: handle!(topics::alter),
    },
    Route {
        method: "DELETE",
        path: "/v1/topics/{topic}",
        id: "deleteTopic",
        summary: "Remove a topic and its records",
        parameters: &[],
        body: None,
        successes: &[Success { status: 204, about: "It was removed.", schema: None }],
        codes: changing![InvalidName, UnknownTopic],
        handle: handle!(topics::delete),
    },
    Route {
        method: "POST",
        path: "/v1/topics/{topic}/records",
        id: "writeRecords",
        summary: "Write records",
        parameters: &[],
        body: Some(Body {
            bytes_max: limit::ADMIN_RECORDS_BODY_BYTES_MAX,
            schema: SchemaGenerator::subschema_for::<NewRecords>,
        }),
        successes: &[ok(
            "What became of each record. When none was written, the answer is the first one's error.",
            SchemaGenerator::subschema_for::<Written>,
        )],
        codes: changing![
            InvalidName,
            InvalidRecord,
            InvalidTimestamp,
            UnknownTopic,
            UnknownPartition,
            RecordTooLarge,
            NotAllowed,
        ],
        handle: handle!(produce::write),
    },
    Route {
        method: "GET",
        path: "/v1/topics/{topic}/partitions/{partition}/records",
        id: "readRecords",
        summary: "Read records of a partition, waiting for some where there are none",
        parameters: &[
            optional(
                "offset",
                Kind::Position,
                "Where to begin: an offset, earliest (the default), latest (the end), or -N for the last N.",
            ),
            optional(
                "timestamp",
                Kind::Time,
                "Where to begin instead: at the first record of this time or later, or the end.",
            ),
            optional("limit", Kind::Natural { least: 1, most: PAGE, default: Some(100) }, "No more than these."),
            optional(
                "max_bytes",
                Kind::Natural {
                    least: 1,
                    most: limit::ADMIN_ANSWER_BYTES_MAX as u64,
                    default: Some(limit::ADMIN_ANSWER_BYTES_DEFAULT as u64),
                },
                "No more bytes of answer than these, but for the first record.",
            ),
            optional(
                "wait_ms",
                Kind::Natural { least: 0, most: limit::ADMIN_WAIT_MILLIS_MAX, default: Some(0) },
                "How long to wait for a record when there is none.",
            ),
            optional(
                "encoding",
                Kind::Word(&["auto", "text", "base64"]),
                "How keys and values are shown. auto (the default): as text what is UTF-8 without control characters \
                 other than tab, line feed and carriage return, in base64 what is not. text: what is not UTF-8 is \
                 replaced by U+FFFD.",
            ),
        ],
        body: None,
        successes: &[ok("Records, maybe none, and where to read on.", SchemaGenerator::subschema_for::<Records>)],
        codes: &[
            Code::InvalidName,
            Code::OffsetOutOfRange,
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::RecordTooLarge,
            Code::Damaged,
            Code::NotLeader,
        ],
        handle: handle_where_led!(Partition, consume::read),
    },
    Route {
        method: "DELETE",
        path: "/v1/topics/{topic}/partitions/{partition}/records",
        id: "trimPartition",
        summary: "Remove the oldest records of a partition",
        parameters: &[Parameter {
            name: "before",
            about: "The first offset that stays, or latest: none does.",
            kind: Kind::Bound,
            required: true,
        }],
        body: None,
        successes: &[ok("Where the partition begins.", SchemaGenerator::subschema_for::<Trimmed>)],
        codes: changing![InvalidName, OffsetOutOfRange, UnknownTopic, UnknownPartition, NotAllowed],
        handle: handle_where_led!(Partition, trim::trim),
    },
    Route {
        method: "PATCH",
        path: "/v1/topics/{topic}/partitions/{partition}",
        id: "movePartition",
        summary: "Have a partition go on in another shard",
        parameters: &[],
        body: body(SchemaGenerator::subschema_for::<MovePartition>),
        successes: &[ok("Where it is now.", SchemaGenerator::subschema_for::<MovedPartition>)],
        codes: changing![InvalidName, UnknownTopic, UnknownPartition, UnknownShard, Moving, NotAllowed, InvalidRecord],
        handle: handle!(moves::move_partition),
    },
    Route {
        method: "GET",
        path: "/v1/groups",
        id: "listGroups",
        summary: "List consumer groups, page by page",
        parameters: &GROUPS,
        body: None,
        successes: &[ok("Some groups, by name.", SchemaGenerator::subschema_for::<GroupList>)],
        codes: &[],
        handle: handle!(groups::list),
    },
    Route {
        method: "GET",
        path: "/v1/groups/{group}",
        id: "getGroup",
        summary: "Tell about a group: its members, its positions and how far it is behind",
        parameters: &[],
        body: None,
        successes: &[ok("The group.", SchemaGenerator::subschema_for::<Group>)],
        codes: &[Code::InvalidName, Code::UnknownGroup, Code::NotLeader],
        handle: handle_where_led!(Group, groups::describe),
    },
    Route {
        method: "DELETE",
        path: "/v1/groups/{group}",
        id: "deleteGroup",
        summary: "Forget a group that has no members, and its positions",
        parameters: &[],
        body: None,
        successes: &[Success { status: 204, about: "It is forgotten.", schema: None }],
        codes: changing![InvalidName, UnknownGroup, GroupNotEmpty, GroupChanging],
        handle: handle_where_led!(Group, groups::delete),
    },
    Route {
        method: "POST",
        path: "/v1/groups/{group}/offsets",
        id: "moveOffsets",
        summary: "Move the positions of a group that has no members",
        parameters: &[],
        body: body(SchemaGenerator::subschema_for::<MoveOffsets>),
        successes: &[ok("What was done, or would be: dry_run.", SchemaGenerator::subschema_for::<MovedOffsets>)],
        codes: changing![
            InvalidName,
            UnknownGroup,
            UnknownTopic,
            UnknownPartition,
            GroupNotEmpty,
            GroupChanging,
            OffsetOutOfRange,
            Damaged,
        ],
        handle: handle_where_led!(Group, offsets::move_to),
    },
    Route {
        method: "DELETE",
        path: "/v1/groups/{group}/offsets/{topic}",
        id: "deleteOffsets",
        summary: "Forget a group's positions over a topic that none of its members consumes",
        parameters: &[optional(
            "partition",
            Kind::Natural { least: 0, most: u32::MAX as u64, default: None },
            "Of this partition only.",
        )],
        body: None,
        successes: &[ok("What was forgotten.", SchemaGenerator::subschema_for::<DeletedOffsets>)],
        codes: changing![InvalidName, UnknownGroup, UnknownTopic, UnknownPartition, GroupConsumesTopic, GroupChanging],
        handle: handle_where_led!(Group, offsets::delete),
    },
];

/// What nodes ask one another besides, which no client can.
pub(crate) static BETWEEN_NODES: &[Route] = &[
    between_nodes(
        "GET",
        "/peer/bounds",
        "Tell where partitions that the node leads begin and end, and where a time is in them",
        PLACES_BYTES_MAX,
        handle!(bounds::tell_bounds),
    ),
    between_nodes(
        "GET",
        "/peer/lags",
        "Tell how far positions are behind in partitions that the node leads",
        PLACES_BYTES_MAX,
        handle!(bounds::tell_lags),
    ),
    Route {
        parameters: &GROUPS,
        body: None,
        ..between_nodes("GET", "/peer/groups", "List the groups that the node leads", 0, handle!(groups::tell_led))
    },
    between_nodes(
        "POST",
        "/peer/batches",
        "Append batches to partitions that the node leads",
        BATCHES_BYTES_MAX,
        handle!(produce::append_for_node),
    ),
];

/// As many partitions as a group has positions, with their names.
const PLACES_BYTES_MAX: usize = 32 * limit::MIB;
/// Records take more in batches than in JSON when they are small and many.
const BATCHES_BYTES_MAX: usize = 2 * limit::ADMIN_RECORDS_BODY_BYTES_MAX;

const fn between_nodes(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    bytes_max: usize,
    handle: Handle,
) -> Route {
    let body = Some(Body { bytes_max, schema: |_| schemars::json_schema!({}) });
    Route { method, path, id: "betweenNodes", summary, parameters: &[], body, successes: &[], codes: &[], handle }
}

const _: () = assert!(OFFSET_MAX == i64::MAX as u64, "offsets are Kafka's");

/// The route of a request, and what the path has for its names.
///
/// # Errors
/// When there is none, or not with this method, or a name is not one.
pub(crate) fn find(method: &str, path: &str) -> Result<(&'static Route, Vec<String>), Refusal> {
    find_among(ROUTES.iter(), method, path)
}

/// The same for what another node asks.
///
/// # Errors
/// The same.
pub(crate) fn find_for_nodes(method: &str, path: &str) -> Result<(&'static Route, Vec<String>), Refusal> {
    find_among(ROUTES.iter().chain(BETWEEN_NODES), method, path)
}

fn find_among(
    routes: impl Iterator<Item = &'static Route>,
    method: &str,
    path: &str,
) -> Result<(&'static Route, Vec<String>), Refusal> {
    let segments = path::segments(path)?;
    let mut here = routes.filter_map(|route| Some((route, path::fit(route.path, &segments)?)));
    let asked = if method == "HEAD" { "GET" } else { method };
    let Some((route, names)) = here.find(|(route, _)| route.method == asked) else {
        let allowed = methods(&segments);
        let path = crate::query::shown(path);
        return Err(if allowed.is_empty() {
            Refusal::new(
                Code::UnknownPath,
                format!("there is nothing at {path}; GET /v1/openapi.json tells what there is"),
            )
        } else {
            let allowed = allowed.join(", ");
            Refusal::new(Code::MethodNotAllowed, format!("{path} takes {allowed}, not {}", crate::query::shown(method)))
        });
    };
    for (name, value) in path::names(route.path).zip(&names) {
        if let Some(parameter) = NAMES.iter().find(|parameter| parameter.name == name) {
            parameter.check(value)?;
        }
    }
    Ok((route, names.into_iter().map(str::to_owned).collect()))
}

/// The methods that are taken at a path.
fn methods(segments: &[String]) -> Vec<&'static str> {
    ROUTES.iter().filter(|route| path::fit(route.path, segments).is_some()).map(|route| route.method).collect()
}

/// The methods that are taken at a path, as a header says it.
pub(crate) fn allow(path: &str) -> String {
    path::segments(path).map(|segments| methods(&segments).join(", ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_their_route() {
        let find = |method: &str, path: &str| find(method, path).map(|(route, names)| (route.id, names.join("|")));
        let found = |id, names: &str| Ok((id, names.to_owned()));
        assert_eq!(find("GET", "/v1/topics/a%2Fb"), found("getTopic", "a/b"));
        assert_eq!(find("HEAD", "/v1/node"), found("getNode", ""));
        assert_eq!(find("GET", "/v1/topics/t/partitions/7/records"), found("readRecords", "t|7"));
        assert_eq!(find("DELETE", "/v1/groups/g/offsets/t"), found("deleteOffsets", "g|t"));
        // Neither is a way out of where it is.
        assert_eq!(find("GET", "/v1/topics/.."), found("getTopic", ".."));
        assert_eq!(find("GET", "/v1/topics/%2e%2e%2fnode"), found("getTopic", "../node"));
        let refused = |method: &str, path: &str| find(method, path).map_err(|refusal| refusal.code);
        assert_eq!(refused("GET", "/v1/nothing"), Err(Code::UnknownPath));
        assert_eq!(refused("GET", "/v1/topics/../node"), Err(Code::UnknownPath));
        assert_eq!(find("GET", "/v1/topics/"), found("getTopic", ""));
        assert_eq!(refused("PUT", "/v1/topics"), Err(Code::MethodNotAllowed));
        assert_eq!(refused("OPTIONS", "/v1/topics"), Err(Code::MethodNotAllowed));
        assert_eq!(refused("GET", "/v1/topics/t/partitions/x/records"), Err(Code::InvalidParameter));
        assert_eq!(refused("GET", "/v1/topics/t/partitions/-1/records"), Err(Code::InvalidParameter));
        assert_eq!(refused("GET", "/v1/topics/t/partitions/4294967296/records"), Err(Code::InvalidParameter));
        assert!(super::find("PUT", "/v1/topics").unwrap_err().message.contains("takes GET, POST, not PUT"));
        for route in BETWEEN_NODES {
            assert_eq!(refused(route.method, route.path), Err(Code::UnknownPath), "no client asks for {route:?}");
            assert_eq!(find_for_nodes(route.method, route.path).unwrap().0.path, route.path);
        }
    }
}
