//! Links between nodes of one process over loopback: first what they do with calls, then real shards on
//! top. Tests wait for something to happen, and [`node::within`] fails them when it does not.

mod cluster;
mod desk;
mod node;
mod replicas;
mod room;
