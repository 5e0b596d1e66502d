//! What a broker says of itself at `/metrics`, as the command line reads it.

use super::exposition::Exposition;

/// Names looked for, for each of which all is looked through.
const NAMES_MAX: usize = 20;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = Exposition::parse(text);
    for name in text.lines().filter_map(|line| line.split(['{', ' ']).next()).take(NAMES_MAX) {
        assert_eq!(read.total(name).is_some(), !read.by(name, ["le"]).is_empty(), "{name}");
        if let Some(histogram) = name.strip_suffix("_bucket").and_then(|name| read.histogram(name)) {
            assert!(histogram.buckets.is_sorted_by(|(one, _), (other, _)| one <= other), "{histogram:?}");
            let _ = histogram.quantile(0.99);
            let _ = histogram.since(&histogram.clone());
        }
    }
}
