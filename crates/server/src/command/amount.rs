//! Numbers as people read them.

use std::time::Duration;

const BYTE_UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts: `1 record`, `2 records`.
pub(crate) fn of(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `1536` as `1.5 KiB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut scaled = number as f64;
    let mut unit = 0;
    // What would be rounded to 1024 belongs to the next unit.
    while scaled >= 1023.95 && unit + 1 < BYTE_UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{scaled:.1} {}", BYTE_UNITS[unit]) }
}

/// Bytes in a second.
pub(crate) fn byte_rate(rate: f64) -> String {
    format!("{}/s", bytes(rate.max(0.0).round() as u64))
}

/// Things in a second: whole ones, or tenths where there are few.
pub(crate) fn rate(rate: f64) -> String {
    let rate = rate.max(0.0);
    if rate > 0.0 && rate < 9.95 { format!("{rate:.1}/s") } else { format!("{}/s", count(rate.round() as u64)) }
}

/// How long, in its two largest units: `3d 4h`, `1m 20s`, `5.2s`, `12ms`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match span.as_micros() {
        0 => "0s".into(),
        micros @ 1..1_000 => format!("{micros}us"),
        micros @ 1_000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        micros @ 10_000..1_000_000 => format!("{}ms", micros / 1000),
        micros @ 1_000_000..10_000_000 => format!("{:.1}s", (micros / 100_000) as f64 / 10.0),
        _ if days > 0 => format!("{days}d {hours}h"),
        _ if hours > 0 => format!("{hours}h {minutes}m"),
        _ if minutes > 0 => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

/// Part of a whole, in hundredths.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown: Vec<_> = [0, 999, 1000, 12_345, 1_234_567, u64::MAX].map(count).into();
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567", "18,446,744,073,709,551,615"]);
        assert_eq!(of(1, "record"), "1 record");
        assert_eq!(of(0, "record"), "0 records");
        assert_eq!(of(1000, "topic"), "1,000 topics");
    }

    #[test]
    fn bytes_have_the_unit_that_makes_them_short() {
        let shown: Vec<_> = [0, 1023, 1024, 1536, 1_048_575, 1 << 30, u64::MAX].map(bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"]);
        assert_eq!(byte_rate(2048.4), "2.0 KiB/s");
    }

    #[test]
    fn rates_show_tenths_only_where_there_are_few() {
        let shown: Vec<_> = [0.0, 0.04, 0.5, 9.94, 9.96, 1234.4, -1.0].map(rate).into();
        assert_eq!(shown, ["0/s", "0.0/s", "0.5/s", "9.9/s", "10/s", "1,234/s", "0/s"]);
    }

    #[test]
    fn spans_have_two_units() {
        for (micros, shown) in [
            (0, "0s"),
            (999, "999us"),
            (1_500, "1.5ms"),
            (999_999, "999ms"),
            (1_000_000, "1.0s"),
            (9_990_000, "9.9s"),
            (59_900_000, "59s"),
            (80_000_000, "1m 20s"),
            (3_600_000_000, "1h 0m"),
            (100 * 3_600_000_000, "4d 4h"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), shown);
        }
    }
}
