//! Many connections that wait for every record.

use super::latency::acknowledged;
use crate::Outcome;
use crate::kafka::contest::{Case, Stage, figures};
use crate::kafka::payload::Shape;
use crate::kafka::variant::Variant;

const CONNECTIONS: usize = 200;

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    let shape = Shape { record: 100, batch: 0, keyed: false, lz4: false };
    let name = format!("{CONNECTIONS} × 1 record of 100 B");
    let case = Case { name, shape, partitions: 12, producers: CONNECTIONS, in_flight: 1 };
    for variant in stage.turns(&Variant::ALL) {
        let contest = stage.contest()?;
        let (watched, finished, peak) =
            contest.saturate(options, variant, &case, options.warm_up(), options.window())?;
        let mut all = figures(&watched, peak);
        all.extend(acknowledged(&finished.acknowledged));
        stage.record(&case.name, variant, all);
    }
    Ok(())
}
