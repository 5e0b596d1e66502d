//! How records look when they are printed.

use super::line::Line;
use super::template::{Part, Piece, Template};
use super::{moment, visible};
use admin::shape::{Data, Header, Record};

/// Between the parts of a line.
const TAB: &str = "\t";
/// Stands for what is null where an empty text would say something else.
const NULL: &str = "null";

/// What is printed of each record, and how.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    form: Form,
    /// Follows each record.
    delimiter: String,
    /// What a terminal would obey is replaced.
    safe: bool,
}

#[derive(Clone, Debug)]
enum Form {
    Json,
    Parts(Vec<Piece>),
}

/// The parts that may come before the value, in the order in which they do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) offsets: bool,
    pub(crate) timestamps: bool,
    pub(crate) headers: bool,
    pub(crate) keys: bool,
    /// Between key and value; the other parts have a tab.
    pub(crate) key_separator: String,
}

impl Look {
    /// A line of JSON each.
    pub(crate) fn json() -> Self {
        Look { form: Form::Json, delimiter: "\n".into(), safe: true }
    }

    /// The value, after what else is wanted.
    pub(crate) fn parts(before: &Before, delimiter: String, safe: bool) -> Self {
        let mut pieces = Vec::new();
        let mut add = |parts: &[Piece], separator: &str| {
            pieces.extend_from_slice(parts);
            pieces.push(Piece::Text(separator.to_owned()));
        };
        if before.offsets {
            add(&[Piece::Part(Part::Partition), Piece::Text(":".into()), Piece::Part(Part::Offset)], TAB);
        }
        if before.timestamps {
            add(&[Piece::Part(Part::Timestamp)], TAB);
        }
        if before.headers {
            add(&[Piece::Part(Part::Headers)], TAB);
        }
        if before.keys {
            add(&[Piece::Part(Part::Key)], &before.key_separator);
        }
        pieces.push(Piece::Part(Part::Value));
        Look { form: Form::Parts(pieces), delimiter, safe }
    }

    /// Everything that a record has, for people.
    pub(crate) fn everything(safe: bool) -> Self {
        let before =
            Before { offsets: true, timestamps: true, headers: true, keys: true, key_separator: TAB.to_owned() };
        Look::parts(&before, "\n".into(), safe)
    }

    /// As a template says.
    pub(crate) fn template(template: Template, delimiter: String, safe: bool) -> Self {
        Look { form: Form::Parts(template.0), delimiter, safe }
    }

    /// A record as it is printed.
    pub(crate) fn line(&self, topic: &str, partition: u32, record: &Record) -> Vec<u8> {
        let mut line = match &self.form {
            Form::Json => {
                let line = Line::of(topic, partition, record);
                // What was read from JSON can be written as JSON.
                visible::json(serde_json::to_string(&line).unwrap_or_default()).into_bytes()
            }
            Form::Parts(pieces) => {
                pieces.iter().flat_map(|piece| self.piece(piece, topic, partition, record)).collect()
            }
        };
        line.extend_from_slice(self.delimiter.as_bytes());
        line
    }

    fn piece(&self, piece: &Piece, topic: &str, partition: u32, record: &Record) -> Vec<u8> {
        match piece {
            Piece::Text(text) => text.clone().into_bytes(),
            Piece::Part(Part::Topic) => topic.to_owned().into_bytes(),
            Piece::Part(Part::Partition) => partition.to_string().into_bytes(),
            Piece::Part(Part::Offset) => record.offset.to_string().into_bytes(),
            Piece::Part(Part::Timestamp) => moment::show(record.timestamp).into_bytes(),
            Piece::Part(Part::Millis) => record.timestamp.to_string().into_bytes(),
            Piece::Part(Part::Key) => self.data(record.key.as_ref()),
            Piece::Part(Part::Value) => self.data(record.value.as_ref()),
            Piece::Part(Part::Headers) => self.headers(&record.headers),
        }
    }

    /// Bytes as they are, or text that a terminal may be shown. Null is nothing.
    fn data(&self, data: Option<&Data>) -> Vec<u8> {
        let bytes = data.map(Data::as_bytes).unwrap_or_default();
        if self.safe {
            visible::lines(&String::from_utf8_lossy(bytes)).into_owned().into_bytes()
        } else {
            bytes.to_vec()
        }
    }

    /// `a=1,b=2`.
    fn headers(&self, headers: &[Header]) -> Vec<u8> {
        let header = |header: &Header| {
            let value = header.value.as_ref().map_or(NULL.as_bytes().to_vec(), |value| self.data(Some(value)));
            let name = if self.safe { visible::line(&header.name).into_owned() } else { header.name.clone() };
            [name.as_bytes(), b"=", &value].concat()
        };
        headers.iter().map(header).collect::<Vec<_>>().join(&b","[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::TimestampType;

    fn record() -> Record {
        Record {
            offset: 5,
            timestamp: 1000,
            timestamp_type: TimestampType::Create,
            key: Some(Data::Text("k".into())),
            value: Some(Data::Base64(b"a\x1b[2Jb\xff\n".to_vec())),
            headers: vec![
                Header { name: "h".into(), value: Some(Data::Text("1".into())) },
                Header { name: "n".into(), value: None },
            ],
        }
    }

    fn shown(look: &Look) -> Vec<u8> {
        look.line("t", 2, &record())
    }

    #[test]
    fn a_value_is_piped_as_it_is_and_shown_safely() {
        let plain = Before::default();
        assert_eq!(shown(&Look::parts(&plain, "\n".into(), false)), b"a\x1b[2Jb\xff\n\n");
        let safe = shown(&Look::parts(&plain, "\n".into(), true));
        assert_eq!(String::from_utf8(safe).unwrap(), "a␛[2Jb\u{fffd}\n\n");
    }

    #[test]
    fn parts_come_in_one_order() {
        let look = Look::everything(false);
        let look = Look { delimiter: "|".into(), ..look };
        let shown = shown(&look);
        assert!(shown.starts_with(b"2:5\t1970-01-01T00:00:01.000Z\th=1,n=null\tk\ta"));
        assert!(shown.ends_with(b"\n|"));
    }

    #[test]
    fn a_template_is_followed() {
        let template = Template::parse("{topic}/{partition}@{millis} {key}").unwrap();
        assert_eq!(shown(&Look::template(template, String::new(), true)), b"t/2@1000 k");
    }

    #[test]
    fn json_is_a_line_of_its_own() {
        let line = shown(&Look::json());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["value"]["base64"], "YRtbMkpi/wo=");
    }
}
