//! Lanes do not wait for each other.

use crate::node::{PATIENCE, answering, pair, part, within};
use crate::stranger::Stranger;
use bytes::Bytes;
use futures::FutureExt;
use model::NodeId;
use peer::{Lane, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::unconstrained;

#[tokio::test]
async fn control_is_answered_while_the_other_lanes_are_saturated() {
    let gate = Arc::new(Semaphore::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let (gated, counted) = (Arc::clone(&gate), Arc::clone(&done));
    let handler = answering(move |_, lane, request| {
        let (gate, done) = (Arc::clone(&gated), Arc::clone(&counted));
        Box::pin(async move {
            if lane != Lane::Control {
                gate.acquire().await.unwrap().forget();
                done.fetch_add(1, Ordering::SeqCst);
            }
            Ok(vec![request])
        })
    });
    let (one, _two) = pair(handler, Options::default()).await;
    within(async {
        let body = Bytes::from(vec![5; 1 << 20]);
        let mut replies = Vec::new();
        for lane in [Lane::Append, Lane::Bulk] {
            // Until there is no room: the call that does not get any is dropped. Unconstrained, since
            // tokio would have this task make a pause for others, which looks the same.
            while let Some(reply) = unconstrained(one.send(NodeId(2), 0, lane, vec![body.clone()])).now_or_never() {
                replies.push(reply.unwrap());
            }
        }
        assert!(replies.len() > 100);
        for number in 0..100_u8 {
            let answer = one.call(NodeId(2), 0, Lane::Control, part([number]), PATIENCE).await;
            assert_eq!(answer.unwrap()[..], [number]);
        }
        assert_eq!(done.load(Ordering::SeqCst), 0);
        gate.add_permits(replies.len());
        for reply in replies {
            assert_eq!(reply.await.unwrap().len(), 1 << 20);
        }
    })
    .await;
}

/// The other side of bulk does not even read, so the connection's buffers are full.
#[tokio::test]
async fn control_is_answered_while_the_bulk_connection_is_stuck() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (one, _two) = pair(crate::node::echo(), Options::default()).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    within(async {
        let stuck = one.send(NodeId(2), 0, Lane::Bulk, part(vec![1; 30 << 20])).await.unwrap();
        let _bulk = Stranger::accept(&listener).await;
        let call = one.call(NodeId(2), 0, Lane::Control, part("vote"), PATIENCE);
        let other_side = async {
            let mut control = Stranger::accept(&listener).await;
            let request = control.receive().await.unwrap();
            control.send(&crate::stranger::frame(peer::codec::frame::FrameKind::Response, request.id, b"yes")).await;
            control
        };
        let (answer, _control) = futures::future::join(call, other_side).await;
        assert_eq!(answer.unwrap(), "yes");
        assert!(stuck.now_or_never().is_none());
    })
    .await;
}
