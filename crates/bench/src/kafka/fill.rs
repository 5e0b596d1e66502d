//! Topics filled to a size.

use super::ledger::Plan;
use super::load::plan;
use super::payload::Shape;
use super::producer;
use crate::Outcome;
use crate::broker::client_runtime;
use std::net::SocketAddr;

/// Requests under way.
const IN_FLIGHT: u64 = 5;

/// What a topic was filled with.
pub(crate) struct Filled {
    pub(crate) plan: Plan,
    /// Batches, by producer; there is one.
    pub(crate) sent: Vec<u64>,
}

/// Produces `bytes` of batches from one connection, all of them acknowledged when it returns.
pub(crate) fn fill(address: SocketAddr, topic: &str, shape: Shape, partitions: usize, bytes: u64) -> Outcome<Filled> {
    let plan = plan(shape, 1, partitions)?;
    // Every partition gets something.
    let batches = (bytes / plan.templates[0].len() as u64).max(partitions as u64);
    client_runtime()?.block_on(async {
        let (mut sender, mut answers) = producer::connect(address, topic, &plan, 0).await?;
        for number in 0..batches + IN_FLIGHT {
            if number < batches {
                sender.send(0).await?;
            }
            if number >= IN_FLIGHT {
                answers.produced().await?;
            }
        }
        Outcome::Ok(())
    })?;
    Ok(Filled { sent: vec![batches], plan })
}
