//! `mainstem consume`: records become lines.

use super::api::{Api, Read};
use super::failure::Failure;
use super::look::{Before, Look};
use super::merge::{Merge, Next};
use super::output::{Output, note};
use super::position::Position;
use super::progress::Progress;
use super::server::{Refusal, ServerFlag};
use super::span::Span;
use super::template::{Template, unescape};
use super::{amount, follow, number};
use admin::shape::{Code, Partition, Records, Topic};
use clap::Args;
use model::limit;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  mainstem consume orders                        # all there is, the values
  mainstem consume orders --from -10 --keys      # the last 10 of each partition, with their keys
  mainstem consume orders --from '10m ago' --to now
  mainstem consume orders --from latest --follow --timestamps
  mainstem consume orders --partition 3 --from 1000 -n 1 --json
  mainstem consume orders --format '{partition}:{offset} {key} = {value}'

A position is earliest, latest, an offset, -N for the last N records of each partition, or a time:
RFC 3339, '10m ago', now, or milliseconds such as 1764460800000ms. --to is the first that is not wanted.
--format knows {topic} {partition} {offset} {timestamp} {millis} {key} {value} {headers}, \\t and \\n.
Without --follow it ends where the topic ended when it began.";
/// Memory for what was read of all partitions and not printed yet.
const BYTES_READ_MAX: usize = 16 * limit::MIB;
/// Before a partition is asked again of which nothing came although there is more.
const PAUSE: Duration = Duration::from_millis(500);
/// The least that is read of a partition at once.
const BYTES_READ_MIN: usize = 64 * limit::KIB;

/// Print the records of a topic
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConsumeOptions {
    #[command(flatten)]
    server: ServerFlag,
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Where to begin [default: earliest]
    #[arg(long, value_name = "POSITION", value_parser = Position::parse, allow_hyphen_values = true)]
    from: Option<Position>,
    /// Where to end, which is the first record that is not wanted [default: where the topic ends now]
    #[arg(long, value_name = "POSITION", value_parser = end, allow_hyphen_values = true,
          conflicts_with = "follow")]
    to: Option<Position>,
    /// Of this partition only. May be given several times
    #[arg(long = "partition", short, value_name = "NUMBER", allow_negative_numbers = true,
          value_parser = number::between(0, u32::MAX))]
    partitions: Vec<u32>,
    /// At most so many records
    #[arg(short = 'n', long = "records", value_name = "COUNT", allow_negative_numbers = true,
          value_parser = number::natural)]
    count: Option<u64>,
    /// Wait for what comes
    #[arg(long, short)]
    follow: bool,
    /// Partition and offset before each value
    #[arg(long)]
    offsets: bool,
    /// The timestamp before each value
    #[arg(long)]
    timestamps: bool,
    /// The headers before each value
    #[arg(long)]
    headers: bool,
    /// The key before each value
    #[arg(long)]
    keys: bool,
    /// What stands between key and value; \t is a tab
    #[arg(long, value_name = "TEXT", value_parser = unescape, default_value = "\\t", requires = "keys")]
    key_separator: String,
    /// What follows each record; \0 is a null byte
    #[arg(long, value_name = "TEXT", value_parser = unescape, default_value = "\\n", conflicts_with = "json")]
    delimiter: String,
    /// A line of JSON for each record, as `produce --json` reads it
    #[arg(long, conflicts_with_all = ["offsets", "timestamps", "headers", "keys"])]
    json: bool,
    /// The form of a record: text with names of its parts in braces
    #[arg(long, value_name = "FORM", value_parser = Template::parse,
          conflicts_with_all = ["json", "offsets", "timestamps", "headers", "keys"])]
    format: Option<Template>,
}

/// Reads a position that is an end.
fn end(text: &str) -> Result<Position, String> {
    match Position::parse(text)? {
        Position::Earliest => Err("nothing is before the earliest".into()),
        position => Ok(position),
    }
}

impl ConsumeOptions {
    fn beginning(&self) -> Position {
        self.from.unwrap_or(Position::Earliest)
    }

    fn look(&self, safe: bool) -> Look {
        if self.json {
            return Look::json();
        }
        let delimiter = self.delimiter.clone();
        match &self.format {
            Some(template) => Look::template(template.clone(), delimiter, safe),
            None => {
                let ConsumeOptions { offsets, timestamps, headers, keys, key_separator, .. } = self;
                let (offsets, timestamps, headers, keys) = (*offsets, *timestamps, *headers, *keys);
                let key_separator = key_separator.clone();
                Look::parts(&Before { offsets, timestamps, headers, keys, key_separator }, delimiter, safe)
            }
        }
    }
}

pub(crate) fn run(options: &ConsumeOptions, output: &mut Output) -> Result<(), Failure> {
    let mut api = Api::new(options.server.server()?);
    let name = &options.topic;
    let topic = api.topic(name).map_err(|refusal| api.failure_of_topic(name, refusal))?;
    api.learn();
    let partitions = chosen(&topic, &options.partitions)?;
    let look = options.look(output.is_terminal());
    let left = options.count.unwrap_or(u64::MAX);
    let mut printer = Printer { topic: name, look, left, output };
    if left == 0 {
        return Ok(());
    }
    if options.follow {
        let places = partitions.iter().map(|partition| (partition.partition, start(options.beginning(), partition)));
        return follow::follow(&api, name, places.collect(), |partition, records| {
            let more = records
                .iter()
                .try_fold(true, |more, record| if more { printer.print(partition, record) } else { Ok(false) })?;
            // Whoever looks sees what came before it is waited again.
            printer.output.flush()?;
            Ok(more)
        });
    }
    let bytes_max = (BYTES_READ_MAX / partitions.len().max(1)).clamp(BYTES_READ_MIN, 4 * limit::MIB);
    let mut reader = Reader { api, topic: name, bytes_max, spans: BTreeMap::new() };
    for partition in partitions {
        reader.open(partition, options.beginning(), options.to)?;
    }
    reader.print_all(&mut printer)
}

/// The partitions that are wanted.
fn chosen<'a>(topic: &'a Topic, numbers: &[u32]) -> Result<Vec<&'a Partition>, Failure> {
    if let Some(missing) = numbers.iter().find(|number| !topic.partitions.iter().any(|one| one.partition == **number)) {
        let has = amount::of(topic.partitions.len() as u64, "partition");
        return Err(Failure::failed(format!("topic {} has no partition {missing}, it has {has}", topic.name)));
    }
    let wanted = |partition: &&Partition| numbers.is_empty() || numbers.contains(&partition.partition);
    Ok(topic.partitions.iter().filter(wanted).collect())
}

/// An offset that a partition does not have means its nearest end: the same one is asked of all partitions.
fn start(from: Position, partition: &Partition) -> Position {
    match (from, partition.start, partition.end) {
        (Position::Offset(offset), Some(start), Some(end)) => Position::Offset(offset.clamp(start, end)),
        _ => from,
    }
}

/// What is done with a record that came.
struct Printer<'a> {
    topic: &'a str,
    look: Look,
    /// How many more are wanted.
    left: u64,
    output: &'a mut Output,
}

impl Printer<'_> {
    /// Prints a record; whether more are wanted.
    fn print(&mut self, partition: u32, record: &admin::shape::Record) -> Result<bool, Failure> {
        self.output.bytes(&self.look.line(self.topic, partition, record))?;
        self.left -= 1;
        Ok(self.left > 0)
    }
}

/// Reads partitions from where they begin to where they end.
struct Reader<'a> {
    api: Api,
    topic: &'a str,
    bytes_max: usize,
    spans: BTreeMap<u32, Span>,
}

impl Reader<'_> {
    /// Finds out where a partition begins and ends.
    fn open(&mut self, partition: &Partition, from: Position, to: Option<Position>) -> Result<(), Failure> {
        let Some((start, end)) = partition.start.zip(partition.end) else {
            let number = partition.partition;
            return Err(Failure::failed(format!("partition {number} of {} has no leader at the moment", self.topic)));
        };
        let first = self.offset(partition.partition, from, start, end)?;
        let last = to.map_or(Ok(end), |to| self.offset(partition.partition, to, start, end))?;
        self.spans.insert(partition.partition, Span::new(first, last));
        Ok(())
    }

    fn offset(&mut self, partition: u32, position: Position, start: u64, end: u64) -> Result<u64, Failure> {
        Ok(match position {
            Position::Earliest => start,
            Position::Latest => end,
            Position::Offset(offset) => offset.clamp(start, end),
            Position::Last(count) => end.saturating_sub(count).max(start),
            Position::Time(_) => {
                let read = Read { from: position, records_max: 1, bytes_max: 1, wait: Duration::ZERO };
                let found = self.read(partition, read)?;
                found.records.first().map_or(found.next_offset, |record| record.offset)
            }
        })
    }

    fn read(&mut self, partition: u32, read: Read) -> Result<Records, Failure> {
        let read = self.api.read_on(self.topic, partition, read);
        read.map_err(|refusal| self.api.failure_of_topic(self.topic, refusal))
    }

    fn print_all(mut self, printer: &mut Printer<'_>) -> Result<(), Failure> {
        // A bar among the records would help nobody.
        let all = self.spans.values().map(Span::left).sum();
        let mut progress = Progress::new(Some(all), !printer.output.is_terminal());
        let mut merge =
            Merge::new(self.spans.iter().filter(|(_, span)| !span.is_done()).map(|(partition, _)| *partition));
        let (mut printed, mut bytes) = (0, 0);
        loop {
            match merge.next() {
                Next::Record(partition, record) => {
                    printed += 1;
                    bytes += record.value.as_ref().map_or(0, |value| value.as_bytes().len() as u64);
                    if !printer.print(partition, &record)? {
                        return Ok(());
                    }
                }
                Next::Read(partition) => {
                    self.read_on(partition, printer.left, &mut merge)?;
                    let left: u64 = self.spans.values().map(Span::left).sum();
                    progress.show(all - left, printed, bytes);
                }
                Next::End => return Ok(()),
            }
        }
    }

    /// Reads what comes next of a partition, if anything does.
    fn read_on(&mut self, partition: u32, wanted: u64, merge: &mut Merge) -> Result<(), Failure> {
        let Some(span) = self.spans.get_mut(&partition) else { return Ok(()) };
        if span.is_done() {
            merge.end(partition);
            return Ok(());
        }
        let read = Read {
            from: Position::Offset(span.next()),
            records_max: span.left().min(wanted).min(limit::ADMIN_PAGE_MAX as u64) as usize,
            bytes_max: self.bytes_max,
            wait: Duration::ZERO,
        };
        match self.api.read_on(self.topic, partition, read) {
            Ok(records) => {
                merge.add(partition, span.take(records)?);
                if span.stands_still() {
                    thread::sleep(PAUSE);
                }
            }
            Err(Refusal::Refused(problem)) if problem.code == Code::OffsetOutOfRange => {
                let first = Read { from: Position::Earliest, records_max: 1, ..read };
                let start = self.read(partition, first)?.start;
                // The map has not changed meanwhile.
                if let Some(gone) = self.spans.get_mut(&partition).and_then(|span| span.skip_to(start)) {
                    note(&format!("{} of partition {partition} were removed meanwhile", amount::of(gone, "record")));
                }
            }
            Err(refusal) => return Err(self.api.failure_of_topic(self.topic, refusal)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: ConsumeOptions,
    }

    fn options(arguments: &[&str]) -> Result<ConsumeOptions, String> {
        let line = Line::try_parse_from([&["consume", "t"], arguments].concat());
        line.map(|line| line.options).map_err(|error| error.to_string())
    }

    fn partition(number: u32) -> Partition {
        Partition {
            partition: number,
            leader: Some(1),
            epoch: 0,
            replicas: vec![1],
            shard: Some(1),
            older_shard: None,
            moving_to: None,
            start: Some(10),
            end: Some(20),
            bytes: None,
        }
    }

    #[test]
    fn positions_may_begin_with_a_dash() {
        assert_eq!(options(&["--from", "-10"]).unwrap().from, Some(Position::Last(10)));
        assert_eq!(options(&["--from=-10"]).unwrap().from, Some(Position::Last(10)));
        assert!(options(&["--to", "earliest"]).unwrap_err().contains("nothing is before the earliest"));
        for arguments in [["-n", "-1"], ["--partition", "-1"], ["-n", "few"], ["-p", "99999999999"]] {
            assert!(options(&arguments).unwrap_err().contains("expected a whole number"), "{arguments:?}");
        }
        assert!(options(&["--from", "sonn"]).unwrap_err().contains("is neither earliest, latest"));
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for arguments in [
            &["--follow", "--to", "5"] as &[&str],
            &["--json", "--keys"],
            &["--json", "--format", "{key}"],
            &["--key-separator", ":"],
            &["--format", "{kye}"],
        ] {
            assert!(options(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_missing_partition_is_named() {
        let topic = Topic {
            name: "t".into(),
            id: String::new(),
            bytes: 0,
            records: 0,
            partitions: vec![partition(0), partition(1)],
            configs: Vec::new(),
        };
        let numbers = |wanted: &[u32]| {
            chosen(&topic, wanted).map(|all| all.iter().map(|partition| partition.partition).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&[]), Ok(vec![0, 1]));
        assert_eq!(numbers(&[1, 1]), Ok(vec![1]));
        assert_eq!(numbers(&[1, 2]), Err(Failure::failed("topic t has no partition 2, it has 2 partitions")));
    }

    #[test]
    fn an_offset_outside_of_a_partition_is_its_nearest_end() {
        for (offset, nearest) in [(5, 10), (15, 15), (25, 20)] {
            assert_eq!(start(Position::Offset(offset), &partition(0)), Position::Offset(nearest));
        }
        assert_eq!(start(Position::Last(3), &partition(0)), Position::Last(3));
    }
}
