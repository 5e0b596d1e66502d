//! Running the broker: bind the listeners, open the data, serve, say so, hand over, stop.

use crate::configuration::Settings;
use crate::setting::SHARDS_MAX;
use crate::value::Endpoint;
use crate::{allocator, cluster_files, descriptors, http, machine_memory, metrics};
use admin::Gate;
use broker::cluster::{Advertised, ClusterConfig};
use broker::group::GroupConfig;
use broker::{Broker, Config};
use gateway::session::{Ends, SessionFactory};
use gateway::{Listener, ProtocolCounters, Seats, Session, Timeouts};
use kafka::{Context, Directory, KafkaSession};
use model::{NodeId, ShardId, limit};
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

const KAFKA: &str = "kafka";
const PEER: &str = "peer";
/// How long the node waits for others before it says so, and again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long work in the background may take to end after all else has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. The time to the start counts from `began`.
///
/// # Errors
/// When the data cannot be opened or an address cannot be bound.
pub(crate) fn run(settings: Settings, began: Instant) -> Result<(), Box<dyn Error>> {
    allocator::share_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(settings, began));
    // What a start that was given up left running ends with the process.
    runtime.shutdown_timeout(GRACE);
    outcome
}

async fn serve(settings: Settings, began: Instant) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    warn_of_strangers(&settings);
    let seats = Seats::new(descriptors::for_connections(descriptors::raise_limit(), settings.connections));
    // Others are told where this node is when it starts. Clients that come before it serves wait for a moment.
    let Listeners { kafka, http } = Listeners::bind(&settings).await?;
    let of_kafka = kafka.as_ref().map(Listener::address).transpose()?;
    let of_http = http.as_ref().map(http::Server::address).transpose()?;
    let endpoints = endpoints(of_kafka, settings.advertise_kafka.as_ref(), of_http);
    let mut config = broker_config(&settings, endpoints);
    config.cluster.secret = cluster_files::secret(&settings)?;
    config.cluster.tls = cluster_files::tls(&settings)?;
    // A start may take long, and may wait for what does not come.
    let broker = tokio::select! {
        started = Broker::start(&settings.data_dir, config) => started?,
        _ = terminate.recv() => return Err("stopped before the start was done".into()),
        _ = interrupt.recv() => return Err("stopped before the start was done".into()),
    };
    let (stop, stopped) = watch::channel(false);
    let timeouts = Timeouts {
        stall: Duration::from_secs(settings.stall_seconds),
        idle: Duration::from_secs(settings.idle_seconds),
    };

    let listening = [(KAFKA, of_kafka), (http::NAME, of_http), (PEER, broker.peer_address())];
    let listening = listening.into_iter().filter_map(|(name, address)| Some((name, address?.to_string())));
    let listening: Vec<(&str, String)> = listening.collect();
    let mut counters = Vec::new();
    counters.extend(kafka.as_ref().map(|kafka| (KAFKA, kafka.counters())));
    counters.extend(http.as_ref().map(|http| (http::NAME, http.counters())));
    let kafka_counters = Arc::new(kafka::session::counters());
    let mut serving = JoinSet::new();
    if let Some(kafka) = kafka {
        let advertised = settings.advertise_kafka.clone();
        let sessions = kafka_sessions(advertised, &broker, timeouts.idle, kafka_counters.clone());
        serving.spawn(kafka.serve(sessions, broker.clone(), seats, timeouts, stopped.clone()));
    }
    if let (Some(http), Some(address)) = (http, of_http) {
        let advertised = settings.advertise_kafka.iter().map(|endpoint| endpoint.host.clone()).collect();
        let gate = Gate { loopback: is_loopback(address), advertised };
        let listeners = listening.iter().map(|(name, address)| ((*name).to_owned(), address.clone())).collect();
        let about = admin::About { version: env!("CARGO_PKG_VERSION"), began, listeners, gate };
        let metrics = metrics::Metrics::new(broker.clone(), counters, vec![kafka_counters]);
        serving.spawn(http.serve(broker.clone(), metrics, about, timeouts.stall, stopped));
    }
    // Without a majority of the others there may be no leaders for long. Who asks for health is told so meanwhile.
    let ready = tokio::select! {
        () = wait_ready(&broker) => true,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if ready {
        say_started(&settings, &broker, began);
        warn_of_shards(&settings, &broker);
        // Whoever started us waits for this line.
        let addresses: String = listening.iter().map(|(name, address)| format!(" {name}={address}")).collect();
        let mut stdout = io::stdout();
        writeln!(stdout, "ready{addresses}")?;
        stdout.flush()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    tracing::info!("stopping");
    // Clients are served while others take over, and told who did. Whoever asks a second time to stop does not
    // want to wait for it.
    tokio::select! {
        () = broker.hand_over() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.send_replace(true);
    while let Some(ended) = serving.join_next().await {
        if let Err(error) = ended {
            tracing::warn!(%error, "a listener did not stop cleanly");
        }
    }
    broker.stop().await;
    Ok(())
}

/// Where clients come.
struct Listeners {
    kafka: Option<Listener>,
    http: Option<http::Server>,
}

impl Listeners {
    /// Binds those that are not off.
    async fn bind(settings: &Settings) -> Result<Self, String> {
        let (mut kafka, mut http) = (None, None);
        if let Some(address) = settings.listen_kafka {
            let bound = Listener::bind(KAFKA, address).await;
            kafka = Some(bound.map_err(|error| cannot_bind(KAFKA, address, &error))?);
        }
        if let Some(address) = settings.listen_http {
            let bound = http::Server::bind(address).await;
            http = Some(bound.map_err(|error| cannot_bind(http::NAME, address, &error))?);
        }
        Ok(Listeners { kafka, http })
    }
}

/// Waits until the node can do what it is asked, and says from time to time what it waits for.
async fn wait_ready(broker: &Broker) {
    let mut ready = std::pin::pin!(broker.wait_ready());
    while tokio::time::timeout(PATIENCE, ready.as_mut()).await.is_err() {
        let problems = broker.problems().join("; ");
        tracing::warn!(%problems, "not ready yet");
    }
}

/// What clients of other nodes are told about this one. Where every address is listened on, there is none to
/// tell.
fn endpoints(kafka: Option<SocketAddr>, advertised: Option<&Endpoint>, http: Option<SocketAddr>) -> Vec<Advertised> {
    let bound = |address: SocketAddr| {
        let told = Endpoint { host: address.ip().to_string(), port: address.port() };
        (!address.ip().is_unspecified()).then_some(told)
    };
    let kafka = kafka.and_then(|address| advertised.cloned().or_else(|| bound(address)));
    let told = [(KAFKA, kafka), (http::NAME, http.and_then(bound))];
    let told = told.into_iter().filter_map(|(name, endpoint)| Some((name, endpoint?)));
    told.map(|(name, Endpoint { host, port })| Advertised { protocol: name.to_owned(), host, port }).collect()
}

/// What the settings mean to the broker. The table of settings keeps numbers in the range of their types.
fn broker_config(settings: &Settings, endpoints: Vec<Advertised>) -> Config {
    let chosen = Config::default();
    Config {
        shards: settings.shards.unwrap_or(u64::from(chosen.shards).min(SHARDS_MAX)) as u32,
        default_partitions: settings.partitions as u32,
        auto_create_topics: settings.auto_create_topics,
        topic_defaults: settings.topic_defaults.clone(),
        cache_bytes: settings.cache_bytes as usize,
        cold_pages_bytes: machine_memory::for_cold_pages(),
        memory_bytes: settings.memory.unwrap_or_else(machine_memory::for_clients),
        catch_up_bytes_per_second: NonZeroU64::new(settings.catch_up_bytes_per_second),
        compaction_interval: Duration::from_secs(settings.compaction_seconds),
        groups: GroupConfig { offsets_retention: settings.offsets_retention_seconds * 1000, ..chosen.groups },
        cluster: ClusterConfig {
            listen: settings.listen_peer,
            advertise: settings.advertise_peer.clone().map(|Endpoint { host, port }| (host, port)),
            join: settings.join.as_ref().map(Endpoint::to_string),
            node: settings.node_id.map(NodeId),
            rack: settings.rack.clone(),
            replication: settings.replication as u32,
            sheds: settings.sheds,
            endpoints,
            secret: None,
            tls: None,
        },
        ..chosen
    }
}

/// What makes a session for each of Kafka's clients.
fn kafka_sessions(
    advertised: Option<Endpoint>,
    broker: &Broker,
    idle: Duration,
    counters: Arc<ProtocolCounters>,
) -> Arc<SessionFactory> {
    let (node, cluster, memory) = (broker.node(), broker.cluster(), broker.memory().clone());
    let places = Seats::new(limit::FETCH_SESSION_PLACES_MAX);
    let directory: Arc<dyn Directory> = Arc::new(broker.clone());
    Arc::new(move |ends: Ends| -> Box<dyn Session> {
        let reached = || Endpoint { host: ends.local.ip().to_string(), port: ends.local.port() };
        let Endpoint { host, port } = advertised.clone().unwrap_or_else(reached);
        let client = ends.peer.ip().to_string();
        let (random, fetch_places, memory, counters) = (rand::random, places.clone(), memory.clone(), counters.clone());
        let directory = directory.clone();
        let context =
            Context { node, cluster, host, port, client, random, idle, fetch_places, memory, counters, directory };
        Box::new(KafkaSession::new(context))
    })
}

fn cannot_bind(listener: &str, address: SocketAddr, error: &io::Error) -> String {
    format!("cannot listen on {listener}={address}: {error}. --listen {listener}=ADDRESS:PORT names another place")
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whoever can reach a listener can do everything.
fn warn_of_strangers(settings: &Settings) {
    let listeners = [(KAFKA, settings.listen_kafka), (http::NAME, settings.listen_http), (PEER, settings.listen_peer)];
    for (listener, address) in listeners {
        if let Some(address) = address.filter(|address| !is_loopback(*address)) {
            tracing::warn!(listener, %address, "other machines may reach this, and there is no authentication yet");
        }
    }
}

fn shards_of(broker: &Broker) -> usize {
    broker.shards().into_iter().filter(|shard| shard.id() != ShardId::CATALOG).count()
}

/// Who sets a number of shards expects it to count.
fn warn_of_shards(settings: &Settings, broker: &Broker) {
    let found = shards_of(broker) as u64;
    // Where there are other nodes, it is not the folder that says so.
    let is_alone = settings.join.is_none() && broker.members().nodes.len() == 1;
    let counts = settings.shards.filter(|_| is_alone);
    if let Some(configured) = counts.filter(|configured| *configured != found) {
        let data = settings.data_dir.display();
        tracing::warn!(configured, found, %data, "the data folder keeps the shards it was made with, whatever is configured");
    }
}

fn say_started(settings: &Settings, broker: &Broker, began: Instant) {
    let folder = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data = %folder.display(),
        cluster = format!("{:032x}", broker.cluster()),
        node = broker.node().0,
        shards = shards_of(broker),
        took_millis = began.elapsed().as_millis() as u64,
        "started"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    #[test]
    fn the_broker_has_its_own_defaults_unless_configured() {
        let (ours, own) = (broker_config(&Configuration::default().settings(), Vec::new()), Config::default());
        assert_eq!(ours.shards, own.shards.min(64));
        assert_eq!(ours.default_partitions, own.default_partitions);
        assert_eq!(ours.auto_create_topics, own.auto_create_topics);
        assert_eq!(ours.cache_bytes, own.cache_bytes);
        // A program listens for others, unless it is told not to.
        let listen = Some(([127, 0, 0, 1], 9190).into());
        assert_eq!(format!("{:?}", ours.cluster), format!("{:?}", ClusterConfig { listen, ..own.cluster }));
    }

    #[test]
    fn the_broker_gets_what_is_configured() {
        let mut settings = Configuration::default().settings();
        settings.shards = Some(7);
        settings.partitions = 12;
        settings.auto_create_topics = false;
        settings.topic_defaults = broker::Settings::stored(&[("retention.ms".into(), "5".into())]);
        settings.cache_bytes = 3 << 20;
        settings.memory = Some(64 << 20);
        settings.listen_peer = Some(([10, 0, 0, 2], 1).into());
        settings.advertise_peer = Some(Endpoint { host: "b".into(), port: 2 });
        settings.join = Some(Endpoint { host: "fd00::1".into(), port: 3 });
        (settings.node_id, settings.rack, settings.replication) = (Some(4), Some("r".into()), 5);
        settings.sheds = false;
        let told = vec![Advertised { protocol: "kafka".into(), host: "c".into(), port: 6 }];
        let config = broker_config(&settings, told.clone());
        assert_eq!((config.shards, config.default_partitions), (7, 12));
        assert!(!config.auto_create_topics);
        assert_eq!(config.topic_defaults.get("retention.ms"), Some("5"));
        assert_eq!((config.cache_bytes, config.memory_bytes), (3 << 20, 64 << 20));
        let cluster = ClusterConfig {
            listen: Some(([10, 0, 0, 2], 1).into()),
            advertise: Some(("b".into(), 2)),
            join: Some("[fd00::1]:3".into()),
            node: Some(NodeId(4)),
            rack: Some("r".into()),
            replication: 5,
            sheds: false,
            endpoints: told,
            secret: None,
            tls: None,
        };
        assert_eq!(format!("{:?}", config.cluster), format!("{cluster:?}"));
    }

    #[test]
    fn others_are_told_what_can_be_connected_to() {
        let (one, other, every) = (([10u8, 0, 0, 1], 1), ([10, 0, 0, 2], 2), ([0, 0, 0, 0], 3));
        let [one, other, every] = [one, other, every].map(|address| Some(SocketAddr::from(address)));
        let named = Endpoint { host: "a".into(), port: 9 };
        let told = |kafka, advertised, http| -> Vec<String> {
            let told = endpoints(kafka, advertised, http).into_iter();
            told.map(|Advertised { protocol, host, port }| format!("{protocol}={host}:{port}")).collect()
        };
        assert_eq!(told(one, None, other), ["kafka=10.0.0.1:1", "http=10.0.0.2:2"]);
        assert_eq!(told(every, Some(&named), every), ["kafka=a:9"]);
        assert_eq!(told(every, None, other), ["http=10.0.0.2:2"]);
        assert_eq!(told(None, Some(&named), None), Vec::<String>::new());
    }
}
