//! Running the broker: open the data, bind the listeners, say so, serve, stop.

use crate::arguments::{Protocol, ServeOptions};
use crate::{descriptors, http, metrics};
use broker::{Broker, Config};
use gateway::{Listener, Seats};
use kafka::{Context, KafkaSession};
use model::limit;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Logs go to stderr; `RUST_LOG` says how much. In colours only if somebody looks at them as they come.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,openraft=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the data cannot be opened or an address cannot be bound.
pub(crate) fn run(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let seats = Seats::new(descriptors::for_connections(descriptors::raise_limit()));
    let mut config = Config::default();
    if let Some(shards) = options.shards {
        config.shards = shards;
    }
    let broker = Broker::start(&options.data_dir, config).await?;
    let (stop, stopped) = watch::channel(false);

    let kafka = kafka_listener(&options, &broker).await?;
    let http_address = options.address(Protocol::Http);
    let http = http::Server::bind(http_address).await.map_err(|error| format!("http={http_address}: {error}"))?;
    let ready = format!("ready kafka={} http={}", kafka.address()?, http.address()?);
    let listeners = vec![(Protocol::Kafka.name(), kafka.counters()), (Protocol::Http.name(), http.counters())];
    let metrics = metrics::Metrics::new(broker.clone(), listeners);
    let serving = vec![
        tokio::spawn(kafka.serve(broker.clone(), seats, stopped.clone())),
        tokio::spawn(http.serve(broker.clone(), metrics, stopped)),
    ];
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
    for task in serving {
        if let Err(error) = task.await {
            tracing::warn!(%error, "a listener did not stop cleanly");
        }
    }
    broker.stop().await;
    Ok(())
}

async fn kafka_listener(options: &ServeOptions, broker: &Broker) -> Result<Listener, Box<dyn Error>> {
    let (node, cluster, places) = (broker.node(), broker.cluster(), Seats::new(limit::FETCH_SESSION_PLACES_MAX));
    let address = options.address(Protocol::Kafka);
    let listener = Listener::bind(
        Protocol::Kafka.name(),
        address,
        Arc::new(move |ends| {
            let (host, port) = (ends.local.ip().to_string(), ends.local.port());
            let client = ends.peer.ip().to_string();
            let (random, fetch_places) = (rand::random, places.clone());
            Box::new(KafkaSession::new(Context { node, cluster, host, port, client, random, fetch_places }))
        }),
    );
    Ok(listener.await.map_err(|error| format!("kafka={address}: {error}"))?)
}
