//! The screen of `top` as lines of text: what is shown where, and what is left out if there is no room.

use super::view::{Flow, Latency, View};
use crate::command::table::Table;
use crate::command::{amount, visible};
use std::time::Duration;
use unicode_width::UnicodeWidthChar;

/// Stands for what the node does not say.
const UNKNOWN: &str = "-";
/// Between two facts of a line.
const GAP: &str = "   ";
/// Of the rows for tables, topics take at most so many parts of [`PARTS`] when groups need the rest.
const PARTS_OF_TOPICS: usize = 2;
const PARTS: usize = 3;
/// The least that a table takes: the empty line above it, its heading, and how many rows there are.
const TABLE_LINES_LEAST: usize = 3;

/// A line, and whether it is a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) heading: bool,
}

impl Line {
    fn plain(text: String) -> Self {
        Line { text, heading: false }
    }
}

/// What the screen says beside the numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// The node and its version, in words.
    pub(crate) title: String,
    /// What is wrong: with the node, or because it cannot be reached.
    pub(crate) problems: Vec<String>,
    /// What keys do; empty where nobody can press them.
    pub(crate) keys: &'static str,
}

/// At most `rows` lines of at most `columns` columns.
pub(crate) fn lines(about: &About, view: &View, columns: usize, rows: usize) -> Vec<Line> {
    let mut lines = vec![Line { text: about.title.clone(), heading: true }];
    lines.extend([process(view), traffic(view)].map(Line::plain));
    lines.extend(about.problems.iter().map(|problem| Line::plain(format!("! {problem}"))));
    let keys = usize::from(!about.keys.is_empty());
    let free = rows.saturating_sub(lines.len() + keys);
    let (topics, groups) = (topics(view), groups(view));
    let (for_topics, for_groups) = share(free, wants(&topics), wants(&groups));
    for (table, room) in [(topics, for_topics), (groups, for_groups)] {
        lines.extend(cut(&table, room));
    }
    lines.truncate(rows.saturating_sub(keys));
    if keys > 0 {
        lines.resize(rows.saturating_sub(keys), Line::plain(String::new()));
        lines.push(Line::plain(about.keys.to_owned()));
    }
    for line in &mut lines {
        line.text = fit(&visible::line(&line.text), columns);
    }
    lines
}

fn process(view: &View) -> String {
    let open = view.connections.iter().map(|(listener, open)| format!("{open} {listener}"));
    let connections = open.collect::<Vec<_>>().join(", ");
    [
        format!("cpu {}", shown(view.cpu, amount::percent)),
        format!("memory {}", shown(view.memory_bytes, |bytes| amount::bytes(bytes as u64))),
        format!("open files {}", shown(view.open_files, |files| amount::count(files as u64))),
        format!("connections {}", if connections.is_empty() { UNKNOWN } else { &connections }),
    ]
    .join(GAP)
}

fn traffic(view: &View) -> String {
    let Flow { records_in, bytes_in, records_out, bytes_out } = view.all;
    let requests = view.requests_per_second.iter();
    let requests: Vec<_> = requests.map(|(protocol, rate)| format!("{} {protocol}", amount::rate(*rate))).collect();
    let requests = if requests.is_empty() { UNKNOWN.to_owned() } else { requests.join(", ") };
    [
        format!("in {} {}", amount::rate(records_in), amount::byte_rate(bytes_in)),
        format!("out {} {}", amount::rate(records_out), amount::byte_rate(bytes_out)),
        format!("requests {requests} {}", latency(view.request_seconds)),
        format!("fsync {}", latency(view.fsync_seconds)),
    ]
    .join(GAP)
}

fn latency(latency: Option<Latency>) -> String {
    let seconds = |seconds: f64| amount::span(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    latency.map_or(UNKNOWN.into(), |Latency { p50, p99 }| format!("p50 {} p99 {}", seconds(p50), seconds(p99)))
}

fn shown(number: Option<f64>, show: impl Fn(f64) -> String) -> String {
    number.map_or(UNKNOWN.into(), show)
}

fn topics(view: &View) -> Table {
    let mut table = Table::new(&["topic", "#records in", "#bytes in", "#records out", "#bytes out"]);
    for topic in &view.topics {
        let Flow { records_in, bytes_in, records_out, bytes_out } = topic.flow;
        table.row([
            topic.topic.clone(),
            amount::rate(records_in),
            amount::byte_rate(bytes_in),
            amount::rate(records_out),
            amount::byte_rate(bytes_out),
        ]);
    }
    table
}

fn groups(view: &View) -> Table {
    let mut table = Table::new(&["group", "topic", "#lag", "#behind"]);
    for group in &view.groups {
        let behind = |seconds| amount::span(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        table.row([
            group.group.clone(),
            group.topic.clone(),
            amount::count(group.lag_records.max(0.0) as u64),
            shown(group.lag_seconds, behind),
        ]);
    }
    table
}

/// Lines of a table with the empty one above it; none for a table without rows.
fn wants(table: &Table) -> usize {
    if table.is_empty() { 0 } else { table.lines().len() + 1 }
}

/// How `free` lines are shared by what two tables want.
fn share(free: usize, topics: usize, groups: usize) -> (usize, usize) {
    if topics + groups <= free {
        return (topics, groups);
    }
    // Whoever needs less than its part leaves the rest to the other.
    let part = free * PARTS_OF_TOPICS / PARTS;
    let for_groups = groups.min((free - part).max(free.saturating_sub(topics)));
    (topics.min(free - for_groups), for_groups)
}

/// An empty line and as much of the table as there is room for, with how much is missing.
fn cut(table: &Table, room: usize) -> Vec<Line> {
    if table.is_empty() || room < TABLE_LINES_LEAST {
        return Vec::new();
    }
    let mut texts = table.lines();
    let all = texts.len();
    if all + 1 > room {
        // One line says what is missing.
        texts.truncate(room - 2);
        texts.push(format!("and {} more", all - texts.len()));
    }
    let rows = texts.into_iter().enumerate().map(|(nth, text)| Line { text, heading: nth == 0 });
    [Line::plain(String::new())].into_iter().chain(rows).collect()
}

/// As much of `text` as `columns` have room for.
fn fit(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::{Group, Topic};
    use super::*;

    fn view(topics: usize, groups: usize) -> View {
        let topic = |n| Topic {
            topic: format!("topic-{n}"),
            flow: Flow { records_in: 12_345.0, bytes_in: 2048.0, records_out: 0.5, bytes_out: 0.0 },
        };
        let group =
            |n| Group { group: format!("group-{n}"), topic: "t".into(), lag_records: 7.0, lag_seconds: Some(90.0) };
        View {
            cpu: Some(0.254),
            memory_bytes: Some(3.0 * 1024.0 * 1024.0),
            connections: [("kafka".to_owned(), 2.0), ("http".to_owned(), 1.0)].into(),
            fsync_seconds: Some(Latency { p50: 0.001, p99: 0.0155 }),
            requests_per_second: [("kafka".to_owned(), 310.0)].into(),
            all: Flow { records_in: 12_345.0, bytes_in: 2048.0, records_out: 0.5, bytes_out: 0.0 },
            topics: (0..topics).map(topic).collect(),
            groups: (0..groups).map(group).collect(),
            ..View::default()
        }
    }

    fn screen(view: &View, columns: usize, rows: usize) -> Vec<String> {
        let about = About { title: "mainstem".into(), problems: vec!["no room\x1b[2J".into()], keys: "q quits" };
        lines(&about, view, columns, rows).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn everything_is_shown_where_there_is_room() {
        assert_eq!(
            screen(&view(1, 1), 200, 12),
            [
                "mainstem",
                "cpu 25%   memory 3.0 MiB   open files -   connections 1 http, 2 kafka",
                "in 12,345/s 2.0 KiB/s   out 0.5/s 0 B/s   requests 310/s kafka -   fsync p50 1.0ms p99 15ms",
                "! no room␛[2J",
                "",
                "topic    records in   bytes in  records out  bytes out",
                "topic-0    12,345/s  2.0 KiB/s        0.5/s      0 B/s",
                "",
                "group    topic  lag  behind",
                "group-0  t        7  1m 30s",
                "",
                "q quits",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let shown = screen(&view(50, 2), 200, 20);
        assert_eq!(shown.len(), 20);
        assert_eq!(shown.last().unwrap(), "q quits");
        assert!(shown.contains(&"and 42 more".to_owned()), "{shown:#?}");
        assert!(shown.iter().any(|line| line.starts_with("group-1")), "{shown:#?}");
    }

    #[test]
    fn no_size_breaks_it() {
        for (columns, rows) in [(0, 0), (1, 1), (5, 2), (10, 5), (40, 8), (300, 100)] {
            for view in [view(0, 0), view(100, 100), view(3, 100), view(100, 3)] {
                let shown = screen(&view, columns, rows);
                assert!(shown.len() <= rows.max(1), "{columns}x{rows}: {shown:#?}");
                assert!(shown.iter().all(|line| line.chars().count() <= columns));
            }
        }
    }

    #[test]
    fn two_tables_share_what_there_is() {
        assert_eq!(share(30, 10, 10), (10, 10));
        assert_eq!(share(30, 50, 50), (20, 10));
        assert_eq!(share(30, 50, 4), (26, 4));
        assert_eq!(share(30, 5, 50), (5, 25));
        assert_eq!(share(0, 5, 50), (0, 0));
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(fit("世界abc", 5), "世界a");
        assert_eq!(fit("世界", 3), "世");
    }
}
