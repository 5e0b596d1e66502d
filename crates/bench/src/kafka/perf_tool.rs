//! kafka-producer-perf-test and kafka-consumer-perf-test: how they are asked, and what they answer.

use crate::Outcome;
use crate::apache_kafka::Jars;
use std::net::SocketAddr;
use std::process::Command;

/// What the producer tool says at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Produced {
    pub(crate) records_a_second: f64,
    pub(crate) p50_millis: f64,
    pub(crate) p99_millis: f64,
    pub(crate) p999_millis: f64,
}

/// Produces as fast as the tool can; a tenth of it is warm-up and not in what is returned.
pub(crate) fn produce(jars: &Jars, address: SocketAddr, topic: &str, record: usize, records: u64) -> Outcome<Produced> {
    let mut tool = jars.tool("org.apache.kafka.tools.ProducerPerformance");
    tool.args(["--bootstrap-server", &address.to_string(), "--topic", topic, "--throughput", "-1"]);
    tool.args(["--record-size", &record.to_string(), "--num-records", &records.to_string()]);
    tool.args(["--warmup-records", &(records / 10).to_string(), "--command-property", "acks=all"]);
    let said = run(tool)?;
    produced(&said).ok_or_else(|| format!("what the producer tool said makes no sense: {said}").into())
}

/// Consumes so many records from the beginning: records a second, without the time to join a group.
pub(crate) fn consume(jars: &Jars, address: SocketAddr, topic: &str, records: u64) -> Outcome<f64> {
    let mut tool = jars.tool("org.apache.kafka.tools.ConsumerPerformance");
    tool.args(["--bootstrap-server", &address.to_string(), "--topic", topic, "--hide-header"]);
    tool.args(["--num-records", &records.to_string(), "--timeout", "20000"]);
    let said = run(tool)?;
    match consumed(&said) {
        Some((found, rate)) if found == records => Ok(rate),
        Some((found, _)) => Err(format!("void: {found} of {records} records of the consumer tool").into()),
        None => Err(format!("what the consumer tool said makes no sense: {said}").into()),
    }
}

fn run(mut tool: Command) -> Outcome<String> {
    let output = tool.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The last line with percentiles: that of what came after the warm-up.
fn produced(said: &str) -> Option<Produced> {
    let line = said.lines().rfind(|line| line.contains("99.9th"))?;
    let before = |what: &str| line.split(what).next()?.trim().rsplit([' ', ',']).next()?.parse().ok();
    Some(Produced {
        records_a_second: before(" records/sec")?,
        p50_millis: before(" ms 50th")?,
        p99_millis: before(" ms 99th")?,
        p999_millis: before(" ms 99.9th")?,
    })
}

/// Records and records a second of fetching: the fifth and the last of the fields.
fn consumed(said: &str) -> Option<(u64, f64)> {
    said.lines().rev().find_map(|line| {
        let fields: Vec<&str> = line.split(", ").collect();
        if fields.len() != 10 {
            return None;
        }
        Some((fields[4].parse().ok()?, fields[9].parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_last_line_counts() {
        let said = "98 records sent, 19.5 records/sec (0.02 MB/sec), 8.2 ms avg latency, 314.0 ms max latency.\n\
                    1000 records sent, 1234.5 records/sec (1.21 MB/sec), 8.25 ms avg latency, 314.00 ms max latency, \
                    3 ms 50th, 40 ms 95th, 300 ms 99th, 314 ms 99.9th.\n\
                    900 records sent, 2234.5 records/sec (2.21 MB/sec), 5.25 ms avg latency, 14.00 ms max latency, \
                    2 ms 50th, 4 ms 95th, 11 ms 99th, 14 ms 99.9th.\n";
        let wanted = Produced { records_a_second: 2234.5, p50_millis: 2.0, p99_millis: 11.0, p999_millis: 14.0 };
        assert_eq!(produced(said), Some(wanted));
        assert_eq!(produced("Usage: --topic"), None);
    }

    #[test]
    fn the_consumers_line_is_told_from_its_warnings() {
        let said = "WARNING: Exiting before, consuming\n2026-01-01 10:00:00:001, 2026-01-01 10:00:05:001, 97.6, 19.5, \
                    100000, 20000.0, 3100, 1900, 51.4, 52631.6\n";
        assert_eq!(consumed(said), Some((100_000, 52631.6)));
        assert_eq!(consumed("WARNING: nothing\n"), None);
    }
}
