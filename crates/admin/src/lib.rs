//! The admin API: topics, records, groups and the node itself over HTTP, in JSON.
//!
//! [`shape`] is what is asked and answered, as types that server and command line share.
//!
//! It deliberately knows no socket: bytes come and go through whoever drives it. Start with [`shape`].

pub mod shape;
