//! What people write on the command line: times, spans of time, places in a partition, forms of records.

use super::moment::{self, Moment};
use super::position::Position;
use super::template::{Template, unescape};

const NOW: i64 = 1_796_040_000_000;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(moment) = Moment::parse(text) {
        let millis = moment.millis(NOW);
        assert_eq!(Moment::parse(&moment::show(millis)), Ok(Moment::At(millis)), "what is shown can be given");
    }
    if let Ok(millis) = moment::parse_span(text) {
        assert!(millis >= 0, "a span is not less than nothing");
    }
    if let Ok(Position::Time(moment)) = Position::parse(text) {
        assert_eq!(Moment::parse(text), Ok(moment));
    }
    if !text.contains(['{', '}']) {
        assert_eq!(Template::parse(text).is_ok(), unescape(text).is_ok(), "without parts it is text");
    }
    let _ = Template::parse(text);
}
