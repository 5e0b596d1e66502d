//! Times as people write them, and as records carry them: milliseconds since 1970.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// What may be written for a time, to follow "expected" or "nor".
pub(crate) const EXPECTED: &str = "a time such as 2026-11-30T12:00:00Z, '10m ago', now or 1764460800000ms";
/// What may be written for a span of time.
pub(crate) const SPAN_EXPECTED: &str = "a span of time such as 90s, 10m, '1h 30m', 2d or PT10M";

/// A point in time that somebody named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Milliseconds since 1970.
    At(i64),
    /// Milliseconds before now.
    Ago(i64),
}

impl Moment {
    /// Reads RFC 3339 (without an offset it is UTC), `SPAN ago`, `now`, or milliseconds with their unit.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(Moment::Ago(0));
        }
        if let Some(digits) = text.strip_suffix("ms")
            && let Ok(millis) = digits.parse()
        {
            return Ok(Moment::At(millis));
        }
        if let Some(span) = text.strip_suffix("ago") {
            return parse_span(span.trim()).map(Moment::Ago);
        }
        let at = |time: Timestamp| Moment::At(time.as_millisecond());
        let in_utc = |time: DateTime| TimeZone::UTC.to_timestamp(time);
        let parsed = text.parse::<Timestamp>().or_else(|_| text.parse::<DateTime>().and_then(in_utc));
        parsed.map(at).map_err(|_| format!("{text:?} is not {EXPECTED}"))
    }

    /// Milliseconds since 1970, given those of now.
    pub(crate) fn millis(self, now: i64) -> i64 {
        match self {
            Moment::At(millis) => millis,
            Moment::Ago(millis) => now.saturating_sub(millis),
        }
    }
}

/// Reads a span of time; its milliseconds.
pub(crate) fn parse_span(text: &str) -> Result<i64, String> {
    let wrong = |_| format!("{text:?} is not {SPAN_EXPECTED}");
    let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let millis = span.map_err(wrong)?.as_millis();
    let millis = i64::try_from(millis).map_err(|_| format!("{text:?} is too long"))?;
    if millis < 0 { Err(format!("{text:?} is less than nothing")) } else { Ok(millis) }
}

/// A record's timestamp in UTC. Those that no calendar has are shown as the number they are.
pub(crate) fn show(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| format!("{millis}ms"), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30T12:00:00Z.
    const NOON: i64 = 1_796_040_000_000;

    #[test]
    fn times_are_written_in_many_ways() {
        for (text, millis) in [
            ("2026-11-30T12:00:00Z", NOON),
            ("2026-11-30T12:00:00.123Z", NOON + 123),
            ("2026-11-30T14:00:00+02:00", NOON),
            ("2026-11-30 12:00", NOON),
            ("2026-11-30", NOON - 12 * 3_600_000),
            ("1796040000000ms", NOON),
            ("-1ms", -1),
            ("now", NOON),
            ("10m ago", NOON - 600_000),
            ("1h 30m ago", NOON - 5_400_000),
            ("2 days ago", NOON - 2 * 86_400_000),
            ("PT1M ago", NOON - 60_000),
        ] {
            assert_eq!(Moment::parse(text).map(|moment| moment.millis(NOON)), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_quoted() {
        for text in ["", "yesterday", "12", "2026-13-01", "10m", "-10m ago", "1 month ago", "ago"] {
            let refused = Moment::parse(text).unwrap_err();
            assert!(refused.contains("is not") || refused.contains("less than nothing"), "{refused}");
        }
        assert!(Moment::parse("soon").unwrap_err().starts_with("\"soon\" is not a time such as"));
    }

    #[test]
    fn spans_are_written_for_people_and_for_kafka() {
        for (text, millis) in [("90s", 90_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("PT10M", 600_000)] {
            assert_eq!(parse_span(text), Ok(millis), "{text}");
        }
        assert!(parse_span("-1s").unwrap_err().contains("less than nothing"));
        assert!(parse_span("1y").is_err(), "years are of different lengths");
    }

    #[test]
    fn a_timestamp_is_shown_in_utc() {
        assert_eq!(show(NOON + 7), "2026-11-30T12:00:00.007Z");
        assert_eq!(show(i64::MAX), format!("{}ms", i64::MAX));
        assert_eq!(Moment::parse(&show(NOON)), Ok(Moment::At(NOON)));
        assert_eq!(Moment::parse(&show(i64::MAX)), Ok(Moment::At(i64::MAX)));
    }
}
