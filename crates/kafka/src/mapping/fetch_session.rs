//! Fetch sessions (KIP-227): a client that reads many partitions again and again says only what changed
//! since its last request, and is told only of partitions that have something new.
//!
//! A session lives with its connection: whoever comes back on another starts with a full fetch, as after a
//! broker's restart. What all sessions of a node remember is bounded, a seat for each partition; a client that gets no
//! session fetches as it would without.

use crate::codec::error_code::ErrorCode;
use crate::codec::fetch::{FetchPartition, FetchRequest, FetchTopic, FetchableTopicResponse, PartitionData};
use crate::codec::primitive::Uuid;
use crate::codec::text::Text;
use gateway::Seats;
use gateway::seats::Seat;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Session epochs that are none.
const FULL: i32 = 0;
const LAST: i32 = -1;

/// A partition, as the client names its topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: Text,
    id: [u8; 16],
    partition: i32,
}

/// What is remembered of a partition.
#[derive(Clone, Debug)]
struct Kept {
    key: Key,
    asked: FetchPartition,
    /// What the client was last told: end and start of the partition. Nothing yet is -1.
    told: (i64, i64),
    _place: Arc<Seat>,
}

/// A connection's session.
#[derive(Debug)]
struct Session {
    id: i32,
    /// Of the next request.
    epoch: i32,
    by_id: bool,
    /// In the order in which they are read: whoever had something goes last.
    order: BTreeMap<u64, Kept>,
    places: HashMap<Key, u64>,
    last: u64,
}

/// The fetch session of a connection, if it has one.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    places: Seats,
    session: Option<Session>,
}

/// What a request asks, however it says so.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The partitions to read, in this order.
    pub(crate) topics: Vec<FetchTopic>,
    /// The session; 0 for none.
    pub(crate) session: i32,
    /// Whether only what changed is told.
    pub(crate) incremental: bool,
}

impl FetchSessions {
    pub(crate) fn new(places: Seats) -> Self {
        FetchSessions { places, session: None }
    }

    /// Takes a request up. `random` makes the id of a new session.
    ///
    /// # Errors
    /// The code to answer with when the session is not known or not where the client thinks.
    pub(crate) fn take(&mut self, request: &mut FetchRequest, by_id: bool, random: u128) -> Result<Asked, ErrorCode> {
        let topics = std::mem::take(&mut request.topics);
        if matches!(request.session_epoch, FULL | LAST) {
            // Whatever session there was is over.
            self.session = None;
            let session = if request.session_epoch == FULL { self.begin(&topics, by_id, random) } else { 0 };
            return Ok(Asked { topics, session, incremental: false });
        }
        let Some(session) = self.session.as_mut().filter(|session| session.id == request.session_id) else {
            return Err(ErrorCode::FetchSessionIdNotFound);
        };
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        // After the last comes the first: 0 asks for a new session.
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        for topic in std::mem::take(&mut request.forgotten_topics_data) {
            for partition in topic.partitions {
                session.forget(&Key { topic: topic.topic.clone(), id: topic.topic_id.0, partition });
            }
        }
        for topic in topics {
            for asked in topic.partitions {
                let key = Key { topic: topic.topic.clone(), id: topic.topic_id.0, partition: asked.partition };
                if !session.update(&key, &asked) {
                    let Some(place) = self.places.take() else {
                        // It cannot be remembered: the client starts anew, and gets no session then.
                        self.session = None;
                        return Err(ErrorCode::FetchSessionIdNotFound);
                    };
                    session.add(key, asked, Arc::new(place));
                }
            }
        }
        Ok(Asked { topics: session.topics(), session: session.id, incremental: true })
    }

    /// Begins a session with these partitions, if there is room; its id, or 0.
    fn begin(&mut self, topics: &[FetchTopic], by_id: bool, random: u128) -> i32 {
        let count = topics.iter().map(|topic| topic.partitions.len()).sum();
        if count == 0 {
            return 0;
        }
        let Some(place) = self.places.take_many(count) else { return 0 };
        let place = Arc::new(place);
        // Positive, and never 0.
        let id = (random as i32 & i32::MAX).max(1);
        let mut session = Session { id, epoch: 1, by_id, order: BTreeMap::new(), places: HashMap::new(), last: 0 };
        for topic in topics {
            for asked in &topic.partitions {
                let key = Key { topic: topic.topic.clone(), id: topic.topic_id.0, partition: asked.partition };
                if !session.update(&key, asked) {
                    session.add(key, asked.clone(), place.clone());
                }
            }
        }
        self.session = Some(session);
        id
    }

    /// Notes what the client is told, and leaves out of an incremental answer what it knows already.
    pub(crate) fn tell(&mut self, asked: i32, incremental: bool, topics: &mut Vec<FetchableTopicResponse>) {
        let Some(session) = self.session.as_mut().filter(|session| session.id == asked) else { return };
        for topic in topics.iter_mut() {
            let (name, id) = (topic.topic.clone(), topic.topic_id);
            topic.partitions.retain(|partition| session.is_news(&name, id, partition) || !incremental);
        }
        topics.retain(|topic| !topic.partitions.is_empty());
    }
}

impl Session {
    /// Whether it is remembered, now with what is asked.
    fn update(&mut self, key: &Key, asked: &FetchPartition) -> bool {
        let kept = self.places.get(key).and_then(|nth| self.order.get_mut(nth));
        kept.map(|kept| kept.asked = asked.clone()).is_some()
    }

    fn add(&mut self, mut key: Key, asked: FetchPartition, place: Arc<Seat>) {
        // A text shares the memory of its request, which may be large.
        key.topic = key.topic.to_string().into();
        self.last += 1;
        self.places.insert(key.clone(), self.last);
        self.order.insert(self.last, Kept { key, asked, told: (-1, -1), _place: place });
    }

    fn forget(&mut self, key: &Key) {
        if let Some(nth) = self.places.remove(key) {
            self.order.remove(&nth);
        }
    }

    /// Its partitions as a request would name them.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for Kept { key, asked, .. } in self.order.values() {
            match topics.last_mut() {
                Some(last) if last.topic == key.topic && last.topic_id.0 == key.id => {
                    last.partitions.push(asked.clone())
                }
                _ => topics.push(FetchTopic {
                    topic: key.topic.clone(),
                    topic_id: Uuid(key.id),
                    partitions: vec![asked.clone()],
                }),
            }
        }
        topics
    }

    /// Whether the client has to be told. It is taken to have been.
    fn is_news(&mut self, topic: &Text, id: Uuid, partition: &PartitionData) -> bool {
        let key = Key { topic: topic.clone(), id: id.0, partition: partition.partition_index };
        let Some(nth) = self.places.get(&key).copied() else { return true };
        let has_records = partition.records.as_ref().is_some_and(|records| !records.is_empty());
        let Some(kept) = self.order.get_mut(&nth) else { return true };
        let told = (partition.high_watermark, partition.log_start_offset);
        let diverges = partition.diverging_epoch.end_offset >= 0;
        let elsewhere = partition.preferred_read_replica >= 0;
        let news = has_records || partition.error_code != 0 || diverges || elsewhere || kept.told != told;
        // After an error nothing is taken for known, so that the end of the trouble is news.
        kept.told = if partition.error_code == 0 { told } else { (-1, -1) };
        if has_records && let Some(kept) = self.order.remove(&nth) {
            self.last += 1;
            self.places.insert(key, self.last);
            self.order.insert(self.last, kept);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fetch::ForgottenTopic;
    use bytes::Bytes;

    fn topic(name: &str, partitions: &[(i32, i64)]) -> FetchTopic {
        let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            ..FetchPartition::default()
        };
        FetchTopic { topic: name.into(), partitions: partitions.iter().map(partition).collect(), ..Default::default() }
    }

    fn request(id: i32, epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
        FetchRequest { session_id: id, session_epoch: epoch, topics, ..FetchRequest::default() }
    }

    fn take(sessions: &mut FetchSessions, mut request: FetchRequest) -> Result<Asked, ErrorCode> {
        sessions.take(&mut request, false, 5)
    }

    /// Topic, partition and offset, in order.
    fn asked(asked: &Asked) -> Vec<(String, i32, i64)> {
        let of = |topic: &FetchTopic| {
            let name = topic.topic.to_string();
            topic.partitions.iter().map(|p| (name.clone(), p.partition, p.fetch_offset)).collect::<Vec<_>>()
        };
        asked.topics.iter().flat_map(of).collect()
    }

    fn told(parts: &[(i32, i64, &'static [u8], i16)]) -> Vec<FetchableTopicResponse> {
        let partition = |(index, end, records, error_code): &(i32, i64, &'static [u8], i16)| PartitionData {
            partition_index: *index,
            high_watermark: *end,
            log_start_offset: 0,
            error_code: *error_code,
            records: Some(Bytes::from_static(records).into()),
            ..PartitionData::default()
        };
        let partitions = parts.iter().map(partition).collect();
        vec![FetchableTopicResponse { topic: "t".into(), partitions, ..FetchableTopicResponse::default() }]
    }

    fn tell(sessions: &mut FetchSessions, asked: &Asked, parts: &[(i32, i64, &'static [u8], i16)]) -> Vec<i32> {
        let mut topics = told(parts);
        sessions.tell(asked.session, asked.incremental, &mut topics);
        topics.into_iter().flat_map(|topic| topic.partitions).map(|partition| partition.partition_index).collect()
    }

    #[test]
    fn only_news_is_told() {
        let mut sessions = FetchSessions::new(Seats::new(9));
        let full = take(&mut sessions, request(0, 0, vec![topic("t", &[(0, 5), (1, 7)])])).unwrap();
        assert_eq!((full.session, full.incremental), (5, false));
        assert_eq!(tell(&mut sessions, &full, &[(0, 5, b"", 0), (1, 7, b"", 0)]), [0, 1], "the first time all is");
        let next = take(&mut sessions, request(5, 1, vec![])).unwrap();
        assert_eq!(asked(&next), [("t".into(), 0, 5), ("t".into(), 1, 7)]);
        assert_eq!(tell(&mut sessions, &next, &[(0, 6, b"x", 0), (1, 7, b"", 0)]), [0]);
        // Who had something goes last.
        let next = take(&mut sessions, request(5, 2, vec![topic("t", &[(0, 6)])])).unwrap();
        assert_eq!(asked(&next), [("t".into(), 1, 7), ("t".into(), 0, 6)]);
        assert_eq!(tell(&mut sessions, &next, &[(1, 8, b"", 0), (0, 6, b"", 0)]), [1], "its end has moved");
        let next = take(&mut sessions, request(5, 3, vec![])).unwrap();
        assert_eq!(tell(&mut sessions, &next, &[(1, -1, b"", 6), (0, 6, b"", 0)]), [1], "an error");
        let next = take(&mut sessions, request(5, 4, vec![])).unwrap();
        assert_eq!(tell(&mut sessions, &next, &[(1, 8, b"", 0), (0, 6, b"", 0)]), [1], "its end");
    }

    #[test]
    fn partitions_come_and_go() {
        let mut sessions = FetchSessions::new(Seats::new(9));
        take(&mut sessions, request(0, 0, vec![topic("t", &[(0, 5), (1, 7)])])).unwrap();
        let mut change = request(5, 1, vec![topic("u", &[(3, 1)]), topic("t", &[(1, 9)])]);
        change.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![0, 4], ..ForgottenTopic::default() }];
        let next = take(&mut sessions, change).unwrap();
        assert_eq!(asked(&next), [("t".into(), 1, 9), ("u".into(), 3, 1)]);
    }

    #[test]
    fn others_are_refused() {
        let mut sessions = FetchSessions::new(Seats::new(9));
        let topics = || vec![topic("t", &[(0, 5)])];
        let refused = |asked: Result<Asked, ErrorCode>| asked.unwrap_err();
        assert_eq!(refused(take(&mut sessions, request(5, 1, topics()))), ErrorCode::FetchSessionIdNotFound);
        take(&mut sessions, request(0, 0, topics())).unwrap();
        assert_eq!(refused(take(&mut sessions, request(6, 1, vec![]))), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(refused(take(&mut sessions, request(5, 2, vec![]))), ErrorCode::InvalidFetchSessionEpoch);
        let by_id = sessions.take(&mut request(5, 1, vec![]), true, 5);
        assert_eq!(refused(by_id), ErrorCode::FetchSessionTopicIdError);
        assert!(take(&mut sessions, request(5, 1, vec![])).is_ok());
        // The last fetch of a session is a full one without.
        let last = take(&mut sessions, request(5, -1, topics())).unwrap();
        assert_eq!((last.session, last.incremental, asked(&last).len()), (0, false, 1));
        assert_eq!(refused(take(&mut sessions, request(5, 2, vec![]))), ErrorCode::FetchSessionIdNotFound);
    }

    #[test]
    fn what_a_node_remembers_is_bounded_and_given_back() {
        let places = Seats::new(3);
        let mut first = FetchSessions::new(places.clone());
        assert_eq!(take(&mut first, request(0, 0, vec![topic("t", &[(0, 0), (1, 0)])])).unwrap().session, 5);
        let mut second = FetchSessions::new(places.clone());
        assert_eq!(take(&mut second, request(0, 0, vec![topic("t", &[(0, 0), (1, 0)])])).unwrap().session, 0);
        assert!(take(&mut first, request(5, 1, vec![topic("t", &[(2, 0)])])).is_ok());
        let refused = take(&mut first, request(5, 2, vec![topic("t", &[(3, 0)])]));
        assert_eq!(refused.unwrap_err(), ErrorCode::FetchSessionIdNotFound);
        assert!(places.take_many(3).is_some());
    }
}
