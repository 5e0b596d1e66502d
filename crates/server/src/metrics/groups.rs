//! Consumer groups: who is in them, and how far they are behind.

use super::NOBODY;
use super::family::Family;
use broker::group_usage::{GroupUsages, LagSum};
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

const LABELS: &[&str] = &["group", "topic"];

const MEMBERS: Family = Family::gauge("group_members", &["group"], "Members of the group");
const RECORDS: Family = Family::gauge(
    "group_lag_records",
    LABELS,
    "Records that the group has not consumed and still can, over all partitions that it has a position in. Of \
     compacted topics what compaction removed counts",
);
const SECONDS: Family = Family::gauge(
    "group_lag_seconds",
    LABELS,
    "The age of the oldest of these records by its timestamp, 0 when there is none. As exact as the index is, \
     which knows the newest record of a batch, or of a run of small batches of 64 KiB at most: the record is at \
     least that old. Absent while it is not known",
);
const STATES: Family = Family::gauge("groups", &["state"], "Groups that this node coordinates, by state");
const FOLDED: Family =
    Family::gauge("groups_folded", &[], "Of these, those not shown by name: their members are summed up");
const LAGS_FOLDED: Family = Family::gauge(
    "group_lags_folded",
    &[],
    "Pairs of a group and a topic not shown by name: their records are summed up, and the greatest age is shown",
);
const UNKNOWN: Family = Family::gauge(
    "group_lag_ages_unknown",
    &[],
    "Partitions whose oldest record's age was not found out in the time there is for it. It goes on with the next \
     look",
);
const SKIPPED: Family =
    Family::gauge("group_positions_skipped", &[], "Positions of groups not looked at because there are too many");

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    [&MEMBERS, &RECORDS, &SECONDS, &STATES, &FOLDED, &LAGS_FOLDED, &UNKNOWN, &SKIPPED].into_iter()
}

pub(super) fn encode(groups: &GroupUsages, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut samples = MEMBERS.begin(encoder)?;
    for group in &groups.shown {
        samples.number(&[&group.name], group.members)?;
    }
    let (folded, members) = groups.folded;
    if folded > 0 {
        samples.number(&[NOBODY], members)?;
    }
    let (lags_folded, others) = groups.folded_lags;
    let shown = || {
        let named = groups.lags.iter().map(|lag| ([lag.group.as_str(), lag.topic.as_str()], lag.lag));
        named.chain((lags_folded > 0).then_some(([NOBODY, NOBODY], others)))
    };
    let mut samples = RECORDS.begin(encoder)?;
    for (labels, LagSum { records, .. }) in shown() {
        samples.number(&labels, records)?;
    }
    let mut samples = SECONDS.begin(encoder)?;
    for (labels, LagSum { millis, .. }) in shown() {
        if let Some(millis) = millis {
            samples.number(&labels, millis as f64 / 1e3)?;
        }
    }
    let mut samples = STATES.begin(encoder)?;
    for (state, count) in &groups.states {
        samples.number(&[state], *count)?;
    }
    FOLDED.begin(encoder)?.number(&[], folded)?;
    LAGS_FOLDED.begin(encoder)?.number(&[], lags_folded)?;
    UNKNOWN.begin(encoder)?.number(&[], groups.unknown)?;
    SKIPPED.begin(encoder)?.number(&[], groups.skipped)
}
