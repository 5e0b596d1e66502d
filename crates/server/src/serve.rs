//! Running the broker: open the data, bind the listeners, say so, serve, stop.

use crate::configuration::Settings;
use crate::setting::SHARDS_MAX;
use crate::value::Endpoint;
use crate::{allocator, descriptors, http, machine_memory, metrics};
use admin::Gate;
use broker::group::GroupConfig;
use broker::{Broker, Config};
use gateway::session::Ends;
use gateway::{Listener, ProtocolCounters, Seats, Session, Timeouts};
use kafka::{Context, KafkaSession};
use model::{ShardId, limit};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

const KAFKA: &str = "kafka";
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
    // A start may take long, and may wait for what does not come.
    let broker = tokio::select! {
        started = Broker::start(&settings.data_dir, broker_config(&settings)) => started?,
        _ = terminate.recv() => return Err("stopped before the start was done".into()),
        _ = interrupt.recv() => return Err("stopped before the start was done".into()),
    };
    let (stop, stopped) = watch::channel(false);
    let timeouts = Timeouts {
        stall: Duration::from_secs(settings.stall_seconds),
        idle: Duration::from_secs(settings.idle_seconds),
    };

    let kafka_counters = Arc::new(kafka::session::counters());
    let kafka = match settings.listen_kafka {
        Some(address) => {
            let advertised = settings.advertise_kafka.clone();
            Some(kafka_listener(address, advertised, &broker, timeouts.idle, kafka_counters.clone()).await?)
        }
        None => None,
    };
    let http = match settings.listen_http {
        Some(address) => {
            Some(http::Server::bind(address).await.map_err(|error| cannot_bind(http::NAME, address, &error))?)
        }
        None => None,
    };
    let mut ready = "ready".to_owned();
    let mut counters = Vec::new();
    let mut listeners = BTreeMap::new();
    if let Some(kafka) = &kafka {
        let address = kafka.address()?.to_string();
        ready += &format!(" {KAFKA}={address}");
        listeners.insert(KAFKA.to_owned(), address);
        counters.push((KAFKA, kafka.counters()));
    }
    if let Some(http) = &http {
        let address = http.address()?.to_string();
        ready += &format!(" {}={address}", http::NAME);
        listeners.insert(http::NAME.to_owned(), address);
        counters.push((http::NAME, http.counters()));
    }
    let mut serving = JoinSet::new();
    if let Some(kafka) = kafka {
        serving.spawn(kafka.serve(broker.clone(), seats, timeouts, stopped.clone()));
    }
    if let Some(http) = http {
        let loopback = is_loopback(http.address()?);
        let advertised = settings.advertise_kafka.iter().map(|endpoint| endpoint.host.clone()).collect();
        let gate = Gate { loopback, advertised };
        let about = admin::About { version: env!("CARGO_PKG_VERSION"), began, listeners, gate };
        let metrics = metrics::Metrics::new(broker.clone(), counters, vec![kafka_counters]);
        serving.spawn(http.serve(broker.clone(), metrics, about, timeouts.stall, stopped));
    }
    say_started(&settings, &broker, began);
    warn_of_shards(&settings, &broker);
    // Whoever started us waits for this line.
    let mut stdout = io::stdout();
    writeln!(stdout, "{ready}")?;
    stdout.flush()?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    while let Some(ended) = serving.join_next().await {
        if let Err(error) = ended {
            tracing::warn!(%error, "a listener did not stop cleanly");
        }
    }
    broker.stop().await;
    Ok(())
}

/// What the settings mean to the broker. The table of settings keeps numbers in the range of their types.
fn broker_config(settings: &Settings) -> Config {
    let chosen = Config::default();
    Config {
        shards: settings.shards.unwrap_or(u64::from(chosen.shards).min(SHARDS_MAX)) as u32,
        default_partitions: settings.partitions as u32,
        auto_create_topics: settings.auto_create_topics,
        topic_defaults: settings.topic_defaults.clone(),
        cache_bytes: settings.cache_bytes as usize,
        cold_pages_bytes: machine_memory::for_cold_pages(),
        memory_bytes: settings.memory.unwrap_or_else(machine_memory::for_clients),
        compaction_interval: Duration::from_secs(settings.compaction_seconds),
        groups: GroupConfig { offsets_retention: settings.offsets_retention_seconds * 1000, ..chosen.groups },
        ..chosen
    }
}

async fn kafka_listener(
    address: SocketAddr,
    advertised: Option<Endpoint>,
    broker: &Broker,
    idle: Duration,
    counters: Arc<ProtocolCounters>,
) -> Result<Listener, String> {
    let (node, cluster, memory) = (broker.node(), broker.cluster(), broker.memory().clone());
    let places = Seats::new(limit::FETCH_SESSION_PLACES_MAX);
    let sessions = move |ends: Ends| -> Box<dyn Session> {
        let reached = || Endpoint { host: ends.local.ip().to_string(), port: ends.local.port() };
        let Endpoint { host, port } = advertised.clone().unwrap_or_else(reached);
        let client = ends.peer.ip().to_string();
        let (random, fetch_places, memory, counters) = (rand::random, places.clone(), memory.clone(), counters.clone());
        let context = Context { node, cluster, host, port, client, random, idle, fetch_places, memory, counters };
        Box::new(KafkaSession::new(context))
    };
    let bound = Listener::bind(KAFKA, address, Arc::new(sessions)).await;
    bound.map_err(|error| cannot_bind(KAFKA, address, &error))
}

fn cannot_bind(listener: &str, address: SocketAddr, error: &io::Error) -> String {
    format!("cannot listen on {listener}={address}: {error}. --listen {listener}=ADDRESS:PORT names another place")
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whoever can reach a listener can do everything.
fn warn_of_strangers(settings: &Settings) {
    for (listener, address) in [(KAFKA, settings.listen_kafka), (http::NAME, settings.listen_http)] {
        if let Some(address) = address.filter(|address| !is_loopback(*address)) {
            tracing::warn!(listener, %address, "other machines may reach this, and there is no authentication yet");
        }
    }
}

fn shards_of(broker: &Broker) -> usize {
    broker.shards().filter(|shard| shard.id() != ShardId::CATALOG).count()
}

/// Who sets a number of shards expects it to count.
fn warn_of_shards(settings: &Settings, broker: &Broker) {
    let found = shards_of(broker) as u64;
    if let Some(configured) = settings.shards.filter(|configured| *configured != found) {
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
        let (ours, own) = (broker_config(&Configuration::default().settings()), Config::default());
        assert_eq!(ours.shards, own.shards.min(64));
        assert_eq!(ours.default_partitions, own.default_partitions);
        assert_eq!(ours.auto_create_topics, own.auto_create_topics);
        assert_eq!(ours.cache_bytes, own.cache_bytes);
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
        let config = broker_config(&settings);
        assert_eq!((config.shards, config.default_partitions), (7, 12));
        assert!(!config.auto_create_topics);
        assert_eq!(config.topic_defaults.get("retention.ms"), Some("5"));
        assert_eq!((config.cache_bytes, config.memory_bytes), (3 << 20, 64 << 20));
    }
}
