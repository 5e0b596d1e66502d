//! Connections break, and come back when they are wanted.

use crate::node::{CLUSTER, PATIENCE, answering, deaf, echo, node, node_with, pair, part, within};
use crate::stranger::Stranger;
use model::NodeId;
use peer::{Lane, NotSent, Options, PeerError, Peers};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_node_that_restarts_at_its_port_is_found_again() {
    let (one, two) = pair(echo(), Options::default()).await;
    let address = two.address();
    within(async {
        let call = || one.call(NodeId(2), 0, Lane::Append, part("x"), PATIENCE);
        assert_eq!(call().await.unwrap(), "x");
        two.stop().await;
        drop(two);
        let error = call().await.unwrap_err();
        assert!(!error.may_have_happened(), "{error}");
        let two = Peers::start(NodeId(2), CLUSTER, address, echo(), Options::default()).await.unwrap();
        // Calls made while the node is left alone wait, so few are needed.
        let mut failed = 0;
        while let Err(error) = call().await {
            assert!(matches!(error, PeerError::NotSent(_)), "{error}");
            failed += 1;
            assert!(failed < 5);
        }
        assert_eq!(two.counts().accepted, 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_is_unknown_and_what_was_not_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = node_with(1, echo(), Options { requests_in_flight_max: 2, ..Options::default() }).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    within(async {
        // Both are sent; the third has no place until one of them ends.
        let send = || one.send(NodeId(2), 0, Lane::Append, part("x"));
        let (first, second) = (send().await.unwrap(), send().await.unwrap());
        let mut stranger = Stranger::accept(&listener).await;
        stranger.receive().await.unwrap();
        stranger.receive().await.unwrap();
        let third = send();
        drop(stranger);
        assert_eq!(first.await, Err(PeerError::Disconnected));
        assert_eq!(second.await, Err(PeerError::Disconnected));
        // It goes to the next connection.
        let third = third.await.unwrap();
        let mut stranger = Stranger::accept(&listener).await;
        assert_eq!(stranger.receive().await.unwrap().id, 1);
        drop((stranger, listener));
        assert_eq!(third.await, Err(PeerError::Disconnected));
        let error = send().await.unwrap().await.unwrap_err();
        assert_eq!(error, PeerError::NotSent(NotSent::Unreachable(ErrorKind::ConnectionRefused)));
    })
    .await;
}

#[tokio::test]
async fn a_break_fails_the_queue_behind_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = node(1, echo()).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    within(async {
        // More than the connection's buffers hold, so that the last ones cannot have been sent.
        let mut replies = Vec::new();
        for _ in 0..64 {
            replies.push(one.send(NodeId(2), 0, Lane::Bulk, part(vec![1; 1 << 20])).await.unwrap());
        }
        let mut stranger = Stranger::accept(&listener).await;
        stranger.receive().await.unwrap();
        drop(stranger);
        let mut unsent = 0;
        for reply in replies {
            match reply.await {
                Err(PeerError::Disconnected) => assert_eq!(unsent, 0, "sent after one that was not"),
                Err(PeerError::NotSent(NotSent::ConnectionLost)) => unsent += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(unsent > 0);
    })
    .await;
}

#[tokio::test]
async fn a_new_address_is_tried_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hour = Duration::from_secs(3600);
    let one = node_with(1, echo(), Options { backoff_min: hour, backoff_max: hour, ..Options::default() }).await;
    one.set_address(NodeId(2), nobody.local_addr().unwrap());
    drop(nobody);
    let two = node(2, echo()).await;
    within(async {
        let call = || one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE);
        assert!(call().await.is_err());
        let waiting = one.send(NodeId(2), 0, Lane::Bulk, part("y")).await.unwrap();
        one.set_address(NodeId(2), two.address());
        assert_eq!(waiting.await.unwrap(), "y");
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_takes_the_place_of_the_older() {
    struct OnDrop(mpsc::UnboundedSender<&'static str>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    let (happens, mut happened) = mpsc::unbounded_channel();
    let handler = answering(move |_, _, request| {
        let happens = happens.clone();
        Box::pin(async move {
            if request == "hang" {
                happens.send("started").unwrap();
                let _guard = OnDrop(happens);
                std::future::pending().await
            }
            Ok(vec![request])
        })
    });
    let two = node(2, handler).await;
    within(async {
        let hello = crate::stranger::hello(Lane::Append);
        let (mut older, _) = Stranger::dial(two.address(), hello).await;
        older.send(&crate::stranger::request(1, b"hang")).await;
        assert_eq!(happened.recv().await, Some("started"));
        // By the time the newer one is welcome, the work of the older is over.
        let (mut newer, answer) = Stranger::dial(two.address(), hello).await;
        assert_eq!(answer.outcome, Ok(1));
        assert_eq!(happened.try_recv(), Ok("dropped"));
        older.closed().await;
        newer.send(&crate::stranger::request(1, b"after")).await;
        assert_eq!(newer.response().await.1, "after");
    })
    .await;
}

#[tokio::test]
async fn forgetting_a_node_fails_what_is_under_way() {
    let (one, _two) = pair(deaf(), Options::default()).await;
    within(async {
        let reply = one.send(NodeId(2), 0, Lane::Bulk, part("x")).await.unwrap();
        one.forget(NodeId(2));
        assert!(reply.await.is_err());
        let error = one.send(NodeId(2), 0, Lane::Bulk, part("x")).await.err();
        assert_eq!(error, Some(PeerError::UnknownNode(NodeId(2))));
    })
    .await;
}
