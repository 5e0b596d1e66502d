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
    /// Records that clients settled.
    settled,
    /// Reads of compacted streams that were judged.
    key_reads,
    /// Records that compaction had removed in the end, on all replicas.
    records_compacted,
    /// Keys that had been removed and of which nothing was left in the end, on all replicas.
    removals_compacted,
    /// Files held as by somebody who copies them slowly.
    holds,
    /// States of replicas that were compared at the same entry.
    states_compared,

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

    /// Processes killed.
    kills,
    /// Leaders that were killed and came back at once.
    leaders_restarted,
    /// Times one node lost power.
    power_losses_of_one,
    /// Times two nodes lost power at the same moment.
    power_losses_of_two,
    /// Times all nodes lost power at the same moment.
    power_losses_of_three,
    /// Nodes that lost power while no process ran on them.
    power_losses_while_down,
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
    /// Bits flipped.
    bit_flips,
    /// Wall clocks that jumped.
    clock_jumps,
    /// Leaderships handed over, or tried to.
    transfers,
    /// Checkpoints asked for.
    checkpoints,
    /// Shards that grew from one replica to three.
    grown,

    /// Ends of logs that another leader's entries replaced.
    truncations,
    /// Of these, those that reached into an earlier file.
    truncations_across_files,
    /// Times a Raft log's floor moved.
    purges,
    /// Snapshots installed.
    installs,
    /// Of these, those on a replica that had files already.
    installs_over_files,
    /// Times that something went wrong while a snapshot was being copied.
    installs_disturbed,
    /// Parts of snapshots that were gone on with where an earlier try had ended.
    parts_resumed,
    /// Parts of snapshots that were there whole when they were asked for again.
    parts_reused,
    /// Parts of snapshots that were not what they should be.
    parts_refused,
    /// Bytes of packed files written.
    bytes_packed,
    /// Files given back.
    files_reclaimed,
    /// Replicas that came back with less log than they had.
    reversions,
    /// Replicas that came back in doubt.
    doubts,
    /// Syncs and writes that failed under a journal.
    storage_errors,
    /// Damaged ranges repaired from another replica.
    repairs,
    /// Times a replica took over another one's form of streams.
    takeovers,
}
