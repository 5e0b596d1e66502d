//! Where a client says that partitions shall be.
//!
//! The cluster places a shard's replicas, with all its partitions. What a client says is held against the nodes
//! that there are and counts as a number of replicas; which nodes they are is not followed.

use super::nodes::Nodes;

/// How many replicas each of the partitions shall have, of which each names its nodes. Nothing when there is none.
///
/// # Errors
/// What cannot be.
pub(super) fn replicas<'a>(
    nodes: &Nodes,
    placed: impl IntoIterator<Item = &'a [i32]>,
) -> Result<Option<u32>, &'static str> {
    let mut all = None;
    for replicas in placed {
        nodes.check_replicas(replicas)?;
        if *all.get_or_insert(replicas.len()) != replicas.len() {
            return Err("one partition has more replicas than another");
        }
    }
    Ok(all.map(|count| count as u32))
}

/// Tells whoever runs the node that a client's placement was not followed.
pub(super) fn say_not_followed() {
    tracing::info!("a client said where partitions shall be: they are where the replicas of their shards are");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn a_placement_is_a_number_of_replicas() {
        let nodes = Nodes::of(&Fake::three().context());
        let of = |placed: &[&[i32]]| replicas(&nodes, placed.iter().copied());
        assert_eq!(of(&[&[1, 2], &[3, 1]]), Ok(Some(2)));
        assert_eq!(of(&[]), Ok(None));
        assert!(of(&[&[1, 2], &[3]]).is_err());
        assert!(of(&[&[1], &[4]]).is_err());
    }
}
