//! What another node leads is done there, and the answer comes back by this one: a client may ask any node.
//!
//! Between nodes a request is what it is to clients: a method, a path and a body. There are a few more paths
//! ([`crate::route::BETWEEN_NODES`]), for parts of a request of which several nodes do theirs.

use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::between;
use crate::mapping::{mismatch, partition_ref};
use crate::refusal::Refusal;
use crate::route::Handle;
use crate::shape::{Code, ErrorBody, Problem};
use broker::BrokerError;
use broker::cluster::errand::{Errand, Outcome};
use futures::future::{BoxFuture, join_all};
use model::NodeId;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is tried again while it is certain that nothing was done: a leader that is lost is replaced meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
/// How long a node may take to look something up.
pub(crate) const LOOK_TIME: Duration = Duration::from_secs(15);
/// How long it may take to change something: as long as it may be proposed, and a little.
pub(crate) const CHANGE_TIME: Duration = Duration::from_secs(35);

/// By what it is found who leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Led {
    /// By topic and partition in the path.
    Partition,
    /// By the group in the path.
    Group,
}

impl Led {
    fn leader(self, api: &Inner, call: &Call) -> Option<NodeId> {
        match self {
            Led::Partition => api.broker.leader(&partition_ref(call.name(0), call.partition())),
            Led::Group => api.broker.coordinator(call.name(0)).ok(),
        }
    }
}

/// Tries of something that was not done. Their time counts from the first that was in vain.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    until: Option<Instant>,
}

impl Tries {
    /// Waits a moment before another try; false when there were enough.
    pub(crate) async fn again(&mut self) -> bool {
        let now = Instant::now();
        let more = now < *self.until.get_or_insert(now + PATIENCE);
        if more {
            tokio::time::sleep(PAUSE).await;
        }
        more
    }
}

fn is_led_elsewhere<T>(outcome: &Result<T, Refusal>) -> bool {
    matches!(outcome, Err(refusal) if refusal.code == Code::NotLeader)
}

/// Has a request done by whoever leads what it is about: here, or at another node.
pub(crate) async fn by_leader(api: Arc<Inner>, call: Call, led: Led, handle: Handle) -> Result<Answer, Refusal> {
    // One that came from another node is not handed on.
    if call.of_node || api.broker.others().is_empty() {
        return handle(api, call).await;
    }
    let mut tries = Tries::default();
    loop {
        let elsewhere = led.leader(&api, &call).filter(|node| *node != api.broker.node());
        let outcome = match elsewhere {
            Some(node) => hand_on(&api, node, &call).await,
            None => handle(api.clone(), call.clone()).await,
        };
        if !is_led_elsewhere(&outcome) || !tries.again().await {
            return outcome;
        }
    }
}

/// Has parts of a request, each of which somebody leads, done by those: here, or at other nodes. `ask` is given the
/// numbers of the parts that one node does, and no node where it is this one. An error that says that a node does not
/// lead means that nothing was done.
pub(crate) async fn by_leaders<'a, T: Send>(
    api: &'a Inner,
    parts: usize,
    leader: impl Fn(usize) -> Option<NodeId> + Send,
    ask: impl Fn(Option<NodeId>, Vec<usize>) -> BoxFuture<'a, Vec<Result<T, Refusal>>> + Send,
) -> Vec<Result<T, Refusal>> {
    let alone = api.broker.others().is_empty();
    let mut done: Vec<Result<T, Refusal>> = (0..parts).map(|_| Err(mismatch())).collect();
    let mut open: Vec<usize> = (0..parts).collect();
    let mut tries = Tries::default();
    loop {
        let mut shares = BTreeMap::<Option<NodeId>, Vec<usize>>::new();
        for part in open.drain(..) {
            let node = if alone { None } else { leader(part).filter(|node| *node != api.broker.node()) };
            shares.entry(node).or_default().push(part);
        }
        let (nodes, shares): (Vec<_>, Vec<_>) = shares.into_iter().unzip();
        let asked: Vec<_> = nodes.into_iter().zip(&shares).map(|(node, share)| ask(node, share.clone())).collect();
        for (share, answers) in shares.into_iter().zip(join_all(asked).await) {
            for (part, outcome) in share.into_iter().zip(answers) {
                if is_led_elsewhere(&outcome) {
                    open.push(part);
                }
                done[part] = outcome;
            }
        }
        if open.is_empty() || alone || !tries.again().await {
            return done;
        }
    }
}

/// Sends a client's request on as it is.
async fn hand_on(api: &Inner, node: NodeId, call: &Call) -> Result<Answer, Refusal> {
    let method = call.route.method;
    let errand = Errand { method: method.to_owned(), target: call.target.clone(), body: call.body.clone() };
    let is_look = method == "GET";
    let wait = Duration::from_millis(call.query.natural("wait_ms").unwrap_or(0));
    if wait.is_zero() {
        return send(api, node, errand, if is_look { LOOK_TIME } else { CHANGE_TIME }, is_look).await;
    }
    let _seat = api.seat()?;
    let mut stop = api.stop.clone();
    tokio::select! {
        answer = send(api, node, errand, wait + LOOK_TIME, is_look) => answer,
        _ = stop.wait_for(|stop| *stop) => Err(Refusal::new(Code::Unavailable, "the node stops; try again")),
    }
}

/// Asks a node for what it leads; the answer's body as JSON.
pub(crate) async fn ask<T: DeserializeOwned>(
    api: &Inner,
    node: NodeId,
    errand: Errand,
    patience: Duration,
) -> Result<T, Refusal> {
    let is_look = errand.method == "GET";
    let answer = send(api, node, errand, patience, is_look).await?;
    between::read(&answer.body).map_err(|_| mismatch())
}

/// Has a node do something. What only looks at something may be done twice.
async fn send(api: &Inner, node: NodeId, errand: Errand, patience: Duration, is_look: bool) -> Result<Answer, Refusal> {
    let number = node.0;
    match api.broker.send(node, errand, patience).await {
        Ok(outcome) => answer(outcome),
        Err(BrokerError::NotLeader(Some(_))) => {
            let message = format!("node {number} leads this, and does nothing for other nodes yet; ask that one");
            Err(Refusal::new(Code::NotLeader, message))
        }
        Err(BrokerError::Unknown) if !is_look => {
            let message = format!(
                "node {number}, which leads this, did not answer: it may or may not have been done, so look before you \
                 try again"
            );
            Err(Refusal::new(Code::OutcomeUnknown, message))
        }
        Err(_) => {
            let message = format!("node {number}, which led this when last heard of, does not answer; try again");
            Err(Refusal::new(Code::NotLeader, message))
        }
    }
}

/// What a node answered, as if it had been found here.
fn answer(outcome: Outcome) -> Result<Answer, Refusal> {
    let Outcome { status, waited, body, .. } = outcome;
    if status >= 400
        && let Ok(ErrorBody { error: Problem { code, message } }) = between::read(&body)
    {
        return Err(Refusal::new(code, message));
    }
    Ok(Answer { waited, ..Answer::of(status, body) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn outcome(status: u16, body: &str) -> Outcome {
        Outcome { status, waited: Duration::from_secs(3), body: Bytes::from(body.to_owned()), room: None }
    }

    #[test]
    fn what_another_node_answers_is_answered_here() {
        let found = answer(outcome(200, "{}")).unwrap();
        assert_eq!((found.status, &found.body[..], found.waited), (200, &b"{}"[..], Duration::from_secs(3)));
        let refused = answer(outcome(404, r#"{"error":{"code":"unknown_topic","message":"no"}}"#)).unwrap_err();
        assert_eq!(refused, Refusal::new(Code::UnknownTopic, "no"));
        // One of a newer version may say what is not known here.
        let newer = r#"{"error":{"code":"something_new","message":"no"}}"#;
        let told = answer(outcome(409, newer)).unwrap();
        assert_eq!((told.status, &told.body[..]), (409, newer.as_bytes()));
    }

    #[tokio::test]
    async fn it_is_tried_for_so_long_and_no_longer() {
        let mut tries = Tries { until: None };
        assert!(tries.again().await);
        tries.until = Some(Instant::now());
        assert!(!tries.again().await);
    }
}
