//! Counts of a run, or of several: what went wrong by intention, and which code that led through.

use crate::facts::facts;

facts! {
    /// Virtual milliseconds.
    millis,
    /// Requests to append that were acknowledged.
    acknowledged,
    /// Of these, those that the broker recognised as made before.
    recognised,
    /// Reads that clients made and compared.
    reads,
    /// Times a client was told that another node leads.
    redirected,
    /// Ends of logs that were asked for and judged.
    ends,
    /// Trims that were acknowledged.
    trims,
    /// Logs that went to another shard.
    moves,
    /// Moves that were not begun, for older records were elsewhere still, or there was no such shard.
    moves_refused,
    /// Moves of which nobody heard how they ended.
    moves_unanswered,
    /// Moves in which a leader went down that had to do with them.
    moves_struck,
    /// Logs that were in two shards in the end.
    logs_in_two_shards,
    /// Commits of groups that were acknowledged.
    commits,
    /// Members that were told of their generation.
    group_joins,
    /// Commits of members that were acknowledged.
    member_commits,
    /// Commits of members that were refused, for the members were out.
    member_commits_refused,
    /// Histories of a position that several clients wrote and read at the same time.
    histories,
    /// Positions of groups that were read back and judged.
    positions,
    /// Producer ids handed out.
    producers,
    /// Batches that were refused because their producer had begun anew.
    producers_fenced,
    /// Topics made.
    topics_made,
    /// Topics deleted.
    topics_deleted,
    /// Topics changed.
    topics_changed,
    /// Topics that got more partitions.
    topics_grown,
    /// Changes of the catalog that were acknowledged by a node that did not lead it.
    forwarded,
    /// States of replicas that were compared at the same entry.
    states_compared,

    /// Runs of seven nodes that came to a good end.
    runs_of_seven,
    /// Runs that did in which a shard could have been in fewer racks than there are.
    runs_in_racks,

    /// Messages between nodes.
    messages,
    /// Messages that did not arrive.
    messages_lost,
    /// Questions that arrived twice, the second right behind the first.
    messages_doubled,
    /// Calls that arrived after younger ones, when their callers had given them up.
    messages_late,
    /// Calls that arrived a second time, after younger ones.
    messages_twice,

    /// Nodes that joined.
    joins,
    /// Nodes that were killed or lost power while they joined.
    joins_cut_short,
    /// Nodes drained.
    drains,
    /// Nodes removed for ever, for which new ones came.
    replaced,
    /// Of these, those that were gone for good before.
    burnt_down,
    /// Replicas that were given up.
    replicas_given_up,
    /// Nodes stopped in peace, having handed over what they led.
    stops,
    /// Processes killed.
    kills,
    /// Leaders that were killed and came back at once.
    leaders_restarted,
    /// Leaders of the catalog killed.
    catalog_leaders_killed,
    /// Times one node lost power.
    power_losses_of_one,
    /// Times several nodes, but not all, lost power at the same moment.
    power_losses_of_some,
    /// Times all nodes lost power at the same moment.
    power_losses_of_all,
    /// Nodes that were down until the others had forgotten the log they needed.
    absences,
    /// One-way cuts.
    cuts,
    /// Leaders that nobody heard and that went on.
    leaders_stranded,
    /// Nodes cut off from everybody.
    isolations,
    /// Times in which the network lost and delayed.
    bad_weather,
    /// Times in which a disk failed.
    disk_errors,
    /// Times in which a disk was full.
    full_disks,
    /// Times in which a disk was slow.
    slow_disks,
    /// Wall clocks that jumped.
    clock_jumps,
    /// Leaderships handed over, or tried to.
    transfers,

    /// Ends of logs that another leader's entries replaced.
    truncations,
    /// Times a Raft log's floor moved.
    purges,
    /// Snapshots installed.
    installs,
    /// Of these, those on a replica that had files already.
    installs_over_files,
    /// Bytes of packed files written.
    bytes_packed,
    /// Files given back.
    files_reclaimed,
    /// Replicas that came back in doubt.
    doubts,
    /// Syncs and writes that failed under a journal.
    storage_errors,
}
