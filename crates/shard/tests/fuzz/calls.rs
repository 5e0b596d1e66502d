//! What replicas say to one another.

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let _ = shard::is_readable(data);
}
