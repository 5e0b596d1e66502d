//! Apache Kafka under the same load, in the same run: what our figures are ratios to.

use super::broker::{Broker, client_runtime, is_there};
use super::client::Client;
use super::cost::{Cost, median};
use super::journal::Case;
use super::load::Load;
use super::piece::SIZES;
use super::{Mode, Options, disk, report};
use crate::Outcome;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A JVM compiles what it runs often; its figures before that mean nothing.
const WARM_UP: Duration = Duration::from_secs(12);
/// How long Kafka may take to start.
const PATIENCE: Duration = Duration::from_secs(90);
/// Any cluster id will do.
const CLUSTER: &str = "bWFpbnN0ZW0tYmVuY2gtMQ";

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Beside Apache Kafka",
        "The same client, batches, acks and disk, one broker after the other in each turn. Kafka is one node in KRaft \
         mode with a heap of 1 GiB, otherwise as it comes: for memory it never syncs, for fsync it is told to sync \
         every batch (flush.messages=1). It warms up for 12 s. Ratios are ours to Kafka's: of records per second more \
         is better, of CPU less.",
    );
    let Some(classpath) = options.kafka_classpath() else {
        report::note("Skipped: neither --kafka-classpath nor MAINSTEM_KAFKA_CP names Apache Kafka's jars.");
        return Ok(());
    };
    if !is_there(options)? {
        return Ok(());
    }
    report::head(&[
        "piece",
        "mode",
        "writers",
        "ours, records/s",
        "Kafka, records/s",
        "ratio",
        "ours, CPU µs/record",
        "Kafka, CPU µs/record",
        "ratio",
    ]);
    let cases = [(1, Mode::Memory, 64), (2, Mode::Memory, 8), (1, Mode::Fsync, 64), (2, Mode::Fsync, 8)];
    let mut starts = Vec::new();
    for (size, mode, writers) in cases.into_iter().take(if options.quick { 1 } else { cases.len() }) {
        let case = Case { size: SIZES[size], mode, writers };
        let mut pairs = Vec::new();
        for _ in 0..options.repetitions() {
            let folder = disk::fresh(&options.folder, "ours")?;
            let ours = measure(options, &case, Broker::start(options, &folder)?, options.warm_up())?;
            let folder = disk::fresh(&options.folder, "kafka")?;
            let kafka = start(options, &classpath, &folder, mode)?;
            starts.push((kafka.ready_after, kafka.memory()?));
            let warm_up = if options.quick { options.warm_up() } else { WARM_UP };
            pairs.push((ours, measure(options, &case, kafka, warm_up)?));
            fs::remove_dir_all(folder)?;
        }
        let of = |figure: fn(&(Cost, Cost)) -> f64| median(pairs.iter().map(figure));
        report::row(&[
            report::size(case.size.bytes),
            mode.name().into(),
            writers.to_string(),
            report::number(of(|pair| pair.0.records_a_second())),
            report::number(of(|pair| pair.1.records_a_second())),
            report::number(of(|pair| pair.0.records_a_second() / pair.1.records_a_second())),
            report::number(of(|pair| pair.0.cpu_micros())),
            report::number(of(|pair| pair.1.cpu_micros())),
            format!("{:.3}", of(|pair| pair.0.cpu_micros() / pair.1.cpu_micros())),
        ]);
    }
    let (start, memory) = (starts.iter().map(|start| start.0.as_secs_f64()), starts.iter().map(|start| start.1 as f64));
    report::note(&format!(
        "Kafka answered for the first time {:.1} s after its start on an empty folder, with {:.0} MiB of memory.",
        median(start),
        median(memory) / (1 << 20) as f64
    ));
    Ok(())
}

fn measure(options: &Options, case: &Case, broker: Broker, warm_up: Duration) -> Outcome<Cost> {
    let load = Load::start(broker.address, case)?;
    let cost = load.watch(broker.pid(), warm_up, options.window())?;
    load.stop()?;
    broker.kill()?;
    Ok(cost)
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Formats a folder and starts a node over it; returns when it answers.
fn start(options: &Options, classpath: &str, folder: &Path, mode: Mode) -> Outcome<Broker> {
    let folder = folder.canonicalize()?;
    let (port, controller) = (free_port()?, free_port()?);
    let flush = if mode == Mode::Fsync { "log.flush.interval.messages=1\n" } else { "" };
    let properties = folder.join("server.properties");
    fs::write(
        &properties,
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n{flush}",
            folder.join("data").display()
        ),
    )?;
    let java = |program: &str| {
        let mut command = Command::new("java");
        command.args(["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-cp", classpath, program]);
        command.stdin(Stdio::null());
        command
    };
    let log = || File::create(options.folder.join("kafka.log"));
    let mut format = java("kafka.tools.StorageTool");
    format.args(["format", "--cluster-id", CLUSTER, "--config"]).arg(&properties);
    if !format.stdout(log()?).stderr(log()?).status()?.success() {
        let said = fs::read_to_string(options.folder.join("kafka.log"))?;
        return Err(format!("Kafka's folder could not be formatted: {said}").into());
    }
    let begun = Instant::now();
    let child = java("kafka.Kafka").arg(&properties).stdout(log()?).stderr(log()?).spawn()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut broker = Broker::of(child, address, Duration::ZERO);
    let runtime = client_runtime()?;
    loop {
        let answered = runtime.block_on(async { Client::connect(address).await?.metadata().await });
        match answered {
            Ok(brokers) if brokers > 0 => break,
            _ if begun.elapsed() > PATIENCE => return Err("Kafka did not start: see kafka.log".into()),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
    broker.ready_after = begun.elapsed();
    Ok(broker)
}
