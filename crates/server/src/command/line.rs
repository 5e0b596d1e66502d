//! A record as a line of JSON: what `consume --json` prints is what `produce --json` reads.

use admin::shape::{Data, Header, NewRecord, Record, Time, TimestampType};
use admin::words::plain;
use serde::{Deserialize, Serialize};

/// A record on a line. What can be left out is null when it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// Where it was read. Not looked at when it is written.
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    partition: Option<u32>,
    /// Where it was read. Not looked at when it is written.
    #[serde(default)]
    offset: Option<u64>,
    #[serde(default)]
    timestamp: Option<Stamp>,
    /// Whose clock it was. Not looked at when it is written.
    #[serde(default)]
    timestamp_type: Option<TimestampType>,
    #[serde(default)]
    key: Option<Data>,
    #[serde(default)]
    value: Option<Data>,
    #[serde(default)]
    headers: Vec<Header>,
}

/// A record's timestamp: -1 where nobody said when, otherwise as the admin API has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a timestamp is milliseconds since 1970, or a time such as 2026-11-30T12:00:00Z")]
enum Stamp {
    Millis(i64),
    Text(String),
}

impl Line {
    /// As it was read from a partition.
    pub(crate) fn of(topic: &str, partition: u32, record: &Record) -> Self {
        let Record { offset, timestamp, timestamp_type, key, value, headers } = record.clone();
        Line {
            topic: Some(topic.to_owned()),
            partition: Some(partition),
            offset: Some(offset),
            timestamp: Some(Stamp::Millis(timestamp)),
            timestamp_type: Some(timestamp_type),
            key,
            value,
            headers,
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        // serde would take the fields in their order for an object, too.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err("expected a JSON object such as {\"key\": \"k\", \"value\": \"v\"}".into());
        }
        // serde says where in its text it is; ours has one line, and the number of that is ours to say.
        serde_json::from_slice(json)
            .map_err(|error| plain(&error.to_string()).replace(" at line 1 column", " at column"))
    }

    /// As it is to be written.
    ///
    /// # Errors
    /// When the timestamp is none.
    pub(crate) fn into_new(self) -> Result<NewRecord, String> {
        let timestamp = match self.timestamp {
            // Nobody said when it was, so it was when it is written.
            None | Some(Stamp::Millis(-1)) => None,
            Some(Stamp::Millis(millis)) if millis < 0 => return Err(format!("the timestamp {millis} is before 1970")),
            Some(Stamp::Millis(millis)) => Some(Time(millis)),
            Some(Stamp::Text(text)) => Some(Time::parse(&text)?),
        };
        let Line { partition, key, value, headers, .. } = self;
        Ok(NewRecord { partition, key, value, headers, timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            offset: 7,
            timestamp: 1000,
            timestamp_type: TimestampType::Create,
            key: None,
            value: Some(Data::Base64(vec![0, 255])),
            headers: vec![
                Header { name: "a".into(), value: Some(Data::Text("1".into())) },
                Header { name: "a".into(), value: None },
            ],
        }
    }

    #[test]
    fn what_is_printed_is_what_is_read() {
        let json = serde_json::to_string(&Line::of("t", 3, &record())).unwrap();
        assert_eq!(
            json,
            r#"{"topic":"t","partition":3,"offset":7,"timestamp":1000,"timestamp_type":"create","key":null,"#
                .to_owned()
                + r#""value":{"base64":"AP8="},"headers":[{"name":"a","value":"1"},{"name":"a","value":null}]}"#
        );
        let Record { key, value, headers, .. } = record();
        let new = NewRecord { partition: Some(3), key, value, headers, timestamp: Some(Time(1000)) };
        assert_eq!(Line::parse(json.as_bytes()).unwrap().into_new(), Ok(new));
    }

    #[test]
    fn only_an_object_is_a_record() {
        for line in ["[]", r#"["t",0,0,0,"create","k","v",[]]"#, "", "null", "1"] {
            assert!(Line::parse(line.as_bytes()).unwrap_err().starts_with("expected a JSON object"), "{line}");
        }
        assert!(Line::parse(b" {}").is_ok());
    }

    #[test]
    fn the_least_is_an_empty_record() {
        assert_eq!(Line::parse(b"{}").unwrap().into_new(), Ok(NewRecord::default()));
        let given = Line::parse(br#"{"key":"k","value":{"json":{"n":1}},"timestamp":"1970-01-01T00:00:01Z"}"#);
        let new = given.unwrap().into_new().unwrap();
        assert_eq!(new.timestamp, Some(Time(1000)));
        assert_eq!(new.value.unwrap().into_bytes(), br#"{"n":1}"#);
    }

    #[test]
    fn a_record_without_a_time_gets_that_of_its_writing() {
        let unsaid = Line::of("t", 0, &Record { timestamp: -1, ..record() });
        assert_eq!(unsaid.into_new().unwrap().timestamp, None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (json, part) in [
            ("{\"vaule\":1}", "unknown field `vaule`"),
            ("{\"value\":1}", "expected text"),
            ("{nonsense", "at column"),
            ("{", "it ends in the middle of an object at column"),
            ("{\"partition\":-1}", "found the number -1, expected a whole number from 0 to 4294967295"),
            ("{\"timestamp\":[]}", "a timestamp is milliseconds since 1970, or a time such as"),
            ("nonsense", "expected a JSON object"),
        ] {
            let said = Line::parse(json.as_bytes()).unwrap_err();
            assert!(said.contains(part), "{said}");
            assert!(!said.contains("line 1"), "{said}");
        }
        assert!(Line::parse(br#"{"timestamp":-5}"#).unwrap().into_new().unwrap_err().contains("before 1970"));
        assert!(Line::parse(br#"{"timestamp":"soon"}"#).unwrap().into_new().is_err());
    }
}
