//! The calls byte by byte, and whatever bytes there are: nothing panics.

#[path = "../../../model/tests/golden/mod.rs"]
mod golden;

use super::*;
use crate::runtime::Tokio;
use golden::golden;
use journal::file::FileKind;
use journal::install::SnapshotManifest;
use journal::manifest::{CheckpointFile, Listed};
use model::record::Message;
use model::{EntryBuilder, Hlc, LeaderEpoch, Offset, PieceHead, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

fn questions() -> Vec<Question> {
    let vote = encode_vote::<Tokio>(&Vote::<Tokio>::new(5, 2));
    let ballot = Ballot { vote: vote.clone(), last: at(4, 77), flag: true };
    let id = FileId { journal: 0xfeed, sequence: 9 };
    let manifest = SnapshotManifest {
        at: at(4, 70),
        checkpoint: vec![CheckpointFile { number: 3, length: 100 }],
        files: vec![Listed {
            id,
            kind: FileKind::Packed,
            length: 4096,
            frames_end: 1024,
            first_index: 3,
            last_index: 9,
            refused: vec![(4, 1)],
        }],
    };
    vec![
        Question::Vote { ballot: ballot.clone() },
        Question::PreVote { ballot },
        Question::TransferLeader { vote: vote.clone(), to: NodeId(3), last: at(4, 77) },
        Question::Pull { part: Part::Checkpoint { number: 3 }, position: 8, bytes: 1000 },
        Question::Pull { part: Part::File { id, kind: FileKind::Log }, position: 0, bytes: 1 },
        Question::Standing { asker: NodeId(2), reverted: true },
        Question::Entry { at: at(4, 77) },
        Question::Records { stream: StreamId(3), from: Offset(5), to: Offset(9) },
        Question::Clock,
        Question::Form { stream: StreamId(3), from: Offset(5), to: Offset(9) },
        Question::Install { vote: vote.clone(), offer: SnapshotOffer { journal: 0xfeed, manifest } },
        Question::Installing { vote, offered: OfferKey { journal: 0xfeed, at: at(4, 70), crc: 0x1234_5678 } },
    ]
}

fn heartbeat() -> Bytes {
    let request = AppendEntriesRequest::<Types<Tokio>> {
        vote: Vote::<Tokio>::new_committed(2, 1),
        prev_log_id: log_id::<Tokio>(at(1, 5)),
        entries: Vec::new(),
        leader_commit: log_id::<Tokio>(at(1, 9)),
    };
    Bytes::from(encode_heartbeat::<Tokio>(request).concat())
}

fn append() -> Bytes {
    let mut builder = EntryBuilder::new();
    let body = Message { value: b"value", ..Message::default() }.encode().unwrap();
    let head = PieceHead::parse(&body).unwrap();
    builder.add_piece(StreamId(7), Offset(3), LeaderEpoch(1), &head, body.clone().into(), None);
    builder.want_fsync();
    let payload = builder.finish(Hlc(9));
    let membership = Bytes::from((vec![vec![1u64, 2], vec![2u64, 3]], vec![1u64, 2, 3]).to_wire());
    let logged = [(Kind::Entry, payload), (Kind::Blank, Bytes::new()), (Kind::Membership, membership)];
    let entries = logged.into_iter().zip(6..).map(|((kind, payload), index)| {
        from_journal::<Tokio>(LogEntry { at: at(2, index), kind, payload, meta_bytes: 0 }).unwrap()
    });
    let request = AppendEntriesRequest::<Types<Tokio>> {
        vote: Vote::<Tokio>::new_committed(2, 1),
        prev_log_id: log_id::<Tokio>(at(1, 5)),
        entries: entries.collect(),
        leader_commit: log_id::<Tokio>(at(1, 4)),
    };
    Bytes::from(encode_append::<Tokio>(request).concat())
}

#[test]
fn questions_are_as_drawn() {
    let questions = questions();
    let encoded: Vec<Vec<u8>> = questions.iter().map(|question| encode_question(question).concat()).collect();
    let kept: Vec<Vec<u8>> = Wire::from_wire(&golden(HERE, "questions", &encoded.to_wire())).unwrap();
    assert_eq!(kept.len(), questions.len());
    for (bytes, question) in kept.into_iter().zip(questions) {
        let Ok(Incoming::Question(read)) = decode::<Tokio>(Bytes::from(bytes)) else { panic!("{question:?}") };
        assert_eq!(read, question);
    }
}

#[test]
fn an_append_is_as_drawn() {
    let bytes = Bytes::from(golden(HERE, "append", &append()));
    let Ok(Incoming::Append(read)) = decode::<Tokio>(bytes.clone()) else { panic!("no append") };
    assert_eq!(read.entries.len(), 3);
    assert!(is_readable(&bytes) && !is_readable(&bytes[..bytes.len() - 1]));
    assert_eq!(Bytes::from(encode_append::<Tokio>(read).concat()), bytes);
}

#[test]
fn a_heartbeat_is_as_drawn_and_carries_nothing() {
    let bytes = Bytes::from(golden(HERE, "heartbeat", &heartbeat()));
    let Ok(Incoming::Heartbeat(read)) = decode::<Tokio>(bytes) else { panic!("no heartbeat") };
    assert_eq!((read.prev_log_id, read.leader_commit), (log_id::<Tokio>(at(1, 5)), log_id::<Tokio>(at(1, 9))));
    let mut laden = append().to_vec();
    laden[0] = HEARTBEAT;
    assert!(decode::<Tokio>(Bytes::from(laden)).is_err(), "entries would overtake those before them");
}

#[test]
fn answers_are_as_drawn() {
    let vote = encode_vote::<Tokio>(&Vote::<Tokio>::new_committed(6, 2));
    let voters = vec![vec![NodeId(1)], vec![NodeId(1), NodeId(2)]];
    let standing = Standing {
        last: at(5, 80),
        in_doubt: true,
        has_room: true,
        leading: Some(vote.clone()),
        confirmed: false,
        voters,
    };
    assert_eq!(Standing::from_wire(&golden(HERE, "standing", &standing.to_wire())), Ok(standing));
    let part = Part::File { id: FileId { journal: 0xfeed, sequence: 9 }, kind: FileKind::Packed };
    let progress = vec![
        Progress::Pulling { pulled: 3, of: 100 },
        Progress::Installed { vote: vote.clone() },
        Progress::Failed { why: "why".into(), damaged: Some(part) },
        Progress::Failed { why: "why".into(), damaged: None },
        Progress::Unknown,
    ];
    let encoded: Vec<Bytes> = progress.iter().map(|progress| Bytes::from(progress.to_wire())).collect();
    let kept: Vec<Bytes> = Wire::from_wire(&golden(HERE, "progress", &encoded.to_wire())).unwrap();
    assert_eq!(kept.iter().map(|bytes| Progress::from_wire(bytes).unwrap()).collect::<Vec<_>>(), progress);
    let chunk = Chunk { crc: 0x1234_5678, bytes: Bytes::from_static(b"bytes") };
    let sent = golden(HERE, "chunk", &chunk.to_wire());
    assert_eq!(chunk.clone().into_parts().concat(), sent);
    assert_eq!(Chunk::of_answer(&Bytes::from(sent)), Ok(chunk));
    let copy = EntryCopy { kind: 1, meta_bytes: 3, payload: Bytes::from_static(b"metabody") };
    assert_eq!(EntryCopy::from_wire(&golden(HERE, "entry-copy", &copy.to_wire())), Ok(copy));
    let slice = SliceCopy {
        base: Offset(5),
        count: 2,
        epoch: LeaderEpoch(1),
        max_timestamp: Timestamp(7),
        bytes: Bytes::from_static(b"pieces"),
    };
    let slices = vec![slice];
    assert_eq!(Wire::from_wire(&golden(HERE, "slice-copies", &slices.to_wire())), Ok(slices.clone()));
    let form = FormCopy { end: Offset(9), files: vec![FileId { journal: 0xfeed, sequence: 9 }], slices };
    assert_eq!(FormCopy::from_wire(&golden(HERE, "form-copy", &form.to_wire())), Ok(form));
    let appended: [StreamAppendResult<Types<Tokio>>; 4] = [
        Ok(log_id::<Tokio>(at(2, 8))),
        Ok(None),
        Err(StreamAppendError::Conflict(log_id::<Tokio>(at(1, 3)).unwrap())),
        Err(StreamAppendError::HigherVote(decode_vote::<Tokio>(&vote).unwrap())),
    ];
    let encoded: Vec<Bytes> = appended.iter().map(encode_appended::<Tokio>).collect();
    let kept: Vec<Bytes> = Wire::from_wire(&golden(HERE, "appended", &encoded.to_wire())).unwrap();
    for (bytes, appended) in kept.iter().zip(&appended) {
        let read = decode_appended::<Tokio>(bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{appended:?}"));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(first in 0u8..9, mut bytes in vec(any::<u8>(), 0..200)) {
        bytes.insert(0, first);
        let _ = is_readable(&bytes);
    }

    #[test]
    fn mutated_calls_do_not_panic(
        which: prop::sample::Index,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in 0usize..20,
    ) {
        let mut calls: Vec<Vec<u8>> = questions().iter().map(|question| encode_question(question).concat()).collect();
        calls.push(append().to_vec());
        calls.push(append().to_vec());
        calls.push(heartbeat().to_vec());
        let mut bytes = which.get(&calls).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let _ = is_readable(&bytes);
    }
}

#[test]
fn a_chunk_is_sent_and_taken_as_it_was_read() {
    let bytes = Bytes::from(vec![7; 300]);
    let parts = Chunk { crc: 5, bytes: bytes.clone() }.into_parts();
    assert_eq!(parts[1].as_ptr(), bytes.as_ptr());
    let answer = Bytes::from(parts.concat());
    let chunk = Chunk::of_answer(&answer).unwrap();
    assert_eq!((chunk.crc, &chunk.bytes), (5, &bytes));
    assert_eq!(chunk.bytes.as_ptr(), answer[parts[0].len()..].as_ptr());
    // One that lacks something, or has something too many, is none.
    for end in 0..answer.len() {
        assert!(Chunk::of_answer(&answer.slice(..end)).is_err());
    }
    let longer = [&answer[..], &[0]].concat();
    assert_eq!(Chunk::of_answer(&Bytes::from(longer)), Err(WireError::Trailing(1)));
}
