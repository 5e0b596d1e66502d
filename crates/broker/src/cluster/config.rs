//! How a node is configured to be among others.

use model::NodeId;
use peer::{Secret, Tls};
use std::net::SocketAddr;

/// How a node is configured to be among others.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Where other nodes reach it. Without, it stays alone.
    pub listen: Option<SocketAddr>,
    /// What other nodes are told about that, a host and a port, where it is not the address itself.
    pub advertise: Option<(String, u16)>,
    /// Where to ask to be let in: host and port at which some node of the cluster listens for others.
    pub join: Option<String>,
    /// The number it wants to have. Without, it gets the next.
    pub node: Option<NodeId>,
    /// Where it stands: replicas of a shard are spread over racks.
    pub rack: Option<String>,
    /// How many replicas a shard shall have, where there are as many nodes.
    pub replication: u32,
    /// Whether streams leave a hot shard by themselves, while this node leads the catalog.
    pub sheds: bool,
    /// Where clients reach it, by protocol.
    pub endpoints: Vec<Advertised>,
    /// Certificates, if what nodes say to each other is encrypted.
    pub tls: Option<Tls>,
    /// What nodes have to know to belong to the cluster, if anything.
    pub secret: Option<Secret>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        let (listen, advertise, join, node, rack) = (None, None, None, None, None);
        ClusterConfig {
            listen,
            advertise,
            join,
            node,
            rack,
            replication: 3,
            sheds: true,
            endpoints: Vec::new(),
            tls: None,
            secret: None,
        }
    }
}

/// Where clients of a protocol reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The protocol, such as `kafka`.
    pub protocol: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}
