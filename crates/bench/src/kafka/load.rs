//! What the generator does to a broker, on a thread of its own: everything it can (closed: a window of
//! requests for each connection, another one only for an answer), or a fixed rate (open).

mod closed;
mod open;

use super::histogram::Histogram;
use super::ledger::Plan;
use super::payload::{Shape, Template};
use super::schedule::Schedule;
use crate::Outcome;
use crate::broker::client_runtime;
use crate::cost::{self, Cost, Done};
use open::Open;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The same for all producers.
pub(crate) fn plan(shape: Shape, producers: usize, partitions: usize) -> Outcome<Plan> {
    let templates = (0..producers).map(|nth| Template::new(shape, nth as u16)).collect::<Outcome<_>>()?;
    Ok(Plan { templates, partitions })
}

/// What the load's thread and its watcher know of each other.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) done: Done,
    stop: AtomicBool,
    measuring: AtomicBool,
}

/// What came out.
#[derive(Default)]
pub(crate) struct Finished {
    /// Batches, by producer.
    pub(crate) sent: Vec<u64>,
    /// Nanoseconds until a batch was acknowledged. Of a closed load from when it was sent, of an open one
    /// from when it was due.
    pub(crate) acknowledged: Histogram,
    /// Nanoseconds from when a batch was due to when a consumer had it.
    pub(crate) consumed: Histogram,
    /// Nanoseconds from when a batch was due to when the generator began to send it.
    pub(crate) late: Histogram,
}

/// A load under way.
pub(crate) struct Load {
    pub(crate) shared: Arc<Shared>,
    thread: JoinHandle<Outcome<Finished>>,
}

/// What a load did within a time, and what that took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// Of the broker.
    pub(crate) cost: Cost,
    /// Cores that the generator was busy on; it has one thread.
    pub(crate) generator: f64,
}

impl Load {
    /// As much as the broker takes, from every producer of the plan, `in_flight` requests each.
    pub(crate) fn closed(address: SocketAddr, topic: &str, plan: &Plan, in_flight: usize) -> Self {
        let (shared, topic, plan) = (Arc::new(Shared::default()), topic.to_owned(), plan.clone());
        let theirs = shared.clone();
        let thread = thread::spawn(move || {
            client_runtime()?.block_on(closed::saturate(address, topic, plan, in_flight, theirs))
        });
        Load { shared, thread }
    }

    /// At a fixed rate, with a consumer that follows. What is due within the warm-up is not in the histograms.
    pub(crate) fn open(
        address: SocketAddr,
        topic: &str,
        plan: &Plan,
        schedule: Schedule,
        warm_up: Duration,
        window: Duration,
    ) -> Self {
        let (shared, topic, plan) = (Arc::new(Shared::default()), topic.to_owned(), plan.clone());
        let theirs = shared.clone();
        let end = warm_up + window;
        let open = Open { address, topic, plan, schedule, warm_up, end, follows: true };
        let thread = thread::spawn(move || client_runtime()?.block_on(open.run(theirs)));
        Load { shared, thread }
    }

    /// Readers of what was sent before, over and over; each has its share of the partitions.
    pub(crate) fn read(address: SocketAddr, topic: &str, plan: &Plan, sent: &[u64], readers: usize) -> Self {
        let (shared, topic, plan, sent) = (Arc::new(Shared::default()), topic.to_owned(), plan.clone(), sent.to_vec());
        let theirs = shared.clone();
        let thread = thread::spawn(move || {
            client_runtime()?.block_on(closed::reread(address, topic, plan, sent, readers, theirs))
        });
        Load { shared, thread }
    }

    /// What is done within `window`, after `warm_up`.
    pub(crate) fn watch(&self, pid: u32, warm_up: Duration, window: Duration) -> Outcome<Watched> {
        // Connections first: the time begins when records flow.
        while self.shared.done.records() == 0 && !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(warm_up);
        let generator = cost::cpu_of(std::process::id())?;
        self.shared.measuring.store(true, Relaxed);
        let cost = cost::watch(&self.shared.done, pid, Duration::ZERO, window)?;
        self.shared.measuring.store(false, Relaxed);
        let generator = cost::cpu_of(std::process::id())?.saturating_sub(generator);
        Ok(Watched { cost, generator: generator.as_secs_f64() / cost.wall.as_secs_f64() })
    }

    /// Whether it has ended, which a closed one does only when it fails.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends a closed load; waits for the end of an open one, and for every answer.
    pub(crate) fn finish(self) -> Outcome<Finished> {
        self.shared.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| "the generator panicked")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::kafka::codec::api_key::ApiKey;
    use ::kafka::codec::frame;
    use ::kafka::codec::header::{RequestHeader, ResponseHeader};
    use ::kafka::codec::message::Message;
    use ::kafka::codec::produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
    use ::kafka::codec::reader::Reader;
    use bytes::BytesMut;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    const SHAPE: Shape = Shape { record: 100, batch: 0, keyed: false, lz4: false };
    const STALL: Duration = Duration::from_millis(400);

    /// Acknowledges each batch at once, but stalls before it answers the one numbered `stalls_at`. Ends with
    /// the connection.
    fn server(stalls_at: usize) -> (SocketAddr, JoinHandle<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut length = [0; 4];
            let mut answered = 0;
            while stream.read_exact(&mut length).is_ok() {
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).unwrap();
                let header = RequestHeader::decode(&mut Reader::new(request.into())).unwrap();
                if answered == stalls_at {
                    thread::sleep(STALL);
                }
                let partition = PartitionProduceResponse { base_offset: answered as i64, ..Default::default() };
                let topic = TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
                let response = ProduceResponse { responses: vec![topic], ..Default::default() };
                let mut out = BytesMut::new();
                frame::write(&mut out, |writer| {
                    let head = ResponseHeader { correlation_id: header.correlation_id };
                    head.encode(writer, ApiKey::Produce, header.api_version);
                    response.encode(writer, header.api_version);
                })
                .unwrap();
                stream.write_all(&out).unwrap();
                answered += 1;
            }
            answered
        });
        (address, thread)
    }

    #[test]
    fn a_stall_counts_for_everything_that_was_due_meanwhile() {
        let (address, server) = server(500);
        let open = Open {
            address,
            topic: "t".to_owned(),
            plan: plan(SHAPE, 1, 1).unwrap(),
            schedule: Schedule { rate: 1000.0, producers: 1 },
            warm_up: Duration::ZERO,
            end: Duration::from_secs(1),
            follows: false,
        };
        let shared = Arc::new(Shared::default());
        let finished = client_runtime().unwrap().block_on(open.run(shared.clone())).unwrap();
        assert_eq!((server.join().unwrap(), shared.done.records(), &finished.sent[..]), (1000, 1000, &[1000][..]));
        assert_eq!(finished.acknowledged.count(), 1000);
        // One answer stalled, and 400 batches were due meanwhile: the last waited for nothing, the first for
        // all of it, a tenth of all for three quarters. A client that had waited would know of one.
        let (tenth, longest) = (finished.acknowledged.quantile(0.9), finished.acknowledged.max());
        assert!(tenth >= STALL.as_nanos() as u64 * 7 / 10, "{tenth}");
        assert!(longest >= STALL.as_nanos() as u64, "{longest}");
    }

    #[test]
    fn a_closed_load_counts_what_was_acknowledged() {
        let (address, server) = server(usize::MAX);
        let load = Load::closed(address, "t", &plan(SHAPE, 1, 1).unwrap(), 5);
        let window = Duration::from_millis(50);
        let watched = load.watch(std::process::id(), Duration::ZERO, window).unwrap();
        let shared = load.shared.clone();
        let finished = load.finish().unwrap();
        let answered = server.join().unwrap() as u64;
        assert_eq!((finished.sent, shared.done.records()), (vec![answered], answered));
        assert!(watched.cost.records > 0 && watched.cost.records <= answered && watched.cost.wall >= window);
    }

    #[test]
    fn a_server_that_goes_away_ends_the_load_with_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || drop(listener.accept().unwrap()));
        let load = Load::closed(address, "t", &plan(SHAPE, 1, 1).unwrap(), 5);
        server.join().unwrap();
        assert!(load.thread.join().unwrap().is_err());
    }
}
