//! What the desk is asked, and what the caller hears.

use super::super::{CALLS, Desk, Links};
use super::node::{CLUSTER, Gate, PATIENCE, any_port, within};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all, pending};
use model::{NodeId, ShardId, limit};
use peer::{Options, PeerError, Rejection, RejectionCode};
use shard::{Lane, Shard, Transport, TransportError};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const TWO: NodeId = NodeId(2);

/// A desk without shards that answers calls.
struct Answers<F>(F);

impl<F> Desk for Answers<F>
where
    F: Fn(NodeId, Bytes) -> BoxFuture<'static, Result<Bytes, Rejection>> + Send + Sync + 'static,
{
    fn shard(&self, _shard: ShardId) -> Option<Shard> {
        None
    }

    fn call(&self, from: NodeId, call: Bytes) -> BoxFuture<'static, Result<Bytes, Rejection>> {
        (self.0)(from, call)
    }
}

async fn start(me: NodeId, desk: impl Desk) -> Arc<Links> {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    Links::start(me, CLUSTER, listener, Arc::new(desk), Options::default()).unwrap()
}

/// Node 1, and node 2 that answers calls so.
async fn pair<F>(answer: F) -> (Arc<Links>, Arc<Links>)
where
    F: Fn(NodeId, Bytes) -> BoxFuture<'static, Result<Bytes, Rejection>> + Send + Sync + 'static,
{
    let never = |_: NodeId, _: Bytes| -> BoxFuture<'static, Result<Bytes, Rejection>> { Box::pin(pending()) };
    let one = start(NodeId(1), Answers(never)).await;
    let two = start(TWO, Answers(answer)).await;
    one.set_address(TWO, two.address());
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_shard_that_is_not_here_was_certainly_not_carried_out() {
    let (one, _two) = pair(|_, _| panic!("no call is for the node")).await;
    for lane in [Lane::Control, Lane::Append, Lane::Bulk] {
        for shard in [0, 7, limit::SHARDS_MAX] {
            let shard = ShardId(shard);
            let error = within(one.call(TWO, shard, lane, vec![Bytes::from_static(b"x")])).await.unwrap_err();
            let TransportError::NotSent(why) = error else { panic!("{error}") };
            assert!(why.contains(&format!("shard {shard} is not here")), "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_nobody_has_is_refused_and_the_connection_stays() {
    let (one, _two) = pair(|_, _| panic!("no call is for the node")).await;
    for channel in [limit::SHARDS_MAX + 1, CALLS - 1] {
        let call = one.peers.call(TWO, channel, peer::Lane::Bulk, vec![Bytes::from_static(b"x")], PATIENCE);
        let error = within(call).await.unwrap_err();
        let PeerError::Rejected(Rejection { code, .. }) = &error else { panic!("{error}") };
        assert_eq!(*code, RejectionCode::NoChannel);
    }
    assert_eq!(one.peers.counts().dialled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_s_question_is_answered_or_refused_in_words() {
    let (one, _two) = pair(|from, call| {
        Box::pin(async move {
            match &call[..] {
                b"malformed" => Err(Rejection::new(RejectionCode::Malformed, "what is that")),
                b"failed" => Err(Rejection::new(RejectionCode::Failed, "half-way")),
                _ => Ok(Bytes::from([format!("{from} asks ").as_bytes(), &call[..]].concat())),
            }
        })
    })
    .await;
    within(async {
        let ask = |node, call: &'static str| one.ask(node, Bytes::from_static(call.as_bytes()), PATIENCE);
        assert_eq!(ask(TWO, "who leads").await.unwrap(), "n1 asks who leads");
        let malformed = ask(TWO, "malformed").await.unwrap_err();
        assert!(matches!(&malformed, TransportError::NotSent(why) if why.contains("what is that")), "{malformed}");
        let failed = ask(TWO, "failed").await.unwrap_err();
        assert!(matches!(&failed, TransportError::Lost(why) if why.contains("half-way")), "{failed}");
        let unknown = ask(NodeId(9), "who leads").await.unwrap_err();
        assert!(matches!(unknown, TransportError::NotSent(_)), "{unknown}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_was_sent_and_not_answered_in_time_may_have_been_acted_on() {
    let gate = Gate::new();
    let inside = gate.clone();
    let (one, _two) = pair(move |_, call| {
        let passed = inside.pass(call);
        Box::pin(async move { passed.await.map(|parts| Bytes::from(parts.concat())) })
    })
    .await;
    within(async {
        let mut patience = Duration::from_millis(50);
        // On a slow machine even the connection may take longer than that.
        let error = loop {
            match one.ask(TWO, Bytes::from_static(b"do it"), patience).await.unwrap_err() {
                TransportError::NotSent(_) => patience *= 2,
                error => break error,
            }
        };
        gate.has_seen(1).await;
        assert!(matches!(error, TransportError::Lost(_)), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_beyond_what_a_node_works_on_are_refused_before_any_work() {
    let gate = Gate::new();
    let inside = gate.clone();
    let (one, _two) = pair(move |_, call| {
        let passed = inside.pass(call);
        Box::pin(async move { passed.await.map(|parts| Bytes::from(parts.concat())) })
    })
    .await;
    within(async {
        let asking = || {
            let one = one.clone();
            tokio::spawn(async move { one.ask(TWO, Bytes::from_static(b"q"), PATIENCE).await })
        };
        let asked: Vec<_> = (0..limit::NODE_CALLS_MAX).map(|_| asking()).collect();
        gate.has_seen(limit::NODE_CALLS_MAX).await;
        let error = asking().await.unwrap().unwrap_err();
        assert!(matches!(error, TransportError::NotSent(_)), "{error}");
        assert_eq!(gate.arrived().len(), limit::NODE_CALLS_MAX);
        // Shards are heard all the same, in the same lane.
        let heard = one.call(TWO, ShardId(7), Lane::Control, vec![Bytes::from_static(b"vote")]).await.unwrap_err();
        assert!(matches!(&heard, TransportError::NotSent(why) if why.contains("is not here")), "{heard}");
        gate.open();
        for answer in join_all(asked).await {
            assert_eq!(answer.unwrap().unwrap(), "q");
        }
        assert_eq!(asking().await.unwrap().unwrap(), "q");
    })
    .await;
}
