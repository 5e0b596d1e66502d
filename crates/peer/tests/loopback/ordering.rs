//! Calls and answers: their order, their bytes, both directions.

use crate::node::{PATIENCE, answering, echo, node, pair, part, within};
use bytes::Bytes;
use futures::future::join_all;
use model::NodeId;
use peer::limit::{CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use peer::{Lane, Options, PeerError, Rejection, RejectionCode};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

#[tokio::test]
async fn requests_start_in_order_and_are_answered_in_any() {
    const CALLS: u32 = 500;
    let (started, mut starts) = mpsc::unbounded_channel();
    // All of the work is in the future, which is the harder case.
    let handler = answering(move |channel, _, request| {
        let started = started.clone();
        Box::pin(async move {
            let (release, released) = oneshot::channel::<()>();
            started.send((channel, request.clone(), release)).unwrap();
            released.await.unwrap();
            Ok(vec![request])
        })
    });
    let (one, _two) = pair(handler, Options::default()).await;
    within(async {
        let mut replies = Vec::new();
        for number in 0..CALLS {
            let request = part(number.to_le_bytes());
            replies.push(one.send(NodeId(2), number % 3, Lane::Append, request).await.unwrap());
        }
        let mut releases = Vec::new();
        for number in 0..CALLS {
            let (channel, request, release) = starts.recv().await.unwrap();
            assert_eq!((channel, &request[..]), (number % 3, &number.to_le_bytes()[..]));
            releases.push(release);
        }
        for (number, reply) in replies.into_iter().enumerate().rev() {
            releases.pop().unwrap().send(()).unwrap();
            assert_eq!(reply.await.unwrap()[..], (number as u32).to_le_bytes());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_call_at_once_in_all_lanes() {
    let (one, two) = pair(echo(), Options::default()).await;
    let calls = |from: &Arc<peer::Peers>, to: u64| {
        let from = Arc::clone(from);
        async move {
            let calls = (0..300_u32).flat_map(|number| Lane::ALL.map(|lane| (number, lane)));
            let answers = join_all(calls.map(|(number, lane)| {
                let request = vec![Bytes::from(vec![lane.tag(); number as usize * 7]), Bytes::from(vec![1])];
                let expected = request.concat();
                let call = from.call(NodeId(to), number, lane, request, PATIENCE);
                async move { assert_eq!(call.await.unwrap()[..], expected) }
            }));
            answers.await;
        }
    };
    let (one, two) = (Arc::new(one), Arc::new(two));
    let both = (tokio::spawn(calls(&one, 2)), tokio::spawn(calls(&two, 1)));
    within(async {
        both.0.await.unwrap();
        both.1.await.unwrap();
    })
    .await;
    assert_eq!((one.counts().requests_sent, one.counts().requests_received), (900, 900));
    assert_eq!((two.counts().dialled, two.counts().accepted), (3, 3));
}

#[tokio::test]
async fn payloads_of_many_parts_and_of_all_sizes_arrive_whole() {
    let (one, _two) = pair(echo(), Options::default()).await;
    within(async {
        let many: Vec<Bytes> = (0..1000_u32).map(|n| Bytes::from(vec![n as u8; n as usize % 90])).collect();
        let whole = many.concat();
        assert_eq!(one.call(NodeId(2), 1, Lane::Bulk, many, PATIENCE).await.unwrap()[..], whole);
        assert_eq!(one.call(NodeId(2), 1, Lane::Bulk, vec![], PATIENCE).await.unwrap()[..], []);
        for size in [1, 4095, 4096, 65_508, 65_509, 1 << 20, FRAME_BYTES_MAX] {
            let request: Vec<u8> = (0..size).map(|n| ((n * 31) >> 8) as u8).collect();
            let answer = one.call(NodeId(2), 1, Lane::Append, part(request.clone()), PATIENCE).await.unwrap();
            assert!(answer == request, "{size}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let (one, two) = pair(
        answering(|_, _, _| Box::pin(async { Ok(part(vec![0; CONTROL_FRAME_BYTES_MAX + 1])) })),
        Options::default(),
    )
    .await;
    within(async {
        for lane in Lane::ALL {
            let max = lane.frame_bytes_max();
            let parts = vec![Bytes::from(vec![0; max]), Bytes::from(vec![0])];
            let refused = one.call(NodeId(2), 1, lane, parts, PATIENCE).await;
            assert_eq!(refused, Err(PeerError::TooLarge { bytes: max + 1, max }));
        }
        assert_eq!(one.counts().dialled, 0);
        // Nor is an answer, of which the caller is told.
        let refused = one.call(NodeId(2), 1, Lane::Control, vec![], PATIENCE).await;
        let Err(PeerError::Rejected(Rejection { code, .. })) = refused else { panic!("{refused:?}") };
        assert_eq!(code, RejectionCode::Failed);
        assert_eq!(two.counts().violations, 0);
    })
    .await;
}

#[tokio::test]
async fn rejections_arrive_as_they_were_said() {
    let rejection = Rejection::new(RejectionCode::NoChannel, "channel 5 is not here");
    let said = rejection.clone();
    let handler = answering(move |_, _, _| {
        let said = said.clone();
        Box::pin(async move { Err(said) })
    });
    let (one, _two) = pair(handler, Options::default()).await;
    let error = within(one.call(NodeId(2), 5, Lane::Bulk, vec![], PATIENCE)).await.unwrap_err();
    assert!(!error.may_have_happened());
    assert_eq!(error, PeerError::Rejected(rejection));
}

#[tokio::test]
async fn a_node_can_call_itself_and_not_one_it_does_not_know() {
    let one = node(1, echo()).await;
    let unknown = within(one.call(NodeId(7), 0, Lane::Bulk, vec![], PATIENCE)).await;
    assert_eq!(unknown, Err(PeerError::UnknownNode(NodeId(7))));
    one.set_address(NodeId(1), one.address());
    assert_eq!(within(one.call(NodeId(1), 0, Lane::Bulk, part("me"), PATIENCE)).await.unwrap(), "me");
}

#[tokio::test]
async fn a_handler_that_panics_or_takes_too_long_harms_its_caller_only() {
    let handler = answering(|channel, _, request| {
        Box::pin(async move {
            match channel {
                1 => panic!("as planned"),
                2 => std::future::pending().await,
                _ => Ok(vec![request]),
            }
        })
    });
    let options = Options { handle_timeout: std::time::Duration::from_millis(30), ..Options::default() };
    let (one, _two) = pair(handler, options).await;
    within(async {
        let call = |channel| one.call(NodeId(2), channel, Lane::Bulk, part("x"), PATIENCE);
        assert_eq!(call(1).await, Err(PeerError::Disconnected));
        assert_eq!(call(0).await.unwrap(), "x");
        let late = call(2).await;
        assert!(matches!(&late, Err(PeerError::Rejected(said)) if said.code == RejectionCode::TimedOut), "{late:?}");
        assert_eq!(call(0).await.unwrap(), "x");
    })
    .await;
}
