//! Apache Kafka: its jars, a node of it in KRaft mode, and its tools.

use crate::Outcome;
use crate::broker::{Broker, client_runtime};
use crate::client::Client;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long Kafka may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked whether it has.
const POLL: Duration = Duration::from_millis(5);
/// Any cluster id will do.
const CLUSTER: &str = "bWFpbnN0ZW0tYmVuY2gtMQ";
/// Where the controllers of a cluster are, for nodes that come later.
const VOTERS: &str = "controllers";
/// The heap that kafka-server-start.sh gives a broker.
pub(crate) const HEAP: [&str; 2] = ["-Xmx1G", "-Xms1G"];
/// What kafka-run-class.sh tells every JVM.
pub(crate) const PERFORMANCE: [&str; 7] = [
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];
/// The heap that the scripts of the two perf tools give them.
const TOOL_HEAP: &str = "-Xmx512M";

/// A class path with Kafka's jars on it.
#[derive(Clone, Debug)]
pub(crate) struct Jars {
    classpath: String,
}

/// A folder that was formatted for a node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    jars: Jars,
    properties: PathBuf,
    address: SocketAddr,
    log: PathBuf,
}

impl Jars {
    /// Those `given`, else those that MAINSTEM_KAFKA_CP names.
    pub(crate) fn find(given: Option<&str>) -> Option<Self> {
        let classpath = given.map(str::to_owned).or_else(|| std::env::var("MAINSTEM_KAFKA_CP").ok())?;
        Some(Jars { classpath })
    }

    /// Kafka's version, by the name of a jar.
    pub(crate) fn version(&self) -> Option<String> {
        let folders = self.classpath.split(':').filter_map(|part| part.strip_suffix("/*"));
        let names = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).find_map(|name| {
            let version = name.strip_prefix("kafka-clients-")?.strip_suffix(".jar")?;
            Some(version.to_owned())
        })
    }

    /// A tool of Kafka's, as its script starts it.
    pub(crate) fn tool(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.arg(TOOL_HEAP).args(PERFORMANCE).args(["-cp", &self.classpath, class]).stdin(Stdio::null());
        command
    }

    fn server(&self, class: &str, properties: &Path, log: &Path) -> Outcome<Command> {
        let mut command = Command::new("java");
        command.args(HEAP).args(PERFORMANCE).args(["-cp", &self.classpath, class]).stdin(Stdio::null());
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdout(log.try_clone()?).stderr(log);
        if class == "kafka.tools.StorageTool" {
            command.args(["format", "--cluster-id", CLUSTER, "--config"]);
        }
        command.arg(properties);
        Ok(command)
    }

    /// Formats a folder for each of so many nodes of one cluster, below `folder`. Each is broker and
    /// controller, and topics have as many replicas of which two have to take a record.
    pub(crate) fn format_cluster(&self, folder: &Path, count: usize) -> Outcome<Vec<Node>> {
        let ports = (0..count).map(|_| free_ports()).collect::<Outcome<Vec<_>>>()?;
        let voters: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(nth, (_, controller))| format!("{}@127.0.0.1:{controller}", nth + 1))
            .collect();
        fs::write(folder.join(VOTERS), voters.join(","))?;
        let nodes = ports.iter().enumerate().map(|(nth, (port, controller))| {
            let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
            self.format_member(folder, nth + 1, "broker,controller", &listeners, *port)
        });
        nodes.collect()
    }

    /// Formats a folder for one more node, a broker, of the cluster below `folder`.
    pub(crate) fn format_broker(&self, folder: &Path, number: usize) -> Outcome<Node> {
        let (port, _) = free_ports()?;
        self.format_member(folder, number, "broker", &format!("PLAINTEXT://127.0.0.1:{port}"), port)
    }

    fn format_member(&self, folder: &Path, number: usize, roles: &str, listeners: &str, port: u16) -> Outcome<Node> {
        let folder = folder.canonicalize()?;
        let voters = fs::read_to_string(folder.join(VOTERS))?;
        let count = voters.split(',').count();
        let own = folder.join(format!("node-{number}"));
        fs::create_dir_all(&own)?;
        let data = own.join("data");
        self.format_with(
            &own,
            port,
            &format!(
                "process.roles={roles}\nnode.id={number}\ncontroller.quorum.voters={voters}\nlisteners={listeners}\n\
                 controller.listener.names=CONTROLLER\nlog.dirs={}\ndefault.replication.factor={count}\n\
                 min.insync.replicas=2\noffsets.topic.replication.factor={count}\n\
                 transaction.state.log.replication.factor={count}\ntransaction.state.log.min.isr=2\n\
                 log.segment.delete.delay.ms=1000\n",
                data.display()
            ),
        )
    }

    /// Formats `folder` for a node with these properties.
    fn format_with(&self, folder: &Path, port: u16, text: &str) -> Outcome<Node> {
        let (properties, log) = (folder.join("server.properties"), folder.join("kafka.log"));
        fs::write(&properties, text)?;
        File::create(&log)?;
        if !self.server("kafka.tools.StorageTool", &properties, &log)?.status()?.success() {
            return Err(format!("Kafka's folder could not be formatted: {}", fs::read_to_string(&log)?).into());
        }
        Ok(Node { jars: self.clone(), properties, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), log })
    }

    /// Formats `folder`, which exists, for a node with `more` lines of properties than those that one
    /// node needs.
    pub(crate) fn format(&self, folder: &Path, more: &str) -> Outcome<Node> {
        let folder = folder.canonicalize()?;
        let (port, controller) = free_ports()?;
        self.format_with(
            &folder,
            port,
            &format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
                 transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n{more}",
                folder.join("data").display()
            ),
        )
    }
}

impl Node {
    /// Starts it and waits for nothing: others of its cluster may have to come first.
    pub(crate) fn launch(&self) -> Outcome<Broker> {
        let child = self.jars.server("kafka.Kafka", &self.properties, &self.log)?.spawn()?;
        Ok(Broker::of(child, self.address, Duration::ZERO))
    }

    /// Starts it; returns when it answers a Metadata request with itself.
    pub(crate) fn start(&self) -> Outcome<Broker> {
        let begun = Instant::now();
        let child = self.jars.server("kafka.Kafka", &self.properties, &self.log)?.spawn()?;
        let mut broker = Broker::of(child, self.address, Duration::ZERO);
        let runtime = client_runtime()?;
        loop {
            let answered = runtime.block_on(async { Client::connect(self.address).await?.metadata().await });
            match answered {
                Ok(brokers) if brokers > 0 => break,
                _ if begun.elapsed() > PATIENCE || broker.has_ended()? => {
                    return Err(format!("Kafka did not start: {}", fs::read_to_string(&self.log)?).into());
                }
                _ => thread::sleep(POLL),
            }
        }
        broker.ready_after = begun.elapsed();
        Ok(broker)
    }
}

/// Two that nobody listens on now.
fn free_ports() -> Outcome<(u16, u16)> {
    let (one, other) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}
