//! Places in a partition as people name them.

use super::moment::{self, Moment};

/// Where to begin, or where to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Earliest,
    /// Behind the last record.
    Latest,
    Offset(u64),
    /// So many records before the end.
    Last(u64),
    /// At the first record that is not older.
    Time(Moment),
}

impl Position {
    /// Reads `earliest`, `latest`, an offset, `-N`, or a time.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "earliest" => return Ok(Position::Earliest),
            "latest" => return Ok(Position::Latest),
            _ => {}
        }
        if let Ok(offset) = text.parse() {
            return Ok(Position::Offset(offset));
        }
        if let Some(Ok(count)) = text.strip_prefix('-').map(str::parse) {
            return Ok(Position::Last(count));
        }
        Moment::parse(text).map(Position::Time).map_err(|_| refuse(text))
    }
}

fn refuse(text: &str) -> String {
    format!("{text:?} is neither earliest, latest, an offset, -N for the last N, nor {}", moment::EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_from_the_others() {
        for (text, position) in [
            ("earliest", Position::Earliest),
            ("latest", Position::Latest),
            ("0", Position::Offset(0)),
            ("18446744073709551615", Position::Offset(u64::MAX)),
            ("-10", Position::Last(10)),
            ("10m ago", Position::Time(Moment::Ago(600_000))),
            ("5ms", Position::Time(Moment::At(5))),
            ("1970-01-01", Position::Time(Moment::At(0))),
        ] {
            assert_eq!(Position::parse(text), Ok(position), "{text}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_told_what_could_be() {
        let refused = Position::parse("begining").unwrap_err();
        assert!(refused.starts_with("\"begining\" is neither earliest, latest, an offset, -N"), "{refused}");
        assert!(Position::parse("18446744073709551616").is_err());
        assert!(Position::parse("-").is_err());
    }
}
