//! As much as the brokers take.

use crate::Outcome;
use crate::figure::size;
use crate::kafka::contest::{Case, Stage, figures};
use crate::kafka::payload::Shape;
use crate::kafka::variant::Variant;

/// Connections, and requests of each that are under way: what Kafka's own producer allows itself.
pub(crate) const PRODUCERS: usize = 8;
pub(crate) const IN_FLIGHT: usize = 5;

/// What is done to the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Keyed,
    Lz4,
}

const FORMS: [Form; 3] = [Form::Plain, Form::Keyed, Form::Lz4];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (record, batch) in [(1024, 64 << 10), (100, 16 << 10)] {
        for partitions in [12, 1] {
            for form in FORMS {
                cases.push(case(record, batch, partitions, form));
            }
        }
    }
    for (record, batch) in [(1024, 16 << 10), (100, 64 << 10)] {
        let mut case = case(record, batch, 12, Form::Plain);
        case.name.push_str(&format!(", {} batches", size(batch)));
        cases.push(case);
    }
    cases
}

fn case(record: usize, batch: usize, partitions: usize, form: Form) -> Case {
    let mut name = format!("{} × {}", partitions, size(record));
    match form {
        Form::Plain => {}
        Form::Keyed => name.push_str(", keyed"),
        Form::Lz4 => name.push_str(", lz4"),
    }
    let shape = Shape { record, batch, keyed: form == Form::Keyed, lz4: form == Form::Lz4 };
    Case { name, shape, partitions, producers: PRODUCERS, in_flight: IN_FLIGHT }
}

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    // Every form at least, even when quick.
    let count = if options.quick { FORMS.len() } else { usize::MAX };
    for case in cases().into_iter().take(count) {
        for variant in stage.turns(&Variant::ALL) {
            let contest = stage.contest()?;
            let (watched, _, peak) =
                contest.saturate(options, variant, &case, options.warm_up(), options.window() / 2)?;
            stage.record(&case.name, variant, figures(&watched, peak));
        }
    }
    Ok(())
}
