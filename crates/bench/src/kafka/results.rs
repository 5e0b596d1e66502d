//! Figures as they are kept: one file of JSON, from which the report is written.

use super::metric::Metric;
use super::scenario::Scenario;
use super::variant::Variant;
use crate::Outcome;
use crate::conditions::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Figures of one measurement.
pub(crate) type Figures = BTreeMap<Metric, f64>;

/// One measurement of one broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) case: String,
    pub(crate) variant: Variant,
    pub(crate) repetition: usize,
    pub(crate) figures: Figures,
}

/// What ran beside what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) mainstem: String,
    pub(crate) kafka: Option<String>,
    pub(crate) java: Option<String>,
}

/// A scenario's last run, with its conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScenarioRun {
    pub(crate) scenario: Scenario,
    /// Seconds since 1970.
    pub(crate) began: u64,
    pub(crate) machine: Machine,
    pub(crate) versions: Versions,
    /// Seconds that a measurement took, for what is measured by time.
    pub(crate) seconds: f64,
    pub(crate) repetitions: usize,
    pub(crate) quick: bool,
    /// The load average when each repetition began.
    pub(crate) load_averages: Vec<f64>,
    pub(crate) samples: Vec<Sample>,
}

impl ScenarioRun {
    /// The cases, in the order they were measured in.
    pub(crate) fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for sample in &self.samples {
            if !cases.contains(&sample.case.as_str()) {
                cases.push(&sample.case);
            }
        }
        cases
    }

    /// A figure in every repetition that has it.
    fn values(&self, case: &str, variant: Variant, metric: Metric) -> BTreeMap<usize, f64> {
        let samples = self.samples.iter().filter(|sample| sample.case == case && sample.variant == variant);
        samples.filter_map(|sample| Some((sample.repetition, *sample.figures.get(&metric)?))).collect()
    }

    /// A figure's median over the repetitions.
    pub(crate) fn median(&self, case: &str, variant: Variant, metric: Metric) -> Option<f64> {
        let values = self.values(case, variant, metric);
        (!values.is_empty()).then(|| crate::cost::median(values.into_values()))
    }

    /// The median of one figure in parts of another, each of the same repetition, so that a slow one meets both.
    pub(crate) fn ratio(&self, case: &str, pair: (Variant, Variant), metric: Metric) -> Option<f64> {
        let (ours, theirs) = (self.values(case, pair.0, metric), self.values(case, pair.1, metric));
        let ratios: Vec<f64> =
            ours.iter().filter_map(|(nth, ours)| Some(ours / theirs.get(nth).filter(|value| **value > 0.0)?)).collect();
        (!ratios.is_empty()).then(|| crate::cost::median(ratios))
    }
}

/// Every scenario's last run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) runs: Vec<ScenarioRun>,
}

impl Results {
    /// Those of a file; none when there is no file.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        if !path.exists() {
            return Ok(Results::default());
        }
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Writes them with a line for each sample, so that a change can be read.
    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        let mut text = String::from("{\"runs\":[");
        for (nth, run) in self.runs.iter().enumerate() {
            let mut head = run.clone();
            let samples = std::mem::take(&mut head.samples);
            let head = serde_json::to_string(&head)?;
            let head = head.strip_suffix("[]}").ok_or("samples are not a run's last field")?;
            text.push_str(if nth == 0 { "\n" } else { ",\n" });
            text.push_str(head);
            for (nth, sample) in samples.iter().enumerate() {
                text.push_str(if nth == 0 { "[\n" } else { ",\n" });
                text.push_str(&serde_json::to_string(sample)?);
            }
            text.push_str(if samples.is_empty() { "[]}" } else { "\n]}" });
        }
        text.push_str("\n]}\n");
        Ok(fs::write(path, text)?)
    }

    /// Whether there is a figure that means something.
    pub(crate) fn is_real(&self) -> bool {
        self.runs.iter().any(|run| !run.quick)
    }

    /// The last run of a scenario.
    pub(crate) fn of(&self, scenario: Scenario) -> Option<&ScenarioRun> {
        self.runs.iter().find(|run| run.scenario == scenario)
    }

    /// Puts a run in the place of the scenario's last one. Quick runs do not stand beside real ones.
    pub(crate) fn replace(&mut self, run: ScenarioRun) {
        self.runs.retain(|old| old.scenario != run.scenario && old.quick == run.quick);
        self.runs.push(run);
        self.runs.sort_by_key(|run| run.scenario);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run with three repetitions of two cases.
    pub(crate) fn example(scenario: Scenario) -> ScenarioRun {
        let mut samples = Vec::new();
        for repetition in 0..3 {
            for (case, factor) in [("12 × 1 KiB", 1.0), ("1 × 100 B", 2.0)] {
                for (variant, base) in Variant::ALL.into_iter().zip([300.0, 400.0, 100.0, 10.0]) {
                    // One repetition was slow, for everybody.
                    let value = base * factor / (1.0 + repetition as f64);
                    let figures = scenario.metrics().iter().map(|metric| (*metric, value)).collect();
                    samples.push(Sample { case: case.to_owned(), variant, repetition, figures });
                }
            }
        }
        ScenarioRun {
            scenario,
            began: 1_700_000_000,
            machine: Machine { cores: 2, processor: "a processor".into(), ..Machine::default() },
            versions: Versions { mainstem: "0.1.0".into(), kafka: Some("4.3.1".into()), java: Some("17".into()) },
            seconds: 2.0,
            repetitions: 3,
            quick: false,
            load_averages: vec![0.5, 1.5, 1.0],
            samples,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut results = Results::default();
        results.replace(example(Scenario::Latency));
        results.replace(ScenarioRun { samples: Vec::new(), ..example(Scenario::Start) });
        results.replace(example(Scenario::Produce));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kafka.json");
        assert_eq!(Results::read(&path).unwrap(), Results::default());
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        std::fs::write(&path, "{\"runs\":[{\"scenario\":\"dancing\"}]}").unwrap();
        assert!(Results::read(&path).is_err());
    }

    #[test]
    fn a_run_takes_the_place_of_the_last_one() {
        let mut results = Results::default();
        results.replace(example(Scenario::Start));
        results.replace(example(Scenario::Produce));
        results.replace(ScenarioRun { began: 5, ..example(Scenario::Start) });
        let found: Vec<_> = results.runs.iter().map(|run| (run.scenario, run.began)).collect();
        assert_eq!(found, [(Scenario::Produce, 1_700_000_000), (Scenario::Start, 5)]);
        assert!(results.is_real());
        results.replace(ScenarioRun { quick: true, ..example(Scenario::Latency) });
        assert_eq!((results.runs.len(), results.is_real()), (1, false), "quick ones do not stand beside real ones");
    }

    #[test]
    fn ratios_compare_within_a_repetition() {
        let mut run = example(Scenario::Produce);
        let (case, metric) = ("12 × 1 KiB", Metric::RecordsASecond);
        assert_eq!(run.cases(), ["12 × 1 KiB", "1 × 100 B"]);
        assert_eq!(run.median(case, Variant::Mainstem, metric), Some(150.0));
        assert_eq!(run.ratio(case, (Variant::Mainstem, Variant::Kafka), metric), Some(3.0));
        run.samples.retain(|sample| sample.variant != Variant::Kafka || sample.repetition == 2);
        assert_eq!(run.ratio(case, (Variant::Mainstem, Variant::Kafka), metric), Some(3.0));
        run.samples.retain(|sample| sample.variant != Variant::Kafka);
        assert_eq!(run.ratio(case, (Variant::Mainstem, Variant::Kafka), metric), None);
    }
}
