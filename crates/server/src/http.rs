//! HTTP for operators: health and metrics.

use crate::counted::Counted;
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use broker::Broker;
use gateway::seats::Refusals;
use gateway::{Counters, Seats, listener};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::limit;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const NAME: &str = "http";
/// How long a request's head may take to arrive, counted from the end of the request before: so it is
/// also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be used. One that never takes its answer is ended by it.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long requests that are being answered may take to end, when we stop.
const GRACE: Duration = Duration::from_secs(1);

/// The bound listener.
pub(crate) struct Server {
    listener: TcpListener,
    counters: Arc<Counters>,
}

struct Shared {
    broker: Broker,
    metrics: Metrics,
}

impl Server {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Server { listener: TcpListener::bind(address).await?, counters: Arc::default() })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves until `stop` turns true, and a moment longer what is being answered then.
    pub(crate) async fn serve(self, broker: Broker, metrics: Metrics, mut stop: watch::Receiver<bool>) {
        let router = Router::new()
            .route("/health/live", get(|| async { "live\n" }))
            .route("/health/ready", get(ready))
            .route("/metrics", get(show_metrics))
            .with_state(Arc::new(Shared { broker, metrics }));
        let seats = Seats::new(limit::HTTP_CONNECTIONS_MAX);
        let mut refusals = Refusals::default();
        let mut connections = JoinSet::new();
        let stopping = stop.clone();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener::accept(&self.listener, NAME, &self.counters) => accepted,
            };
            let Some((stream, peer)) = accepted else { continue };
            let Some(seat) = seats.take() else {
                self.counters.refused.fetch_add(1, Relaxed);
                if let Some(count) = refusals.note(Instant::now()) {
                    let seats = seats.count();
                    tracing::warn!(listener = NAME, %peer, count, seats, "connections refused: all seats are taken");
                }
                continue;
            };
            let (router, stopping, counters) = (router.clone(), stopping.clone(), self.counters.clone());
            connections.spawn(async move {
                connection(stream, peer, router, stopping, &counters).await;
                drop(seat);
            });
        }
        drop(self.listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            connections.shutdown().await;
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
    counters: &Arc<Counters>,
) {
    let _open = counters.open();
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Counted::new(stream, counters.clone())), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let stopping = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopping => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = tokio::time::sleep(LIFETIME) => {
            counters.timeouts.fetch_add(1, Relaxed);
            tracing::info!(listener = NAME, %peer, "closed after its longest time");
            return;
        }
    };
    match ended {
        Ok(()) => tracing::debug!(listener = NAME, %peer, "closed"),
        Err(error) if error.is_timeout() => {
            counters.timeouts.fetch_add(1, Relaxed);
            tracing::debug!(listener = NAME, %peer, "closed: no request for too long");
        }
        Err(error) if error.is_parse() => {
            counters.violations.fetch_add(1, Relaxed);
            tracing::info!(listener = NAME, %peer, reason = %error, "closed for a protocol violation");
        }
        Err(error) => tracing::debug!(listener = NAME, %peer, %error, "closed"),
    }
}

/// Whether every shard has a leader and room to write.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let problems = shared.broker.problems();
    if problems.is_empty() {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n")
    }
}

async fn show_metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shared.metrics.text().await {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, OPENMETRICS)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}
