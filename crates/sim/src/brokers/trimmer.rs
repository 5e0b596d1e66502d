//! Trimmers: they remove the oldest records of logs, mostly a few of them, now and then all that were acknowledged, and
//! ask where logs start.

use super::caller::Caller;
use super::logs::Log;
use super::reader::ask_for_start;
use crate::time::now;
use broker::request::TrimPart;
use broker::{Reply, Request};
use model::Offset;

/// In how many of a hundred cases it does something, in how many of these it only asks, and in how many of the others
/// all that is acknowledged goes.
const TRIM_PERCENT: u64 = 16;
const ASK_PERCENT: u64 = 25;
const ALL_PERCENT: u64 = 25;

/// See the module's documentation.
pub(super) struct Trimmer {
    caller: Caller,
}

impl Trimmer {
    pub(super) fn new(caller: Caller) -> Self {
        Trimmer { caller }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            if !self.caller.rng.percent(TRIM_PERCENT) {
                continue;
            }
            let logs = self.caller.scene.logs.lock().all();
            let Some(log) = self.caller.rng.pick(&logs).cloned() else { continue };
            if !self.caller.rng.percent(ASK_PERCENT) {
                self.trim(&log).await;
            } else if let Some(door) = self.caller.leader(&log).await {
                ask_for_start(&mut self.caller, &log, &door).await;
            }
        }
    }

    async fn trim(&mut self, log: &Log) {
        let span = {
            let book = self.caller.scene.book.lock();
            let first = book.records.trimmed_to(log.key);
            book.records.acknowledged_span(log.key).map(|(_, last)| (first, last + 1))
        };
        let Some((first, end)) = span.filter(|(first, end)| first < end) else { return };
        let all = self.caller.rng.percent(ALL_PERCENT);
        let to = if all { end } else { self.caller.rng.between(first, first + (end - first) / 3) };
        let Some(door) = self.caller.leader(log).await else { return };
        self.caller.scene.book.lock().records.may_trim(log.key, to);
        let asked = now();
        let part = TrimPart { partition: log.partition.clone(), to: Some(Offset(to)) };
        let answer = match door.ask(Request::Trim(vec![part])).await {
            Some(Reply::Trimmed(trimmed)) => trimmed.into_iter().next(),
            _ => return self.caller.forget(log),
        };
        match answer {
            Some(Ok(start)) => {
                self.caller
                    .note(format_args!("{} is trimmed to {to} by {}, and starts at {start}", log.key, door.node));
                self.caller.scene.facts.lock().trims += 1;
                let outcome = match start.0 < to {
                    true => Err(format!("is trimmed to {to}, and starts at {start}")),
                    false => self.caller.scene.book.lock().starts(log.key, start.0, asked, now()),
                };
                if let Err(wrong) = outcome {
                    self.caller.violation(format!("{} by {}: {wrong}", log.key, door.node));
                }
            }
            Some(Err(error)) => self.caller.heed(log, &error),
            None => self.caller.violation(format!("{}: no answer by {}", log.key, door.node)),
        }
    }
}
