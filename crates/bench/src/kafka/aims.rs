//! What we want to be, and how far we are.

use super::metric::Metric;
use super::results::Results;
use super::scenario::Scenario;
use super::variant::Variant;
use crate::figure::number;
use std::fmt;

/// The generator has one thread; busier than this it is what limits, and the broker's throughput is not known.
const GENERATOR_CORES: f64 = 0.9;

/// When a figure is good enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtLeast(least) => write!(f, "at least {}", number(*least)),
            Bound::AtMost(most) => write!(f, "at most {}", number(*most)),
        }
    }
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        }
    }
}

/// An aim, and every figure that says something about it.
struct Aim {
    text: &'static str,
    by: String,
    bound: Bound,
    values: Vec<f64>,
}

/// Aims that are ratios to Kafka: what the aim says, its bound, where it is looked for.
const RATIOS: [(&str, Bound, Metric, &[Scenario]); 7] = [
    (
        "throughput at least 2 × Kafka's",
        Bound::AtLeast(2.0),
        Metric::RecordsASecond,
        &[Scenario::Produce, Scenario::PerfTools, Scenario::Singles, Scenario::Consume, Scenario::CatchUp],
    ),
    (
        "broker CPU per record at most 1/4",
        Bound::AtMost(0.25),
        Metric::CpuSecondsAMillion,
        &[Scenario::Produce, Scenario::PerfTools, Scenario::Singles, Scenario::Consume, Scenario::CatchUp],
    ),
    ("p99 at most 1/3, acknowledged", Bound::AtMost(1.0 / 3.0), Metric::Acknowledged99, &[Scenario::Latency]),
    ("p99 at most 1/3, end to end", Bound::AtMost(1.0 / 3.0), Metric::Consumed99, &[Scenario::Latency]),
    (
        "memory at most 1/10, peak under load",
        Bound::AtMost(0.1),
        Metric::PeakMib,
        &[Scenario::Produce, Scenario::Singles, Scenario::Consume, Scenario::CatchUp, Scenario::Ingest],
    ),
    ("memory at most 1/10, idle", Bound::AtMost(0.1), Metric::MemoryMib, &[Scenario::Start, Scenario::Partitions]),
    ("start-up at most 1/20", Bound::AtMost(0.05), Metric::StartMillis, &[Scenario::Start]),
];

fn all(results: &Results) -> Vec<Aim> {
    let mut aims = Vec::new();
    for (text, bound, metric, scenarios) in RATIOS {
        for run in scenarios.iter().filter_map(|scenario| results.of(*scenario)) {
            for pair in Variant::PAIRS {
                let limited = |case: &str| {
                    let busy = run.median(case, pair.0, Metric::GeneratorCores);
                    metric == Metric::RecordsASecond && busy.is_some_and(|cores| cores >= GENERATOR_CORES)
                };
                let cases = run.cases();
                let counted: Vec<&str> = cases.iter().copied().filter(|case| !limited(case)).collect();
                let values: Vec<f64> = counted.iter().filter_map(|case| run.ratio(case, pair, metric)).collect();
                let by = format!("{}: {} / {}", run.scenario.title(), pair.0.label(), pair.1.label());
                aims.push(Aim { text, by, bound, values });
            }
        }
    }
    let text = "ingest of 64 KiB batches at least 60 % of direct writes";
    if let Some(run) = results.of(Scenario::Ingest) {
        for variant in [Variant::Mainstem, Variant::MainstemMemory] {
            let values = run.cases().iter().filter_map(|case| run.median(case, variant, Metric::DirectShare)).collect();
            aims.push(Aim { text, by: variant.label().into(), bound: Bound::AtLeast(0.6), values });
        }
    }
    aims.retain(|aim| !aim.values.is_empty());
    aims
}

/// The table's rows: aim, by what, cases, worst, median, best, verdict.
pub(crate) fn rows(results: &Results) -> Vec<[String; 7]> {
    let mut rows = Vec::new();
    for mut aim in all(results) {
        aim.values.sort_by(f64::total_cmp);
        if matches!(aim.bound, Bound::AtMost(_)) {
            aim.values.reverse();
        }
        let (count, met) = (aim.values.len(), aim.values.iter().filter(|value| aim.bound.holds(**value)).count());
        let verdict = match met {
            met if met == count => "met".to_owned(),
            0 => "missed".to_owned(),
            met => format!("in {met} of {count}"),
        };
        rows.push([
            aim.text.to_owned(),
            aim.by,
            count.to_string(),
            ratio(aim.values[0]),
            ratio(aim.values[count / 2]),
            ratio(aim.values[count - 1]),
            verdict,
        ]);
    }
    rows
}

/// A ratio with enough digits for small ones.
pub(crate) fn ratio(value: f64) -> String {
    if value < 0.1 { format!("{value:.3}") } else { number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::results::tests::example;

    fn row<'a>(rows: &'a [[String; 7]], text: &str, by: &str) -> &'a [String; 7] {
        rows.iter().find(|row| row[0].starts_with(text) && row[1] == by).unwrap()
    }

    #[test]
    fn aims_are_met_or_missed_by_their_bounds() {
        let mut results = Results::default();
        let mut run = example(Scenario::Produce);
        for sample in &mut run.samples {
            sample.figures.insert(Metric::GeneratorCores, 0.5);
        }
        results.replace(run);
        results.replace(example(Scenario::Ingest));
        let all = rows(&results);
        // 300 records a second to 100; the same figures stand for CPU, where less would be better.
        let throughput = row(&all, "throughput", "Producing: Mainstem / Kafka");
        assert_eq!(throughput[2..], ["2", "3.00", "3.00", "3.00", "met"].map(String::from));
        assert_eq!(row(&all, "broker CPU", "Producing: Mainstem / Kafka")[6], "missed");
        assert_eq!(row(&all, "ingest", "Mainstem")[6], "met");
    }

    #[test]
    fn cases_differ_and_the_generators_limit_is_not_ours() {
        let mut results = Results::default();
        let mut run = example(Scenario::Produce);
        for sample in &mut run.samples {
            let limited = sample.case.starts_with("12");
            sample.figures.insert(Metric::GeneratorCores, if limited { 0.95 } else { 0.5 });
            if sample.variant == Variant::Mainstem && !limited {
                sample.figures.insert(Metric::RecordsASecond, 1.0);
                sample.figures.insert(Metric::PeakMib, 0.001);
            }
        }
        results.replace(run);
        let all = rows(&results);
        let throughput = row(&all, "throughput", "Producing: Mainstem / Kafka");
        assert_eq!((throughput[2].as_str(), throughput[6].as_str()), ("1", "missed"));
        assert_eq!(row(&all, "memory at most 1/10, peak", "Producing: Mainstem / Kafka")[6], "in 1 of 2");
    }

    #[test]
    fn nothing_measured_promises_nothing() {
        assert!(rows(&Results::default()).is_empty());
    }
}
