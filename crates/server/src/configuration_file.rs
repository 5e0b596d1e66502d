//! The configuration file: TOML, of which only keys of [`SETTINGS`](crate::setting::SETTINGS) are allowed.

use crate::setting::{Setting, is_table, nearest_key};
use crate::value::{Kind, Value};
use broker::setting::Kind as TopicKind;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Bytes of a file. It is read into memory, and somebody may name the wrong one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file gives.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Settings, their values, and the lines that give them.
    pub(crate) given: Vec<(&'static Setting, Value, usize)>,
    /// What is wrong, a sentence each, each with its place in the file.
    pub(crate) problems: Vec<String>,
}

/// The text of the file at `path`.
///
/// # Errors
/// Why there is none, with the path.
pub(crate) fn load(path: &Path) -> Result<String, String> {
    let name = path.display();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{name}: larger than {}, so it is no configuration", Value::Size(FILE_BYTES_MAX)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let (line, column) = end_of(&String::from_utf8_lossy(valid));
        format!("{name}:{line}:{column}: not UTF-8")
    })
}

impl Contents {
    /// Reads `text`, the file called `name`.
    pub(crate) fn read(name: &str, text: &str) -> Self {
        let mut reader = Reader { name, text, contents: Contents::default() };
        match DeTable::parse(text) {
            Ok(table) => reader.table("", table.get_ref()),
            Err(error) => {
                let start = error.span().map_or(text.len(), |span| span.start);
                // One line, whatever the library says.
                let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
                reader.complain(start, &format!("not valid TOML: {}", what.trim_end_matches(", expected nothing")));
            }
        }
        reader.contents
    }
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    contents: Contents,
}

impl Reader<'_> {
    /// `path` is empty or ends with a dot.
    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        let mut items: Vec<_> = table.iter().collect();
        items.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in items {
            let full = format!("{path}{}", key.get_ref());
            if let Some(setting) = Setting::with_key(&full) {
                self.setting(setting, key.span().start, value);
            } else if !is_table(&full) {
                self.unknown(full, key.span().start, value);
            } else if let DeValue::Table(table) = value.get_ref() {
                self.table(&format!("{full}."), table);
            } else {
                let found = type_of(value.get_ref());
                self.complain(value.span().start, &format!("{full}: found {found}, expected a table of settings"));
            }
        }
    }

    /// What is wrong is the name of a table, or, if that is nearer, what it makes of each name in it:
    /// `log.retention.ms` is what Kafka's brokers are told.
    fn unknown(&mut self, full: String, start: usize, value: &Spanned<DeValue<'_>>) {
        let (nearest, distance) = nearest_key(&full);
        let mut inside = Vec::new();
        leaves(&full, value, &mut inside);
        if inside.iter().any(|(path, _)| nearest_key(path).1 < distance) {
            for (path, start) in inside {
                let (nearest, _) = nearest_key(&path);
                self.complain(start, &format!("unknown key `{path}`, the nearest known one is `{nearest}`"));
            }
        } else {
            self.complain(start, &format!("unknown key `{full}`, the nearest known one is `{nearest}`"));
        }
    }

    fn setting(&mut self, setting: &'static Setting, start: usize, value: &Spanned<DeValue<'_>>) {
        let parsed = match text_of(value.get_ref(), &setting.kind) {
            Some(text) => setting.parse(&text),
            None => Err(setting.refuse(&format!("found {}", type_of(value.get_ref())))),
        };
        let (line, _) = self.place(start);
        // With and without quotes a name with dots is two keys to TOML, and one to us.
        let before = self.contents.given.iter().find(|(given, ..)| given.key == setting.key).map(|(.., line)| *line);
        match parsed {
            Ok(_) if before.is_some() => {
                let before = before.unwrap_or_default();
                self.complain(start, &format!("{}: line {before} has given it already", setting.key));
            }
            Ok(value) => {
                self.contents.given.push((setting, value, line));
            }
            Err(wrong) => self.complain(value.span().start, &format!("{}: {wrong}", setting.key)),
        }
    }

    fn complain(&mut self, start: usize, what: &str) {
        let (line, column) = self.place(start);
        self.contents.problems.push(format!("{}:{line}:{column}: {}", self.name, on_one_line(what)));
    }

    fn place(&self, start: usize) -> (usize, usize) {
        end_of(self.text.get(..start).unwrap_or(self.text))
    }
}

/// The same with control characters escaped: a key in quotes may have any.
fn on_one_line(what: &str) -> String {
    let escaped = |mut text: String, letter: char| {
        match letter.is_control() {
            true => text.extend(letter.escape_default()),
            false => text.push(letter),
        }
        text
    };
    what.chars().fold(String::with_capacity(what.len()), escaped)
}

/// What has a value below `path`, and where its name begins.
fn leaves(path: &str, value: &Spanned<DeValue<'_>>, found: &mut Vec<(String, usize)>) {
    let DeValue::Table(table) = value.get_ref() else { return };
    let mut items: Vec<_> = table.iter().collect();
    items.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in items {
        let path = format!("{path}.{}", key.get_ref());
        if value.get_ref().is_table() {
            leaves(&path, value, found);
        } else {
            found.push((path, key.span().start));
        }
    }
}

/// The line and the column behind the end of `text`, counted from 1.
fn end_of(text: &str) -> (usize, usize) {
    let (before, line) = text.rsplit_once('\n').unwrap_or(("", text));
    let lines = if line.len() == text.len() { 1 } else { before.split('\n').count() + 1 };
    (lines, line.chars().count() + 1)
}

/// How the value would be written in the environment; none if its type is not the setting's.
fn text_of(value: &DeValue<'_>, kind: &Kind) -> Option<String> {
    match (value, kind) {
        (DeValue::Boolean(on), Kind::Switch) => Some(on.to_string()),
        (DeValue::Integer(number), Kind::Count { .. } | Kind::Size { .. }) => Some(decimal(number)),
        (DeValue::String(_), Kind::Switch) => None,
        // Else a number in quotes would be as good as one without.
        (DeValue::String(text), Kind::Count { .. }) if kind.parse(text) != Ok(Value::Auto) => None,
        (value, Kind::OfTopic(topic)) => match (value, topic.kind) {
            (DeValue::Boolean(on), TopicKind::Boolean) => Some(on.to_string()),
            (DeValue::Integer(number), TopicKind::Int { .. } | TopicKind::Long { .. } | TopicKind::Ratio) => {
                Some(decimal(number))
            }
            (DeValue::Float(number), TopicKind::Ratio) => Some(number.to_string()),
            (DeValue::String(text), TopicKind::Word(_) | TopicKind::Words(_) | TopicKind::List) => {
                Some(text.clone().into_owned())
            }
            _ => None,
        },
        (DeValue::String(text), _) => Some(text.clone().into_owned()),
        _ => None,
    }
}

fn decimal(number: &DeInteger<'_>) -> String {
    let known = i128::from_str_radix(number.as_str(), number.radix());
    known.map_or_else(|_| number.to_string(), |number| number.to_string())
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Contents {
        Contents::read("a.toml", text)
    }

    fn given(text: &str) -> Vec<String> {
        let contents = read(text);
        assert_eq!(contents.problems, Vec::<String>::new());
        contents.given.iter().map(|(setting, value, line)| format!("{line}: {}={value}", setting.key)).collect()
    }

    /// The one thing that is wrong.
    fn problem(text: &str) -> String {
        let problems = read(text).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].lines().count(), 1, "{problems:?}");
        problems[0].clone()
    }

    #[test]
    fn settings_are_found_with_their_lines() {
        let text =
            "# ours\ndata-dir = \"d\"\ntopics.partitions = 1_0\n\n[listen]\nkafka = 'off'\n[cache]\nbytes = '1 GiB'";
        let found = ["2: data-dir=d", "3: topics.partitions=10", "6: listen.kafka=off", "8: cache.bytes=1GiB"];
        assert_eq!(given(text), found);
        assert_eq!(given("log = { format = \"json\" }"), ["1: log.format=json"]);
        assert_eq!(given("cache.bytes = 0x4000000\r\nshards = 'auto'\r\n"), ["1: cache.bytes=64MiB", "2: shards=auto"]);
        assert_eq!(given("\u{feff}shards = 2"), ["1: shards=2"]);
        assert_eq!(given(""), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        for (text, said) in [
            ("\nshard = 3", "a.toml:2:1: unknown key `shard`, the nearest known one is `shards`"),
            ("[lisetn]\nkafka = 'off'", "a.toml:1:2: unknown key `lisetn`, the nearest known one is `listen`"),
            ("[log]\n  levle = 'info'", "a.toml:2:3: unknown key `log.levle`, the nearest known one is `log.level`"),
            ("kafka.listen = 'off'", "a.toml:1:1: unknown key `kafka`, the nearest known one is `listen.kafka`"),
            (
                "listen.kafka.x = 1",
                "a.toml:1:8: listen.kafka: found a table, expected ADDRESS:PORT, such as \
                                    127.0.0.1:9092 or [::1]:9092, or off",
            ),
        ] {
            assert_eq!(problem(text), said);
        }
    }

    #[test]
    fn a_name_with_dots_may_be_written_in_every_way() {
        for text in [
            "[topics.defaults]\nretention.ms = 5",
            "[topics.defaults]\n\"retention.ms\" = 5",
            "[topics]\ndefaults.retention.ms = 5",
            "[topics.defaults.retention]\nms = 0x5",
            "\ntopics = { defaults = { retention = { ms = 5 } } }",
        ] {
            assert_eq!(given(text), ["2: topics.defaults.retention.ms=5"], "{text}");
        }
        assert_eq!(
            problem("[topics.defaults]\nretention.ms = 5\n\"retention.ms\" = 6"),
            "a.toml:3:1: topics.defaults.retention.ms: line 2 has given it already"
        );
        let ratio = "[topics.defaults]\nmin.cleanable.dirty.ratio = 0.1\n";
        assert_eq!(given(ratio), ["2: topics.defaults.min.cleanable.dirty.ratio=0.1"]);
    }

    #[test]
    fn what_kafka_calls_a_default_is_known() {
        let problems =
            read("log.retention.ms = 1\n[log.cleanup]\npolicy = 'compact'\n[message]\nmax.bytes = 1").problems;
        assert_eq!(
            problems,
            [
                "a.toml:1:15: unknown key `log.retention.ms`, the nearest known one is `topics.defaults.retention.ms`",
                "a.toml:3:1: unknown key `log.cleanup.policy`, the nearest known one is `topics.defaults.cleanup.policy`",
                "a.toml:5:5: unknown key `message.max.bytes`, the nearest known one is `topics.defaults.max.message.bytes`",
            ]
        );
        assert_eq!(
            problem("[topics.defaults]\nretention.msec = 1"),
            "a.toml:2:11: unknown key `topics.defaults.retention.msec`, the nearest known one is \
             `topics.defaults.retention.ms`"
        );
    }

    #[test]
    fn a_wrong_type_names_key_found_and_expected() {
        for (text, said) in [
            ("shards = '4'", "a.toml:1:10: shards: found text, expected a number from 1 to 64, or auto"),
            (
                "shards = 1.5",
                "a.toml:1:10: shards: found a number with a fraction, expected a number from 1 to 64, or auto",
            ),
            (
                "topics.defaults.retention.ms = '5'",
                "a.toml:1:32: topics.defaults.retention.ms: found text, expected a whole number from -1 to \
                 9223372036854775807",
            ),
            ("shards = [1]", "a.toml:1:10: shards: found a list, expected a number from 1 to 64, or auto"),
            ("topics.auto-create = 'true'", "a.toml:1:22: topics.auto-create: found text, expected true or false"),
            ("data-dir = 2026-01-01", "a.toml:1:12: data-dir: found a date or a time, expected the path of a folder"),
            ("log.format = true", "a.toml:1:14: log.format: found true or false, expected text or json"),
            ("'é' = 1", "a.toml:1:1: unknown key `é`, the nearest known one is `log`"),
            (
                "# é\nlog = { level = 'off', format = 1 }",
                "a.toml:2:33: log.format: found a number, expected text or json",
            ),
            ("\nlisten = 9092", "a.toml:2:10: listen: found a number, expected a table of settings"),
        ] {
            assert_eq!(problem(text), said);
        }
    }

    #[test]
    fn a_wrong_value_is_quoted() {
        for (text, said) in [
            (
                "\ntopics.partitions = -1",
                "a.toml:2:21: topics.partitions: \"-1\" is no such number, expected a number from 1 to 10000",
            ),
            ("shards = 65", "a.toml:1:10: shards: \"65\" is too much, expected a number from 1 to 64, or auto"),
            (
                "cache.bytes = '64MB'",
                "a.toml:1:15: cache.bytes: \"64MB\" is no size, expected bytes such as 67108864, 64MiB or \
                                      1GiB, from 1MiB to 1TiB",
            ),
            (
                "listen.kafka = ''",
                "a.toml:1:16: listen.kafka: \"\" is empty, expected ADDRESS:PORT, such as 127.0.0.1:9092 \
                                   or [::1]:9092, or off",
            ),
        ] {
            assert_eq!(problem(text), said);
        }
    }

    #[test]
    fn what_is_no_toml_is_placed() {
        for (text, place) in [
            ("listen.kafka = ", "a.toml:1:16: "),
            ("a\n", "a.toml:1:2: "),
            ("shards = 1\nshards = 2", "a.toml:2:1: "),
            ("data-dir = \"é\nshards = 1", "a.toml:1:14: "),
            ("[log", "a.toml:1:5: "),
        ] {
            let said = problem(text);
            let what = said.strip_prefix(place).and_then(|said| said.strip_prefix("not valid TOML: "));
            assert!(what.is_some_and(|what| what.len() > 5), "{text:?}: {said}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once_and_the_rest_is_taken() {
        let contents = read("shards = 0\nx = 1\n[log]\nformat = 'json'\nlevel = 1");
        let places: Vec<_> = contents.problems.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
        assert_eq!(places, ["a.toml:1:10:", "a.toml:2:1:", "a.toml:5:9:"]);
        assert_eq!(contents.given.len(), 1);
    }

    #[test]
    fn a_key_that_a_terminal_would_obey_is_shown_in_letters() {
        let said = read("\"\\u001b[2J\\n\" = 1").problems;
        assert!(said.len() == 1 && said[0].contains(r"unknown key `\u{1b}[2J\n`"), "{said:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let load = || load(&path).unwrap_err().strip_prefix(path.to_str().unwrap()).unwrap().to_owned();
        assert_eq!(load(), ": No such file or directory (os error 2)");
        std::fs::write(&path, b"data-dir = 'd'\n# \xff").unwrap();
        assert_eq!(load(), ":2:3: not UTF-8");
        std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert_eq!(load(), ": larger than 1MiB, so it is no configuration");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(load(), ": Is a directory (os error 21)");
    }
}
