//! Where partitions begin and end, and how far a group is behind in them: asked of those who lead them.

use super::consume;
use super::error::{Subject, refusal};
use super::{mismatch, partition_ref};
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::between::{Behind, Bounds, Place, Position, WantedBounds, read};
use crate::errand::{self, LOOK_TIME, by_leaders};
use crate::refusal::Refusal;
use crate::shape::Problem;
use broker::cluster::errand::Errand;
use broker::request::{Lag, LagQuery};
use broker::{Reply, Request};
use bytes::Bytes;
use futures::FutureExt;
use model::{NodeId, Offset, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Where partitions begin and end, and where a time is in them.
pub(crate) async fn bounds(api: &Inner, places: &[Place], time: Option<Timestamp>) -> Vec<Result<Bounds, Refusal>> {
    let time = time.map(|time| time.0);
    by_leaders(
        api,
        places.len(),
        |nth| leader(api, &places[nth]),
        |node, share| {
            let wanted = WantedBounds { places: share.iter().map(|nth| places[*nth].clone()).collect(), time };
            async move {
                match node {
                    None => bounds_here(api, &wanted).await,
                    Some(node) => ask(api, node, "/peer/bounds", &wanted, wanted.places.len()).await,
                }
            }
            .boxed()
        },
    )
    .await
}

/// How far behind somebody is in partitions.
pub(crate) async fn lags(api: &Inner, positions: &[Position]) -> Vec<Result<Lag, Refusal>> {
    by_leaders(
        api,
        positions.len(),
        |nth| leader(api, &positions[nth].place),
        |node, share| {
            let positions: Vec<Position> = share.iter().map(|nth| positions[*nth].clone()).collect();
            async move {
                let Some(node) = node else { return lags_here(api, &positions).await };
                let told: Vec<Result<Behind, Refusal>> =
                    ask(api, node, "/peer/lags", &positions, positions.len()).await;
                let lag = |told: Behind| Lag {
                    start: Offset(told.start),
                    end: Offset(told.end),
                    records: told.records,
                    millis: told.millis,
                };
                told.into_iter().map(|told| told.map(lag)).collect()
            }
            .boxed()
        },
    )
    .await
}

fn leader(api: &Inner, (topic, partition): &Place) -> Option<NodeId> {
    api.broker.leader(&partition_ref(topic, *partition))
}

/// Asks a node about so many partitions.
async fn ask<T: DeserializeOwned>(
    api: &Inner,
    node: NodeId,
    path: &str,
    wanted: &impl Serialize,
    count: usize,
) -> Vec<Result<T, Refusal>> {
    let body = Bytes::from(serde_json::to_vec(wanted).unwrap_or_default());
    // Looking may be done twice, so it goes as what only looks.
    let errand = Errand { method: "GET".to_owned(), target: path.to_owned(), body };
    match errand::ask::<Vec<Result<T, Problem>>>(api, node, errand, LOOK_TIME).await {
        Ok(told) if told.len() == count => {
            let refused = |Problem { code, message }| Refusal::new(code, message);
            told.into_iter().map(|told| told.map_err(refused)).collect()
        }
        Ok(_) => refused(&mismatch(), count),
        Err(refusal) => refused(&refusal, count),
    }
}

fn refused<T>(refusal: &Refusal, count: usize) -> Vec<Result<T, Refusal>> {
    (0..count).map(|_| Err(refusal.clone())).collect()
}

async fn bounds_here(api: &Inner, wanted: &WantedBounds) -> Vec<Result<Bounds, Refusal>> {
    let mut all = Vec::with_capacity(wanted.places.len());
    for (topic, partition) in &wanted.places {
        all.push(bounds_of(api, topic, *partition, wanted.time).await);
        // Where nothing has to be waited for, others have their turn as well.
        tokio::task::yield_now().await;
    }
    all
}

async fn bounds_of(api: &Inner, topic: &str, partition: u32, time: Option<i64>) -> Result<Bounds, Refusal> {
    let (start, end) = consume::bounds(api, topic, partition).await?;
    let at = match time {
        Some(time) => consume::find_time(api, topic, partition, Timestamp(time)).await?,
        None => end,
    };
    Ok(Bounds { start: start.0, end: end.0, at: at.0 })
}

async fn lags_here(api: &Inner, positions: &[Position]) -> Vec<Result<Lag, Refusal>> {
    let query = |position: &Position| LagQuery {
        partition: partition_ref(&position.place.0, position.place.1),
        position: Offset(position.next),
    };
    let Reply::Lag(lags) = api.ask(Request::Lag(positions.iter().map(query).collect())).await else {
        return refused(&mismatch(), positions.len());
    };
    let of = |(position, lag): (&Position, Result<Lag, _>)| {
        lag.map_err(|error| refusal(&error, Subject::Partition(&position.place.0, position.place.1)))
    };
    positions.iter().zip(lags).map(of).collect()
}

/// Answers another node.
pub(crate) async fn tell_bounds(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let wanted: WantedBounds = read(&call.body)?;
    tell(bounds_here(&api, &wanted).await)
}

/// Answers another node.
pub(crate) async fn tell_lags(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let positions: Vec<Position> = read(&call.body)?;
    let behind = |lag: Lag| Behind { start: lag.start.0, end: lag.end.0, records: lag.records, millis: lag.millis };
    tell(lags_here(&api, &positions).await.into_iter().map(|lag| lag.map(behind)).collect())
}

fn tell(found: Vec<Result<impl Serialize, Refusal>>) -> Result<Answer, Refusal> {
    let problem = |Refusal { code, message }| Problem { code, message };
    let told: Vec<Result<_, Problem>> = found.into_iter().map(|found| found.map_err(problem)).collect();
    Answer::json(200, &told)
}
