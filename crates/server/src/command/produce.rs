//! `mainstem produce`: lines become records.

use super::api::Api;
use super::failure::{Failure, in_words};
use super::line::Line;
use super::lines::{Came, Lines};
use super::moment::Moment;
use super::output::note;
use super::portion::{Portion, spell};
use super::progress::Progress;
use super::server::{Refusal, ServerFlag};
use super::template::unescape;
use super::topic::pair;
use super::{amount, api, number};
use admin::shape::{Code, Compression, Data, Header, NewRecord, Problem, Time, Written};
use clap::{Args, ValueEnum};
use model::limit;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "Examples:
  echo hello | mainstem produce greetings
  mainstem produce orders --file orders.csv --key-separator , --compression zstd
  mainstem consume orders --json | mainstem produce copy --json
  echo '{\"key\":\"k\",\"value\":{\"json\":{\"n\":1}},\"headers\":[{\"name\":\"h\",\"value\":\"v\"}]}' |
    mainstem produce orders --json

With --json each line is an object with any of key, value, headers, partition and timestamp. A key or
value is text, {\"base64\":\"...\"} for other bytes, {\"json\":...} for JSON, or null.";
/// What was read is written when no more comes for so long.
const LINGER: Duration = Duration::from_millis(50);

/// Write lines from standard input or a file as records
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProduceOptions {
    #[command(flatten)]
    server: ServerFlag,
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Read this file instead of standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands between key and value on each line; \t is a tab
    #[arg(long, value_name = "TEXT", value_parser = separator, conflicts_with_all = ["json", "key"])]
    key_separator: Option<String>,
    /// The key of all records
    #[arg(long, short, value_name = "TEXT", conflicts_with = "json")]
    key: Option<String>,
    /// A header of all records. May be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = pair, conflicts_with = "json")]
    headers: Vec<(String, String)>,
    /// The timestamp of all records: RFC 3339, '10m ago' or 1764460800000ms. Without it they are of now
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, allow_hyphen_values = true,
          conflicts_with = "json")]
    timestamp: Option<Moment>,
    /// Into this partition. Without it the key decides, and where there is none the broker
    #[arg(long, short, value_name = "NUMBER", allow_negative_numbers = true,
          value_parser = number::between(0, u32::MAX))]
    partition: Option<u32>,
    /// Each line is a record as JSON, as `consume --json` prints it
    #[arg(long)]
    json: bool,
    /// With --json: the key decides on the partition, whatever the lines say
    #[arg(long, requires = "json", conflicts_with = "partition")]
    ignore_partition: bool,
    /// How records are compressed
    #[arg(long, value_name = "CODEC")]
    compression: Option<Codec>,
    /// Say nothing at the end
    #[arg(long, short)]
    quiet: bool,
}

/// A compression as the command line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        }
    }
}

pub(crate) fn run(options: &ProduceOptions) -> Result<(), Failure> {
    let api = Api::new(options.server.server()?);
    let quiet = options.quiet;
    // Whoever misspelt the topic is told before having typed anything.
    let topic = api.topic(&options.topic).map_err(|refusal| no_topic(&api, &options.topic, refusal))?;
    let partitions = topic.partitions.len() as u32;
    match &options.file {
        None => {
            let stdin = io::stdin();
            let watched = stdin.is_terminal();
            // Unbuffered: how long to wait is asked of the file descriptor itself.
            let input =
                File::from(stdin.as_fd().try_clone_to_owned().map_err(|error| unreadable("standard input", &error))?);
            Production::new(api, options, partitions, Progress::new(None, !quiet && !watched))?.run(input, None)
        }
        Some(path) => {
            let name = path.display().to_string();
            let input = File::open(path).map_err(|error| unreadable(&name, &error))?;
            // What is no regular file has a length of nothing.
            let bytes = input.metadata().ok().map(|metadata| metadata.len()).filter(|bytes| *bytes > 0);
            Production::new(api, options, partitions, Progress::new(bytes, !quiet))?.run(input, bytes)
        }
    }
}

/// There is no such topic: another one was meant, or it has to be made.
fn no_topic(api: &Api, name: &str, refusal: Refusal) -> Failure {
    let missing = matches!(&refusal, Refusal::Refused(problem) if problem.code == Code::UnknownTopic);
    match api.failure_of_topic(name, refusal) {
        Failure::Failed(what) if missing && !what.ends_with('?') => {
            Failure::Failed(format!("{what}. Make it by: mainstem topic create {name}"))
        }
        failure => failure,
    }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read {name}: {}", in_words(error)))
}

/// How lines become records.
#[derive(Debug)]
struct Recipe<'a> {
    options: &'a ProduceOptions,
    timestamp: Option<Time>,
    /// How many the topic has.
    partitions: u32,
}

impl Recipe<'_> {
    fn record(&self, line: Vec<u8>) -> Result<NewRecord, String> {
        let record = self.read(line)?;
        match record.partition {
            Some(partition) if partition >= self.partitions => {
                let has = amount::of(self.partitions.into(), "partition");
                let hint = if self.options.json { "; with --ignore-partition the key decides" } else { "" };
                Err(format!("topic {} has no partition {partition}, it has {has}{hint}", self.options.topic))
            }
            _ => Ok(record),
        }
    }

    fn read(&self, line: Vec<u8>) -> Result<NewRecord, String> {
        let options = self.options;
        if options.json {
            let mut record = Line::parse(&line)?.into_new()?;
            if options.ignore_partition {
                record.partition = None;
            }
            record.partition = options.partition.or(record.partition);
            return Ok(record);
        }
        let (key, value) = match &options.key_separator {
            Some(separator) => {
                let (key, value) = split(&line, separator.as_bytes())
                    .ok_or_else(|| format!("it has no {separator:?} between a key and a value"))?;
                (Some(data(key.to_vec())), data(value.to_vec()))
            }
            None => (options.key.clone().map(Data::Text), data(line)),
        };
        let header = |(name, value): &(String, String)| {
            let (name, value) = (name.clone(), Some(Data::Text(value.clone())));
            Header { name, value }
        };
        let headers = options.headers.iter().map(header).collect();
        Ok(NewRecord { partition: options.partition, key, value: Some(value), headers, timestamp: self.timestamp })
    }
}

/// Reads what stands between key and value.
fn separator(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("nothing separates nothing".into()) } else { unescape(text) }
}

/// What stands before and behind the first separator.
fn split<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

/// Bytes as they take least room in JSON.
fn data(bytes: Vec<u8>) -> Data {
    String::from_utf8(bytes).map_or_else(|error| Data::Base64(error.into_bytes()), Data::Text)
}

/// Lines on their way to the broker.
#[derive(Debug)]
struct Production<'a> {
    api: Api,
    recipe: Recipe<'a>,
    portion: Portion,
    /// The number of the first line of the portion.
    first_line: u64,
    /// Records that the broker has acknowledged.
    written: u64,
    progress: Progress,
}

impl<'a> Production<'a> {
    /// Nothing is older than 1970.
    fn new(api: Api, options: &'a ProduceOptions, partitions: u32, progress: Progress) -> Result<Self, Failure> {
        let millis = options.timestamp.map(|moment| moment.millis(api::now_millis()));
        if millis.is_some_and(|millis| millis < 0) {
            return Err(Failure::usage("--timestamp is before 1970"));
        }
        let timestamp = millis.map(Time);
        let portion = Portion::new(options.compression.map(Compression::from));
        let recipe = Recipe { options, timestamp, partitions };
        Ok(Production { api, recipe, portion, first_line: 1, written: 0, progress })
    }

    fn run(mut self, input: impl Read + AsFd, all_bytes: Option<u64>) -> Result<(), Failure> {
        let began = Instant::now();
        let mut lines = Lines::new(input, limit::ADMIN_RECORDS_BODY_BYTES_MAX);
        let outcome = self.write_all(&mut lines, all_bytes);
        self.progress.clear();
        let topic = &self.recipe.options.topic;
        let written = amount::of(self.written, "record");
        match outcome {
            Ok(()) if self.recipe.options.quiet => Ok(()),
            Ok(()) => {
                let bytes = amount::bytes(lines.bytes());
                note(&format!("wrote {written} ({bytes}) to {topic} in {}", amount::span(began.elapsed())));
                Ok(())
            }
            // Nothing was written, so there is nothing to say about it.
            Err(failure) if self.written == 0 => Err(failure),
            Err(failure) => Err(failure.after(&format!("{written} written to {topic}, then: "))),
        }
    }

    fn write_all<R: Read + AsFd>(&mut self, lines: &mut Lines<R>, all_bytes: Option<u64>) -> Result<(), Failure> {
        let mut number = 0;
        loop {
            // While nothing waits to be written there is no reason to hurry.
            let wait = (!self.portion.is_empty()).then_some(LINGER);
            let came = lines.next(wait);
            let line = match came {
                Ok(Came::Line(line)) => line,
                Ok(Came::Nothing) => {
                    self.write_and_show(lines.bytes(), all_bytes)?;
                    continue;
                }
                Ok(Came::End) => return self.write(),
                Err(why) => return self.give_up(number + 1, &why),
            };
            number += 1;
            let spelled = self.recipe.record(line).and_then(|record| spell(&record));
            let json = match spelled {
                Ok(json) => json,
                Err(why) => return self.give_up(number, &why),
            };
            if self.portion.is_full_for(&json) {
                self.write_and_show(lines.bytes(), all_bytes)?;
            }
            if self.portion.is_empty() {
                self.first_line = number;
            }
            self.portion.add(&json);
        }
    }

    /// Writes the portion, and shows how far that is.
    fn write_and_show(&mut self, read_bytes: u64, all_bytes: Option<u64>) -> Result<(), Failure> {
        self.write()?;
        let done = all_bytes.map_or(self.written, |_| read_bytes);
        self.progress.show(done, self.written, read_bytes);
        Ok(())
    }

    /// A line cannot be written. Those before it are written, as they would have been a moment later.
    fn give_up(&mut self, number: u64, why: &str) -> Result<(), Failure> {
        self.write()?;
        Err(Failure::failed(format!("line {} cannot be written: {why}", amount::count(number))))
    }

    /// Writes the portion.
    fn write(&mut self) -> Result<(), Failure> {
        if self.portion.is_empty() {
            return Ok(());
        }
        let topic = self.recipe.options.topic.clone();
        let (body, count) = self.portion.take();
        match self.api.write(&topic, body) {
            Ok(answer) => {
                let (written, refused) = outcome(&answer, self.first_line);
                self.written += written;
                refused.map_or(Ok(()), |why| Err(Failure::Failed(why)))
            }
            Err(Refusal::Refused(problem)) if is_of_a_record(problem.code) => {
                let lines = lines_of(self.first_line, count);
                Err(Failure::failed(format!("none of {lines} was written: {}", problem.message)))
            }
            Err(refusal) => Err(self.api.failure_of_topic(&topic, refusal)),
        }
    }
}

/// Whether it is about what a line says rather than about the topic or the node.
fn is_of_a_record(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::RecordTooLarge
            | Code::UnknownPartition
            | Code::InvalidBody
    )
}

fn lines_of(first: u64, count: usize) -> String {
    let last = first + count as u64 - 1;
    if first == last {
        format!("line {}", amount::count(first))
    } else {
        format!("lines {} to {}", amount::count(first), amount::count(last))
    }
}

/// How many records were written, and why others were not.
fn outcome(answer: &Written, first_line: u64) -> (u64, Option<String>) {
    let written = answer.records.iter().filter(|record| record.error.is_none()).count() as u64;
    let errors =
        || (first_line..).zip(&answer.records).filter_map(|(line, record)| Some((line, record.error.as_ref()?)));
    let why = errors().next().map(|(line, Problem { message, .. })| {
        let more = match errors().count() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more of its request)"),
        };
        format!("line {}{more} was not written: {message}", amount::count(line))
    });
    (written, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::WrittenRecord;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: ProduceOptions,
    }

    fn options(arguments: &[&str]) -> ProduceOptions {
        Line::try_parse_from([&["produce", "t"], arguments].concat()).unwrap().options
    }

    fn record(arguments: &[&str], line: &[u8]) -> Result<NewRecord, String> {
        let options = options(arguments);
        Recipe { options: &options, timestamp: Some(Time(5)), partitions: 8 }.record(line.to_vec())
    }

    #[test]
    fn a_line_is_a_value() {
        let plain = record(&[], "grüße".as_bytes()).unwrap();
        assert_eq!((plain.key, plain.value), (None, Some(Data::Text("grüße".into()))));
        assert_eq!(plain.timestamp, Some(Time(5)));
        assert_eq!(record(&[], &[0xff]).unwrap().value, Some(Data::Base64(vec![0xff])));
        assert_eq!(record(&[], b"").unwrap().value, Some(Data::Text(String::new())), "an empty value is not null");
    }

    #[test]
    fn a_separator_divides_key_and_value_once() {
        let keyed = record(&["--key-separator", r"\t"], b"k\tv\tw").unwrap();
        assert_eq!((keyed.key, keyed.value), (Some(Data::Text("k".into())), Some(Data::Text("v\tw".into()))));
        let keyed = record(&["--key-separator", "::"], b"::v").unwrap();
        assert_eq!((keyed.key, keyed.value), (Some(Data::Text(String::new())), Some(Data::Text("v".into()))));
        assert_eq!(record(&["--key-separator", ":"], b"v").unwrap_err(), "it has no \":\" between a key and a value");
    }

    #[test]
    fn flags_are_of_all_records() {
        let flags = ["--key", "k", "-H", "a=1", "-H", "a=2", "--partition", "3"];
        let NewRecord { partition, key, headers, .. } = record(&flags, b"v").unwrap();
        assert_eq!((partition, key), (Some(3), Some(Data::Text("k".into()))));
        let shown: Vec<_> = headers.iter().map(|header| (header.name.as_str(), header.value.clone())).collect();
        assert_eq!(shown, [("a", Some(Data::Text("1".into()))), ("a", Some(Data::Text("2".into())))]);
    }

    #[test]
    fn the_partition_of_a_line_of_json_counts_unless_it_shall_not() {
        let line = br#"{"partition":7,"key":"k"}"#;
        assert_eq!(record(&["--json"], line).unwrap().partition, Some(7));
        assert_eq!(record(&["--json", "--partition", "1"], line).unwrap().partition, Some(1));
        assert_eq!(record(&["--json", "--ignore-partition"], line).unwrap().partition, None);
        let missing = record(&["--json"], br#"{"partition":8}"#).unwrap_err();
        assert_eq!(missing, "topic t has no partition 8, it has 8 partitions; with --ignore-partition the key decides");
    }

    #[test]
    fn what_was_refused_is_told_by_its_line() {
        let written = |offset| WrittenRecord { partition: 0, offset: Some(offset), error: None };
        let refused = |message: &str| WrittenRecord {
            partition: 0,
            offset: None,
            error: Some(Problem { code: Code::InvalidRecord, message: message.into() }),
        };
        let answer = |records: Vec<WrittenRecord>| Written { failed: 0, records };
        assert_eq!(outcome(&answer(vec![written(0), written(1)]), 10), (2, None));
        let (count, why) = outcome(&answer(vec![written(0), refused("a"), refused("b")]), 10);
        assert_eq!((count, why.as_deref()), (1, Some("line 11 (and 1 more of its request) was not written: a")));
        assert_eq!(lines_of(1000, 1), "line 1,000");
        assert_eq!(lines_of(1, 3), "lines 1 to 3");
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for arguments in [
            &["--json", "--key", "k"] as &[&str],
            &["--key", "k", "--key-separator", ":"],
            &["--ignore-partition"],
            &["-H", "a"],
            &["--compression", "zip"],
            &["--timestamp", "soon"],
        ] {
            assert!(Line::try_parse_from([&["produce", "t"], arguments].concat()).is_err(), "{arguments:?}");
        }
    }
}
