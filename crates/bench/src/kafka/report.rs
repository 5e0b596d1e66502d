//! docs/benchmarks/kafka.md: written from the figures, but for the part that a person writes.

use super::aims::{self, ratio};
use super::metric::Metric;
use super::plot;
use super::results::{Results, ScenarioRun};
use super::variant::Variant;
use crate::Outcome;
use crate::apache_kafka::{HEAP, PERFORMANCE};
use crate::figure::number;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Between these lines stands what a person wrote; it is kept.
const BEGIN: &str = "<!-- written by hand: begin -->";
const END: &str = "<!-- written by hand: end -->";
/// What stands there at first.
const NOTHING: &str = "\n## What the figures say\n\nNothing is written yet.\n\n";

/// Writes kafka.md and kafka.svg into `folder`.
pub(crate) fn write(results: &Results, folder: &Path) -> Outcome<()> {
    let path = folder.join("kafka.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, markdown(results, by_hand(&before))?)?;
    Ok(fs::write(folder.join("kafka.svg"), plot::svg(results)?)?)
}

/// The part of a report that a person wrote.
fn by_hand(report: &str) -> &str {
    let inside = report.split_once(BEGIN).and_then(|(_, rest)| Some(rest.split_once(END)?.0));
    inside.unwrap_or(NOTHING)
}

fn markdown(results: &Results, by_hand: &str) -> Outcome<String> {
    let mut out = String::new();
    writeln!(
        out,
        "# Beside Apache Kafka\n\nWritten by `cargo xtask bench kafka --out docs/benchmarks` from \
         [kafka.json](kafka.json); what is between the two marks is written by hand and kept. Every record of every \
         run was read back and compared with what was sent: a run that lost, doubled or changed one would have ended \
         the benchmark.\n\n![Throughput, CPU and latency beside Apache Kafka](kafka.svg)\n"
    )?;
    conditions(&mut out, results)?;
    let rows = aims::rows(results);
    if !rows.is_empty() {
        writeln!(
            out,
            "## Against the aims\n\nRatios are Mainstem's figure to Kafka's, within a repetition; medians over the \
             repetitions. Cases in which the generator was busy on more than 0.9 of its one thread are not counted for \
             throughput, for then it was the limit.\n"
        )?;
        table(&mut out, &["aim", "measured by", "cases", "worst", "median", "best", ""], &rows)?;
    }
    write!(out, "{BEGIN}{by_hand}{END}\n\n")?;
    for run in &results.runs {
        section(&mut out, run)?;
    }
    Ok(format!("{}\n", out.trim_end()))
}

fn conditions(out: &mut String, results: &Results) -> Outcome<()> {
    let Some(run) = results.runs.first() else { return Ok(()) };
    let (machine, versions) = (&run.machine, &run.versions);
    writeln!(out, "## Conditions\n")?;
    writeln!(
        out,
        "- {} cores of {}, {:.0} GiB of memory, Linux {}, {}; brokers, generator and tools share them. Both brokers \
         write to the same disk, the data of each in a folder of its own.",
        machine.cores, machine.processor, machine.memory_gib, machine.kernel, machine.file_system
    )?;
    writeln!(out, "- {}, release build, one node, as it comes.", versions.mainstem)?;
    if let Some(kafka) = &versions.kafka {
        writeln!(
            out,
            "- Apache Kafka {kafka}, one node that is broker and controller (KRaft), on {}, with the heap and the flags \
             of its scripts: `{} {}`. Its properties are those that one node needs and \
             `log.segment.delete.delay.ms=1000`, else as it comes.",
            versions.java.as_deref().unwrap_or("an unknown JVM"),
            HEAP.join(" "),
            PERFORMANCE.join(" ")
        )?;
    }
    writeln!(
        out,
        "- Both run side by side through a repetition and take turns, in changing order; between two measurements the \
         topic is removed and the file system synced. At the start of a repetition both work before anything counts, \
         Kafka for 12 s.\n\
         - Four promises for acks=all. *Mainstem*: as it comes, answered after fdatasync (`quorum-fsync`). *Mainstem, \
         memory*: once written, fdatasync within 200 ms (`mainstem.durability=quorum-memory`). *Kafka*: as it comes, \
         once written, whenever the kernel syncs. *Kafka, flush*: after a sync of every batch (`flush.messages=1`).\n\
         - Payloads are events in JSON, each record with values of its own. CPU is that of the broker's process alone, \
         memory its peak resident set within the measurement unless a table says otherwise.\n"
    )?;
    if results.runs.iter().any(|run| run.quick) {
        writeln!(out, "**Quick: sizes and times were small, and the figures mean nothing.**\n")?;
    }
    Ok(())
}

fn section(out: &mut String, run: &ScenarioRun) -> Outcome<()> {
    writeln!(out, "## {}\n\n{}\n", run.scenario.title(), run.scenario.meaning())?;
    let loads: Vec<String> = run.load_averages.iter().map(|load| format!("{load:.1}")).collect();
    writeln!(
        out,
        "{}, {}; load average before: {}.\n",
        date(run.began),
        match run.repetitions {
            1 => "one repetition".to_owned(),
            more => format!("medians of {more} repetitions"),
        },
        loads.join(", ")
    )?;
    let variants: Vec<Variant> =
        Variant::ALL.into_iter().filter(|one| run.samples.iter().any(|sample| sample.variant == *one)).collect();
    for metric in run.scenario.metrics() {
        figures(out, run, *metric, &variants)?;
    }
    Ok(())
}

/// One figure: a row for each case, a column for each variant, ratios behind them.
fn figures(out: &mut String, run: &ScenarioRun, metric: Metric, variants: &[Variant]) -> Outcome<()> {
    let pairs: Vec<_> = Variant::PAIRS
        .into_iter()
        .filter(|(ours, theirs)| variants.contains(ours) && variants.contains(theirs) && metric.compares())
        .collect();
    let mut head: Vec<String> = vec![metric.label().into()];
    head.extend(variants.iter().map(|variant| variant.label().to_owned()));
    head.extend(pairs.iter().map(|(ours, theirs)| format!("{} / {}", ours.label(), theirs.label())));
    let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or("-".to_owned(), show);
    let mut rows = Vec::new();
    for case in run.cases() {
        let medians: Vec<_> = variants.iter().map(|variant| run.median(case, *variant, metric)).collect();
        if medians.iter().all(Option::is_none) {
            continue;
        }
        let mut row = vec![case.to_owned()];
        row.extend(medians.into_iter().map(|value| shown(value, number)));
        row.extend(pairs.iter().map(|pair| shown(run.ratio(case, *pair, metric), ratio)));
        rows.push(row);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(out, &head, &rows)
}

fn table<R: AsRef<[String]>>(out: &mut String, head: &[&str], rows: &[R]) -> Outcome<()> {
    writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()))?;
    for row in rows {
        writeln!(out, "| {} |", row.as_ref().join(" | "))?;
    }
    writeln!(out)?;
    Ok(())
}

/// The day of a time in seconds since 1970, in UTC.
fn date(seconds: u64) -> String {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::results::tests::example;
    use crate::kafka::scenario::Scenario;

    fn results() -> Results {
        let mut results = Results::default();
        Scenario::ALL.into_iter().for_each(|scenario| results.replace(example(scenario)));
        results
    }

    #[test]
    fn tables_show_medians_and_ratios() {
        let text = markdown(&results(), NOTHING).unwrap();
        assert!(text.contains(
            "| records/s | Mainstem | Mainstem, memory | Kafka | Kafka, flush | Mainstem / Kafka | \
             Mainstem, memory / Kafka | Mainstem / Kafka, flush |\n|---|---|---|---|---|---|---|---|\n\
             | 12 × 1 KiB | 150 | 200 | 50.0 | 5.00 | 3.00 | 4.00 | 30.0 |\n"
        ));
        for scenario in Scenario::ALL {
            assert!(text.contains(&format!("\n## {}\n", scenario.title())), "{scenario:?}");
        }
        assert!(text.contains("Measured on 2023-11-14") || text.contains("2023-11-14, medians of 3 repetitions"));
        assert!(!text.contains("Quick"));
        assert!(text.lines().all(|line| line == line.trim_end()) && text.ends_with("\n") && !text.ends_with("\n\n"));
    }

    #[test]
    fn ours_alone_has_no_ratios() {
        let mut run = example(Scenario::Produce);
        run.samples.retain(|sample| sample.variant == Variant::Mainstem);
        let mut results = Results::default();
        results.replace(ScenarioRun { quick: true, ..run });
        let text = markdown(&results, NOTHING).unwrap();
        assert!(text.contains("| records/s | Mainstem |\n|---|---|\n| 12 × 1 KiB | 150 |\n"));
        assert!(text.contains("the figures mean nothing") && !text.contains("Against the aims"));
    }

    #[test]
    fn what_a_person_wrote_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kafka.md");
        write(&results(), folder.path()).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert!(first.contains("Nothing is written yet."));
        fs::write(&path, first.replace("Nothing is written yet.", "Because of the disk.").replace("150", "?")).unwrap();
        write(&results(), folder.path()).unwrap();
        let second = fs::read_to_string(&path).unwrap();
        assert_eq!(second, first.replace("Nothing is written yet.", "Because of the disk."));
        assert!(fs::read_to_string(folder.path().join("kafka.svg")).unwrap().starts_with("<svg"));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_767_225_599), "2025-12-31");
    }
}
