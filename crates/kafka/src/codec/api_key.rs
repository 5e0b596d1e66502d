//! The APIs the codec knows, as a table. Which of them the broker answers is `mapping`'s to say.

use super::api_versions::ApiVersion;
use super::message::{Message, Request, VersionRange};

/// Calls a macro with one `Api module: Request, Response;` for every API known, in order of their
/// numbers. The one place to add to when an API is added.
macro_rules! for_each_api {
    ($then:ident) => {
        $then! {
            Produce produce: ProduceRequest, ProduceResponse;
            Fetch fetch: FetchRequest, FetchResponse;
            ListOffsets list_offsets: ListOffsetsRequest, ListOffsetsResponse;
            Metadata metadata: MetadataRequest, MetadataResponse;
            OffsetCommit offset_commit: OffsetCommitRequest, OffsetCommitResponse;
            OffsetFetch offset_fetch: OffsetFetchRequest, OffsetFetchResponse;
            FindCoordinator find_coordinator: FindCoordinatorRequest, FindCoordinatorResponse;
            JoinGroup join_group: JoinGroupRequest, JoinGroupResponse;
            Heartbeat heartbeat: HeartbeatRequest, HeartbeatResponse;
            LeaveGroup leave_group: LeaveGroupRequest, LeaveGroupResponse;
            SyncGroup sync_group: SyncGroupRequest, SyncGroupResponse;
            DescribeGroups describe_groups: DescribeGroupsRequest, DescribeGroupsResponse;
            ListGroups list_groups: ListGroupsRequest, ListGroupsResponse;
            SaslHandshake sasl_handshake: SaslHandshakeRequest, SaslHandshakeResponse;
            ApiVersions api_versions: ApiVersionsRequest, ApiVersionsResponse;
            CreateTopics create_topics: CreateTopicsRequest, CreateTopicsResponse;
            DeleteTopics delete_topics: DeleteTopicsRequest, DeleteTopicsResponse;
            DeleteRecords delete_records: DeleteRecordsRequest, DeleteRecordsResponse;
            InitProducerId init_producer_id: InitProducerIdRequest, InitProducerIdResponse;
            OffsetForLeaderEpoch offset_for_leader_epoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
            DescribeConfigs describe_configs: DescribeConfigsRequest, DescribeConfigsResponse;
            AlterConfigs alter_configs: AlterConfigsRequest, AlterConfigsResponse;
            DescribeLogDirs describe_log_dirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
            SaslAuthenticate sasl_authenticate: SaslAuthenticateRequest, SaslAuthenticateResponse;
            CreatePartitions create_partitions: CreatePartitionsRequest, CreatePartitionsResponse;
            DeleteGroups delete_groups: DeleteGroupsRequest, DeleteGroupsResponse;
            ElectLeaders elect_leaders: ElectLeadersRequest, ElectLeadersResponse;
            IncrementalAlterConfigs incremental_alter_configs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
            AlterPartitionReassignments alter_partition_reassignments: AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
            ListPartitionReassignments list_partition_reassignments: ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
            OffsetDelete offset_delete: OffsetDeleteRequest, OffsetDeleteResponse;
            DescribeCluster describe_cluster: DescribeClusterRequest, DescribeClusterResponse;
            DescribeTopicPartitions describe_topic_partitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
        }
    };
}

pub(crate) use for_each_api;

macro_rules! api_keys {
    ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {
        /// An API, by the number that requests name it by.
        #[allow(missing_docs, reason = "each has a module, which says what it is")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $($api = <super::$module::$request as Request>::KEY,)*
        }

        impl ApiKey {
            /// Every API known, in order of their numbers.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$api),*];

            /// The name it has in Kafka.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$api => stringify!($api),)*
                }
            }

            /// The versions that can be read and written.
            #[must_use]
            pub fn versions(self) -> VersionRange {
                match self {
                    $(ApiKey::$api => <super::$module::$request as Message>::VERSIONS,)*
                }
            }

            /// Whether `version` has compact encodings and tagged fields (KIP-482). Also answers for
            /// versions that are not supported, which is needed to read their headers.
            #[must_use]
            pub fn is_flexible(self, version: i16) -> bool {
                match self {
                    $(ApiKey::$api => version >= <super::$module::$request as Message>::FIRST_FLEXIBLE,)*
                }
            }
        }
    };
}

for_each_api!(api_keys);

impl ApiKey {
    /// The number.
    #[must_use]
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The versions to tell clients of. Those of [`ApiKey::versions`] but for Produce, which starts at
    /// 0: librdkafka takes a later start for a lack of compression (KAFKA-18659). Versions 0 to 2 are
    /// never sent by it and stay unsupported.
    #[must_use]
    pub fn advertised(self) -> VersionRange {
        let versions = self.versions();
        if self == ApiKey::Produce { VersionRange { min: 0, ..versions } } else { versions }
    }

    /// The entry of this API in the response to ApiVersions.
    #[must_use]
    pub fn entry(self) -> ApiVersion {
        let VersionRange { min, max } = self.advertised();
        ApiVersion { api_key: self.number(), min_version: min, max_version: max }
    }
}

/// Fails with the number if it is no API spoken here.
impl TryFrom<i16> for ApiKey {
    type Error = i16;

    fn try_from(number: i16) -> Result<Self, i16> {
        ApiKey::ALL.iter().copied().find(|api| api.number() == number).ok_or(number)
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
