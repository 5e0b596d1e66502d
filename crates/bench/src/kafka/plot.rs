//! The report's picture: ratios of throughput and CPU as bars, latencies as ranges. SVG whose text is
//! text, readable on light and on dark pages.

use super::metric::Metric;
use super::results::Results;
use super::scenario::Scenario;
use super::variant::Variant;
use crate::Outcome;
use crate::figure::number;
use std::fmt::Write;

const WIDTH: f64 = 900.0;
/// Where names end and marks begin.
const LEFT: f64 = 290.0;
const RIGHT: f64 = 840.0;
const LINE: f64 = 15.0;
const GAP: f64 = 8.0;
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:15px}\
.value{font-size:11px}.grid{stroke:#ccc}.aim{stroke:#c22;stroke-dasharray:4 3}.aim-text{fill:#c22}\
.s0{fill:#1b66c9;stroke:#1b66c9}.s1{fill:#58a6ff;stroke:#58a6ff}.s2{fill:#d9822b;stroke:#d9822b}.s3{fill:#8a5a12;stroke:#8a5a12}\
text.s0,text.s1,text.s2,text.s3{stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.aim{stroke:#f66}.aim-text{fill:#f66}\
.s0{fill:#4c8fe6;stroke:#4c8fe6}.s1{fill:#a5d0ff;stroke:#a5d0ff}.s2{fill:#f0a35e;stroke:#f0a35e}.s3{fill:#c99a4e;stroke:#c99a4e}}";

/// One mark of a row.
struct Mark {
    /// The class that colours it.
    series: usize,
    /// A bar to one value, or a range of several.
    values: Vec<f64>,
}

/// One chart of the picture.
struct Chart {
    title: String,
    legend: Vec<(usize, String)>,
    /// A line to reach or to stay below, with its text.
    aim: Option<(f64, String)>,
    rows: Vec<(String, Vec<Mark>)>,
}

/// The whole picture.
pub(crate) fn svg(results: &Results) -> Outcome<String> {
    let charts = [
        ratios(results, Metric::RecordsASecond, "Producing: throughput, Mainstem to Kafka (longer is better)", 2.0),
        ratios(
            results,
            Metric::CpuSecondsAMillion,
            "Producing: broker CPU per record, Mainstem to Kafka (further left is better)",
            0.25,
        ),
        latencies(
            results,
            [Metric::Acknowledged50, Metric::Acknowledged99, Metric::Acknowledged999],
            "Until acknowledged",
        ),
        latencies(results, [Metric::Consumed50, Metric::Consumed99, Metric::Consumed999], "End to end"),
    ];
    let (mut body, mut top) = (String::new(), 10.0);
    for chart in charts.into_iter().filter(|chart| !chart.rows.is_empty()) {
        top = chart.draw(&mut body, top)?;
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" height=\"{top}\">\n\
         <title>Mainstem beside Apache Kafka</title>\n<style>{STYLE}</style>\n{body}</svg>\n"
    ))
}

fn ratios(results: &Results, metric: Metric, title: &str, aim: f64) -> Chart {
    let mut rows = Vec::new();
    if let Some(run) = results.of(Scenario::Produce) {
        for case in run.cases() {
            let marks = Variant::PAIRS
                .into_iter()
                .enumerate()
                .filter_map(|(series, pair)| Some(Mark { series, values: vec![run.ratio(case, pair, metric)?] }));
            let marks: Vec<Mark> = marks.collect();
            if !marks.is_empty() {
                rows.push((case.to_owned(), marks));
            }
        }
    }
    let legend = Variant::PAIRS.iter().map(|(ours, theirs)| format!("{} / {}", ours.label(), theirs.label()));
    let aim = Some((aim, format!("aim: {aim}")));
    Chart { title: title.to_owned(), legend: legend.enumerate().collect(), aim, rows }
}

fn latencies(results: &Results, metrics: [Metric; 3], title: &str) -> Chart {
    let mut rows = Vec::new();
    if let Some(run) = results.of(Scenario::Latency) {
        for case in run.cases() {
            let marks = Variant::ALL.into_iter().enumerate().filter_map(|(series, variant)| {
                let values: Vec<f64> = metrics.iter().filter_map(|metric| run.median(case, variant, *metric)).collect();
                (values.len() == metrics.len()).then_some(Mark { series, values })
            });
            rows.push((case.to_owned(), marks.collect()));
        }
    }
    let legend = Variant::ALL.iter().map(|variant| variant.label().to_owned()).enumerate().collect();
    Chart { title: format!("{title}: p50, p99 and p99.9, ms, at a fixed rate"), legend, aim: None, rows }
}

impl Chart {
    /// Draws it from `top` down; returns where it ends.
    fn draw(&self, out: &mut String, top: f64) -> Outcome<f64> {
        let scale = self.scale();
        writeln!(out, "<text class=\"title\" x=\"10\" y=\"{:.0}\">{}</text>", top + 16.0, escaped(&self.title))?;
        let mut x = 10.0;
        for (series, name) in &self.legend {
            writeln!(
                out,
                "<rect class=\"s{series}\" x=\"{x:.0}\" y=\"{:.0}\" width=\"10\" height=\"10\"/>\
                 <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
                top + 26.0,
                x + 15.0,
                top + 35.0,
                escaped(name)
            )?;
            x += 40.0 + 6.6 * name.len() as f64;
        }
        let first = top + 60.0;
        let lines: usize = self.rows.iter().map(|(_, marks)| marks.len()).sum();
        let bottom = first + lines as f64 * LINE + self.rows.len() as f64 * GAP;
        for tick in scale.ticks() {
            let x = scale.place(tick);
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{bottom:.0}\"/>\
                 <text class=\"value\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.0}\">{tick}</text>",
                first - 4.0,
                first - 8.0
            )?;
        }
        if let Some((value, text)) = &self.aim {
            let x = scale.place(*value);
            writeln!(
                out,
                "<line class=\"aim\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{bottom:.0}\"/>\
                 <text class=\"value aim-text\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.0}\">{text}</text>",
                first - 4.0,
                bottom + 12.0
            )?;
        }
        let mut y = first;
        for (name, marks) in &self.rows {
            let middle = y + (marks.len() as f64 * LINE) / 2.0 + 4.0;
            writeln!(
                out,
                "<text text-anchor=\"end\" x=\"{:.0}\" y=\"{middle:.1}\">{}</text>",
                LEFT - 10.0,
                escaped(name)
            )?;
            for mark in marks {
                mark.draw(out, &scale, y)?;
                y += LINE;
            }
            y += GAP;
        }
        Ok(bottom + 34.0)
    }

    fn scale(&self) -> Scale {
        let all = || {
            let marks = self.rows.iter().flat_map(|(_, marks)| marks).flat_map(|mark| mark.values.iter().copied());
            // Bars begin at 1, and what is aimed at has to be seen.
            marks.chain(self.aim.iter().flat_map(|(value, _)| [*value, 1.0])).filter(|value| *value > 0.0)
        };
        let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN_POSITIVE, f64::max));
        Scale { low: low.log2().floor(), high: high.log2().ceil().max(low.log2().floor() + 1.0) }
    }
}

impl Mark {
    fn draw(&self, out: &mut String, scale: &Scale, y: f64) -> Outcome<()> {
        let places: Vec<f64> = self.values.iter().map(|value| scale.place(*value)).collect();
        let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) else { return Ok(()) };
        let class = self.series;
        let (middle, mut end) = (y + LINE / 2.0, last);
        if places.len() == 1 {
            let base = scale.place(1.0);
            let (left, width) = (base.min(last), (last - base).abs().max(1.0));
            end = base.max(last);
            let (y, height) = (y + 2.0, LINE - 4.0);
            writeln!(
                out,
                "<rect class=\"s{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            )?;
        } else {
            writeln!(
                out,
                "<line class=\"s{class}\" stroke-width=\"2\" x1=\"{first:.1}\" x2=\"{last:.1}\" y1=\"{middle:.1}\" \
                 y2=\"{middle:.1}\"/>"
            )?;
            for place in &places {
                writeln!(out, "<circle class=\"s{class}\" cx=\"{place:.1}\" cy=\"{middle:.1}\" r=\"3\"/>")?;
            }
        }
        let shown: Vec<String> = self.values.iter().map(|value| number(*value)).collect();
        writeln!(
            out,
            "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            end + 6.0,
            middle + 4.0,
            shown.join(" · ")
        )?;
        Ok(())
    }
}

/// Powers of two from left to right.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let value = if value > 0.0 { value.log2() } else { self.low };
        // What is written behind the last mark needs room, too.
        LEFT + (value - self.low) / (self.high - self.low) * (RIGHT - LEFT - 60.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = ((self.high - self.low) / 12.0).ceil().max(1.0);
        let count = ((self.high - self.low) / step).floor() as i32;
        (0..=count).map(|nth| 2f64.powf(self.low + step * f64::from(nth))).collect()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::results::tests::example;

    /// The numbers of an attribute, in the order they stand in.
    fn numbers(svg: &str, element: &str, attribute: &str) -> Vec<f64> {
        let elements = svg.split('<').filter(|part| part.starts_with(element));
        let of = |part: &str| part.split_once(&format!(" {attribute}=\""))?.1.split_once('"')?.0.parse().ok();
        elements.filter_map(of).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_ratios() {
        let mut results = Results::default();
        results.replace(example(Scenario::Produce));
        let picture = svg(&results).unwrap();
        // Of each row: 3, 4 and 30 times Kafka's; a bar begins at 1. Legends have bars of ten.
        let widths = numbers(&picture, "rect class", "width");
        let bars: Vec<f64> = widths.into_iter().filter(|width| *width != 10.0).collect();
        assert_eq!(bars.len(), 12, "two charts of two rows of three");
        let doubling = bars[1] / 2.0;
        assert!((bars[0] - doubling * 3f64.log2()).abs() < 0.2 && (bars[2] - doubling * 30f64.log2()).abs() < 0.2);
    }

    #[test]
    fn marks_stay_inside_and_names_are_text() {
        let mut results = Results::default();
        let mut run = example(Scenario::Latency);
        run.samples.iter_mut().for_each(|sample| sample.case = "a < b & c".to_owned());
        results.replace(run);
        results.replace(example(Scenario::Produce));
        let picture = svg(&results).unwrap();
        assert!(picture.contains(">a &lt; b &amp; c</text>") && picture.contains("prefers-color-scheme:dark"));
        let height = numbers(&picture, "svg", "height")[0];
        assert!(numbers(&picture, "circle", "cx").iter().all(|x| (LEFT..=RIGHT).contains(x)));
        assert!(numbers(&picture, "circle", "cy").iter().all(|y| (0.0..height).contains(y)));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        let picture = svg(&Results::default()).unwrap();
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n") && !picture.contains("<rect"));
    }
}
