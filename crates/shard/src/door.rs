//! The way to the batcher: a bounded number of requests and of bytes may wait there.

use crate::batcher::{Answer, ProposeError, Request, Submission};
use machine::{Command, Reply};
use model::limit;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) submissions: mpsc::Sender<Submission>,
    pub(crate) room: Arc<Semaphore>,
}

/// A door that does not keep the batcher running.
pub(crate) struct WeakDoor {
    submissions: mpsc::WeakSender<Submission>,
    room: Arc<Semaphore>,
}

impl WeakDoor {
    pub(crate) fn upgrade(&self) -> Option<Door> {
        Some(Door { submissions: self.submissions.upgrade()?, room: self.room.clone() })
    }
}

impl Door {
    pub(crate) fn downgrade(&self) -> WeakDoor {
        WeakDoor { submissions: self.submissions.downgrade(), room: self.room.clone() }
    }

    pub(crate) async fn submit(&self, request: Request, answer: Answer) {
        let bytes = request.bytes().clamp(1, limit::SHARD_BYTES_WAITING_MAX) as u32;
        let Ok(room) = self.room.clone().acquire_many_owned(bytes).await else {
            return answer(Err(ProposeError::Stopped));
        };
        if let Err(unsent) = self.submissions.send(Submission { request, answer, room }).await {
            (unsent.0.answer)(Err(ProposeError::Stopped));
        }
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Reply, ProposeError> {
        let (sender, wait) = futures::channel::oneshot::channel();
        let answer = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.submit(Request::Command(command), answer).await;
        wait.await.unwrap_or(Err(ProposeError::Unknown))
    }
}
