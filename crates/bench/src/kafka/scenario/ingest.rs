//! How much of the disk's bandwidth large batches get.

use super::produce::{IN_FLIGHT, PRODUCERS};
use crate::Outcome;
use crate::disk::direct_bandwidth;
use crate::kafka::contest::{Case, Stage, figures};
use crate::kafka::metric::Metric;
use crate::kafka::payload::Shape;
use crate::kafka::variant::Variant;

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    let shape = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
    for partitions in [1, 12] {
        let name = format!("{partitions} × 64 KiB batches");
        let case = Case { name, shape, partitions, producers: PRODUCERS, in_flight: IN_FLIGHT };
        for variant in stage.turns(&Variant::ALL) {
            // Before the brokers' own writes, and with both of them idle.
            stage.contest()?;
            let direct = direct_bandwidth(&options.folder, options.window() / 4)?;
            let contest = stage.contest()?;
            let (watched, _, peak) = contest.saturate(options, variant, &case, options.warm_up(), options.window())?;
            let mut all = figures(&watched, peak);
            all.insert(Metric::DirectMibASecond, direct);
            all.insert(Metric::DirectShare, watched.cost.mib_a_second() / direct);
            stage.record(&case.name, variant, all);
        }
    }
    Ok(())
}
