//! Points in time, as people and programs write them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Milliseconds since 1970. Also read from RFC 3339, `2026-11-30T12:00:00.5+01:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Time(pub i64);

const EXPECTED: &str = "milliseconds since 1970, not negative, or a time like 2026-11-30T12:00:00Z (RFC 3339)";
const DAY: i64 = 86_400_000;

impl Time {
    /// Reads either form.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Time, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let millis = if digits { text.parse().ok() } else { rfc_3339(text) };
        millis.filter(|millis| *millis >= 0).map(Time).ok_or_else(|| format!("{text:?}: expected {EXPECTED}"))
    }
}

/// The next part of `text` up to and without `end`, as a number of exactly `digits` digits.
fn number(text: &mut &str, digits: usize, end: &str) -> Option<i64> {
    let (number, rest) = text.split_at_checked(digits)?;
    *text = rest.strip_prefix(end)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
}

fn rfc_3339(text: &str) -> Option<i64> {
    let mut rest = text;
    let (year, month, day) = (number(&mut rest, 4, "-")?, number(&mut rest, 2, "-")?, number(&mut rest, 2, "")?);
    rest = rest.strip_prefix(['T', 't', ' '])?;
    let (hour, minute, second) = (number(&mut rest, 2, ":")?, number(&mut rest, 2, ":")?, number(&mut rest, 2, "")?);
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|letter: char| !letter.is_ascii_digit())?;
        // Digits beyond milliseconds are cut off.
        millis = format!("{:0<3.3}", fraction.get(..end).filter(|digits| !digits.is_empty())?).parse().ok()?;
        rest = &fraction[end..];
    }
    let ahead = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let mut zone = rest.strip_prefix(['+', '-'])?;
            let (hours, minutes) = (number(&mut zone, 2, ":")?, number(&mut zone, 2, "")?);
            if !zone.is_empty() || hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 60 + minutes)
        }
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_month = *days.get(usize::try_from(month - 1).ok()?)?;
    // A leap second is taken as the one after it.
    if !(1..=in_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let past = year - 1;
    let to_year = past * 365 + past / 4 - past / 100 + past / 400;
    let to_month: i64 = days[..(month - 1) as usize].iter().sum();
    // From the first day of year 1 to 1970 there are so many.
    let day = to_year + to_month + day - 1 - 719_162;
    Some(day * DAY + ((hour * 60 + minute - ahead) * 60 + second) * 1000 + millis)
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_u64<E: Error>(self, millis: u64) -> Result<Time, E> {
                let millis =
                    i64::try_from(millis).map_err(|_| E::custom(format_args!("{millis}: expected {EXPECTED}")));
                millis.map(Time)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Milliseconds since 1970, or a time like 2026-11-30T12:00:00Z (RFC 3339).",
            "oneOf": [
                { "type": "integer", "minimum": 0, "maximum": i64::MAX },
                { "type": "string" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(text: &str) -> Option<i64> {
        Time::parse(text).ok().map(|time| time.0)
    }

    #[test]
    fn numbers_and_rfc_3339() {
        for (text, expected) in [
            ("0", 0),
            ("1700000000123", 1_700_000_000_123),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696_000),
            ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
            ("2023-11-14t23:13:20.1239+01:00", 1_700_000_000_123),
            ("2023-11-14 17:43:20.1-04:30", 1_700_000_000_100),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String, near in "[0-9T:.Z+-]{0,30}", year in 0u32..10_000, month in 0u8..100) {
            let _ = Time::parse(&text);
            let _ = Time::parse(&near);
            let _ = Time::parse(&format!("{year:04}-{month:02}-31T23:59:60+23:59"));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-1",
            "1.5",
            "99999999999999999999",
            "NaN",
            "now",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00+24:00",
            "1969-12-31T23:59:59Z",
            "2023-01-01T00:00:00ZZ",
            "2023-01-01T00:00:00+0100",
            "２023-01-01T00:00:00Z",
            "2023-01-01T00:00:00.1",
        ] {
            assert!(Time::parse(text).unwrap_err().contains("RFC 3339"), "{text}");
        }
        assert!(serde_json::from_str::<Time>("-1").is_err());
        assert!(serde_json::from_str::<Time>("1e3").is_err());
        assert!(serde_json::from_str::<Time>("18446744073709551615").is_err());
        assert_eq!(serde_json::from_str::<Time>("\"1970-01-01T00:00:01Z\"").unwrap(), Time(1000));
    }
}
