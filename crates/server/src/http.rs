//! HTTP for operators: health, metrics, and the admin API.

use crate::counted::Counted;
use crate::http_admin::{self, Admin};
use crate::metrics::Metrics;
use crate::patience::Patient;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
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
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const NAME: &str = "http";
/// How long a request's head may take to arrive, counted from the end of the request before: so it is
/// also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be used. What is asked by then is answered.
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
    admin: Arc<Admin>,
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
    pub(crate) async fn serve(
        self,
        broker: Broker,
        metrics: Metrics,
        about: admin::About,
        stall: Duration,
        mut stop: watch::Receiver<bool>,
    ) {
        let memory = broker.memory().clone();
        let api = admin::Api::new(broker.clone(), about, stop.clone());
        let metrics = metrics.with_protocol(api.counters());
        let admin = Arc::new(Admin { api, counters: self.counters.clone() });
        let of_admin = Router::new()
            .route("/v1", any(http_admin::handle))
            .route("/v1/", any(http_admin::handle))
            .route("/v1/{*rest}", any(http_admin::handle))
            .with_state(admin.clone());
        let router = Router::new()
            .route("/health/live", get(|| async { "live\n" }))
            .route("/health/ready", get(ready))
            .route("/health/restart-safe", get(restart_safe))
            .route("/metrics", get(show_metrics))
            .with_state(Arc::new(Shared { broker, metrics, admin }))
            .merge(of_admin);
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
            let stream = Patient::new(Counted::new(stream, counters.clone()), stall, memory.answers.clone());
            connections.spawn(async move {
                connection(stream, peer, router, stopping, &counters, Limits { lifetime: LIFETIME, stall }).await;
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

/// How long a connection may be used, and how long what is answered then may take to end.
#[derive(Clone, Copy)]
struct Limits {
    lifetime: Duration,
    stall: Duration,
}

async fn connection(
    stream: Patient<Counted>,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
    counters: &Arc<Counters>,
    limits: Limits,
) {
    let _open = counters.open();
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
        () = tokio::time::sleep(limits.lifetime) => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.stall, served).await {
                Ok(ended) => ended,
                Err(_) => {
                    counters.timeouts.fetch_add(1, Relaxed);
                    tracing::info!(listener = NAME, %peer, "closed after its longest time");
                    return;
                }
            }
        }
    };
    match ended {
        Ok(()) => tracing::debug!(listener = NAME, %peer, "closed"),
        Err(error) if error.is_timeout() => {
            counters.timeouts.fetch_add(1, Relaxed);
            tracing::debug!(listener = NAME, %peer, "closed: no request for too long");
        }
        Err(error) if timed_out(&error) => {
            counters.timeouts.fetch_add(1, Relaxed);
            counters.slow_readers.fetch_add(1, Relaxed);
            tracing::info!(listener = NAME, %peer, "closed: it does not take its answer");
        }
        Err(error) if error.is_parse() => {
            counters.violations.fetch_add(1, Relaxed);
            tracing::info!(listener = NAME, %peer, reason = %error, "closed for a protocol violation");
        }
        Err(error) => tracing::debug!(listener = NAME, %peer, %error, "closed"),
    }
}

/// Whether the stream below gave up.
fn timed_out(error: &hyper::Error) -> bool {
    let below = std::error::Error::source(error).and_then(|below| below.downcast_ref::<io::Error>());
    below.is_some_and(|below| below.kind() == io::ErrorKind::TimedOut)
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

/// Whether nobody would notice if the node were stopped now.
async fn restart_safe(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let hindrances = shared.broker.restart_hindrances().await;
    if hindrances.is_empty() {
        (StatusCode::OK, "safe\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, hindrances.join("\n") + "\n")
    }
}

async fn show_metrics(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    if let Some(refused) = shared.admin.refusal(&request) {
        return refused;
    }
    let (status, kind, text) = match shared.metrics.text().await {
        Ok(text) => (StatusCode::OK, OPENMETRICS, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    };
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// What a client hears whose request takes `work`, on a connection of so long a life; and what is counted.
    async fn heard(work: Duration, limits: Limits) -> (String, Arc<Counters>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let answer = move || async move {
            tokio::time::sleep(work).await;
            "done"
        };
        let counters = Arc::<Counters>::default();
        let pool = broker::Memory::new(1 << 20).answers;
        let stream = Patient::new(Counted::new(stream, counters.clone()), limits.stall, pool);
        let (_stop, stopping) = watch::channel(false);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        connection(stream, peer, Router::new().route("/", get(answer)), stopping, &counters, limits).await;
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        (heard, counters)
    }

    #[tokio::test]
    async fn a_life_ends_behind_the_answer_that_is_being_made() {
        let limits = Limits { lifetime: Duration::from_millis(50), stall: Duration::from_secs(20) };
        let (heard, counters) = heard(Duration::from_millis(200), limits).await;
        assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("done"), "{heard}");
        assert_eq!(counters.timeouts.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn an_answer_that_takes_for_ever_is_not_waited_for() {
        let limits = Limits { lifetime: Duration::from_millis(50), stall: Duration::from_millis(50) };
        let (heard, counters) = heard(Duration::from_secs(60), limits).await;
        assert_eq!((heard.as_str(), counters.timeouts.load(Relaxed)), ("", 1));
    }
}
