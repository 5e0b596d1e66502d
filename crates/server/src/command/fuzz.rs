//! The fuzz targets of the command line for a moment, on ordinary Rust. They are in `tests/fuzz`; what they begin
//! with is made here, because of a program nobody outside of it can take a part.

use super::line::Line;
use super::moment::Moment;
use super::position::Position;
use super::template::Template;
use super::{exposition, line, moment, position, template};
use crate::fuzz::seeds;

#[path = "../../tests/fuzz/lines.rs"]
mod lines;
#[path = "../../tests/fuzz/metrics.rs"]
mod metrics;
#[path = "../../tests/fuzz/words.rs"]
mod words;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

const LINES: [&str; 4] = [
    r#"{"key":"k","value":"v"}"#,
    r#"{"topic":"t","partition":3,"offset":9,"timestamp":1796040000000,"timestamp_type":"create","key":null,"value":{"base64":"AAEC"},"headers":[{"name":"h","value":"v"},{"name":"n","value":null}]}"#,
    r#" {"timestamp":"2026-11-30T12:00:00.5+01:00","value":{"json":{"a":[1.50,"\u0000"]}}}"#,
    r#"{"timestamp":-1}"#,
];

const METRICS: [&str; 2] = [
    "# HELP a Something.\n# TYPE a counter\na_total{topic=\"x\",partition=\"0\"} 1\na_total{topic=\"quo\\\"te\\\\ \\n}\"} 4 1700000000\nb 7\n# EOF\n",
    "h_bucket{le=\"+Inf\",shard=\"0\"} 10\nh_bucket{le=\"0.1\",shard=\"0\"} 8 # {trace=\"1\"} 0.05\nh_bucket{le=\"1e-2\"} 4\nh_sum 1.5e3\n",
];

const TIMES: [&str; 6] = ["now", "2026-11-30T12:00:00.123Z", "2026-11-30 12:00", "1h 30m ago", "PT1M ago", "-1ms"];
const POSITIONS: [&str; 4] = ["earliest", "latest", "-10", "18446744073709551615"];
const TEMPLATES: [&str; 3] = [r"{offset}\t{{{key}}}={value}\n", r"plain \\", "{topic}{partition}{timestamp}{headers}"];

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn lines_of_records() {
    assert!(LINES.iter().all(|text| Line::parse(text.as_bytes()).is_ok_and(|line| line.into_new().is_ok())));
    seeds::play(FOLDER, "lines", &bytes(&LINES), lines::run);
}

#[test]
fn metrics_of_every_form() {
    seeds::play(FOLDER, "metrics", &bytes(&METRICS), metrics::run);
}

#[test]
fn words_for_times_places_and_forms() {
    assert!(TIMES.iter().all(|text| Moment::parse(text).is_ok()));
    assert!(POSITIONS.iter().all(|text| Position::parse(text).is_ok()));
    assert!(TEMPLATES.iter().all(|text| Template::parse(text).is_ok()));
    seeds::play(FOLDER, "words", &bytes(&[&TIMES[..], &POSITIONS, &TEMPLATES].concat()), words::run);
}
