//! What clients of one node want and another does.

use crate::nodes::{config, start, stop, wait_for_voters};
use broker::BrokerError;
use broker::cluster::errand::{Errand, Outcome};
use bytes::Bytes;
use futures::future::BoxFuture;
use model::NodeId;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_errand_is_done_by_the_node_it_is_sent_to_or_certainly_not() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let second = start(folders[1].path(), config(first.peer_address())).await.unwrap();
    wait_for_voters(&[&first], &[1]).await;
    assert_eq!((first.others(), second.others()), (vec![NodeId(2)], vec![NodeId(1)]));
    let errand = || Errand { method: "GET".into(), target: "/a?b=c".into(), body: Bytes::from_static(b"body") };
    let sent = async || first.send(NodeId(2), errand(), PATIENCE).await;
    assert_eq!(sent().await.unwrap_err(), BrokerError::NotLeader(None), "nobody does anything there yet");
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let answer = move |Errand { method, target, body }| -> Option<BoxFuture<'static, Outcome>> {
        if over.load(Relaxed) {
            return None;
        }
        let body = Bytes::from([method.as_bytes(), target.as_bytes(), &body[..]].join(&b' '));
        Some(Box::pin(async move { Outcome { status: 404, waited: Duration::from_millis(7), body, room: None } }))
    };
    second.do_errands(Arc::new(answer));
    let done = sent().await.unwrap();
    assert_eq!((done.status, done.waited, &done.body[..]), (404, Duration::from_millis(7), &b"GET /a?b=c body"[..]));
    is_over.store(true, Relaxed);
    assert_eq!(sent().await.unwrap_err(), BrokerError::NotLeader(None));
    stop(second, folders[1].path()).await;
    stop(first, folders[0].path()).await;
}
