//! Some records of what was read, as JSON: no more are decompressed, decoded or shown than are wanted.

use crate::shape::{Data, Encoding, Header, Record, TimestampType};
use batch::{Batch, Reader, RecordError};
use bytes::Bytes;
use model::piece::{self, Form};
use model::{Offset, limit};
use std::io::{self, Write};

/// Which records are wanted, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) from: Offset,
    pub(crate) count_max: usize,
    /// Bytes of JSON, but for the first record.
    pub(crate) bytes_max: usize,
    /// What a record may take, in memory or as JSON.
    pub(crate) record_bytes_max: usize,
    pub(crate) encoding: Encoding,
}

/// What there is of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Records with commas between them.
    pub(crate) json: Vec<u8>,
    pub(crate) count: usize,
    /// Where to read on.
    pub(crate) next: Offset,
}

/// Why there is nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The first record takes more than it may.
    TooLarge(Offset),
    /// What is stored cannot be read.
    Unreadable(Offset, String),
}

/// Bytes back to back as they are stored, and the offset of the first record.
pub(crate) type Stored = (Offset, Bytes);

impl Page {
    /// Reads what is wanted of pieces that follow each other.
    ///
    /// # Errors
    /// When the first record that is wanted cannot be shown. Of later ones the next page tells.
    pub(crate) fn read(stored: &[Stored], wanted: &Wanted) -> Result<Page, Stop> {
        let mut page = Page { json: Vec::new(), count: 0, next: wanted.from };
        for (base, bytes) in stored {
            // What several streams share says where one of them has it, and stands alone.
            let mut base = Some(*base);
            for found in piece::walk(bytes) {
                let (head, range) = found.map_err(|error| Stop::Unreadable(page.next, error.to_string()))?;
                let base = base.take().unwrap_or(head.base);
                let full = match head.form {
                    _ if head.is_control() => Ok(false),
                    Form::Batch => page.add(base, &Batch::checked(bytes.slice(range)), wanted),
                    Form::Message => Err(Stop::Unreadable(base, "a message of another protocol".into())),
                };
                match full {
                    Ok(false) => page.next = page.next.max(base.plus(u64::from(head.count))),
                    Ok(true) => return Ok(page),
                    Err(_) if page.count > 0 => return Ok(page),
                    Err(stop) => return Err(stop),
                }
            }
        }
        Ok(page)
    }

    /// Adds the records of a batch. Returns whether the page is full.
    fn add(&mut self, base: Offset, batch: &Batch, wanted: &Wanted) -> Result<bool, Stop> {
        let stop = |next: Offset, error: RecordError| match error {
            RecordError::TooLarge { .. } => Stop::TooLarge(next),
            error => Stop::Unreadable(next, error.to_string()),
        };
        if batch.record_count() == 0 {
            // Compaction left nothing.
            return Ok(false);
        }
        let from = i32::try_from(wanted.from.since(base)).unwrap_or(i32::MAX);
        let reader = Reader::open(batch, from, wanted.record_bytes_max, limit::PIECE_DECOMPRESSED_BYTES_MAX);
        for record in reader.map_err(|error| stop(self.next, error))? {
            let record = record.map_err(|error| stop(self.next, error))?;
            let offset = base.plus(u64::try_from(record.offset_delta).unwrap_or(0));
            if self.count == wanted.count_max {
                return Ok(true);
            }
            let record = shown(batch, offset, record, wanted.encoding);
            let room = if self.count == 0 { wanted.record_bytes_max } else { wanted.bytes_max };
            if !self.push(&record, room) {
                return if self.count == 0 { Err(Stop::TooLarge(offset)) } else { Ok(true) };
            }
            self.next = offset.plus(1);
        }
        Ok(false)
    }

    /// Adds a record if there is room for it in so many bytes.
    fn push(&mut self, record: &Record, room: usize) -> bool {
        let before = self.json.len();
        let mut out = Bounded { bytes: &mut self.json, most: room };
        let comma: &[u8] = if self.count > 0 { b"," } else { b"" };
        let written = out.write_all(comma).is_ok() && serde_json::to_writer(&mut out, record).is_ok();
        if written {
            self.count += 1;
        } else {
            self.json.truncate(before);
        }
        written
    }
}

/// Takes no more bytes than there is room for.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    most: usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shown(batch: &Batch, offset: Offset, record: batch::Record, encoding: Encoding) -> Record {
    let (timestamp, timestamp_type) = if batch.has_append_time() {
        (batch.max_timestamp(), TimestampType::Append)
    } else {
        (batch.base_timestamp().saturating_add(record.timestamp_delta), TimestampType::Create)
    };
    let header = |header: batch::Header| Header {
        name: String::from_utf8_lossy(&header.key).into_owned(),
        value: header.value.map(|value| data(&value, encoding)),
    };
    Record {
        offset: offset.0,
        timestamp,
        timestamp_type,
        key: record.key.map(|key| data(&key, encoding)),
        value: record.value.map(|value| data(&value, encoding)),
        headers: record.headers.into_iter().map(header).collect(),
    }
}

fn data(bytes: &Bytes, encoding: Encoding) -> Data {
    let readable = |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    match encoding {
        Encoding::Text => Data::Text(String::from_utf8_lossy(bytes).into_owned()),
        Encoding::Base64 => Data::Base64(bytes.to_vec()),
        Encoding::Auto => match std::str::from_utf8(bytes).ok().filter(readable) {
            Some(text) => Data::Text(text.to_owned()),
            None => Data::Base64(bytes.to_vec()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batch::{BatchBuilder, Compression};
    use model::LeaderEpoch;

    const WANTED: Wanted = Wanted {
        from: Offset(0),
        count_max: 100,
        bytes_max: 10_000,
        record_bytes_max: 5_000,
        encoding: Encoding::Auto,
    };

    fn stored(base: u64, values: &[&[u8]]) -> Stored {
        let record = |(nth, value): (usize, &&[u8])| batch::Record {
            offset_delta: nth as i32,
            value: Some(Bytes::copy_from_slice(value)),
            ..batch::Record::default()
        };
        let records = values.iter().enumerate().map(record).collect();
        let builder = BatchBuilder { base_offset: base as i64, base_timestamp: 7, records, ..BatchBuilder::default() };
        (Offset(base), builder.encode())
    }

    fn compressed((base, bytes): Stored, codec: Compression) -> Stored {
        (base, Batch::checked(bytes).compressed(codec, 1 << 20).unwrap().into_bytes())
    }

    fn records(page: &Page) -> Vec<Record> {
        serde_json::from_str(&format!("[{}]", String::from_utf8(page.json.clone()).unwrap())).unwrap()
    }

    fn offsets(page: &Page) -> Vec<u64> {
        records(page).iter().map(|record| record.offset).collect()
    }

    #[test]
    fn records_from_an_offset_on_as_many_as_are_wanted() {
        let stored = [stored(10, &[b"a", b"b", b"c"]), compressed(stored(13, &[b"d", b"e"]), Compression::Zstd)];
        let page = |from, count_max| Page::read(&stored, &Wanted { from: Offset(from), count_max, ..WANTED }).unwrap();
        let all = page(11, 100);
        assert_eq!((offsets(&all), all.next), (vec![11, 12, 13, 14], Offset(15)));
        let some = page(11, 2);
        assert_eq!((offsets(&some), some.next), (vec![11, 12], Offset(13)));
        let more = page(some.next.0, 1);
        assert_eq!((offsets(&more), more.next), (vec![13], Offset(14)));
        assert_eq!(records(&more)[0].timestamp, 7);
    }

    #[test]
    fn an_answer_is_bounded_in_bytes_and_has_one_record_at_least() {
        let value = vec![b'x'; 1000];
        let stored = [stored(0, &[&value, &value, &value, &value])];
        let page = |bytes_max| Page::read(&stored, &Wanted { bytes_max, ..WANTED }).unwrap();
        assert_eq!(page(1).next, Offset(1));
        assert_eq!(page(2500).next, Offset(2));
        assert!(page(2500).json.len() <= 2500);
        assert_eq!(page(100_000).next, Offset(4));
    }

    #[test]
    fn a_record_that_is_too_large_stops_the_page_before_it() {
        let (small, large) = (vec![b'x'; 10], vec![b'x'; 6000]);
        for codec in [Compression::None, Compression::Gzip] {
            let stored = [compressed(stored(0, &[&small, &large, &small]), codec)];
            let page = |from| Page::read(&stored, &Wanted { from: Offset(from), ..WANTED });
            assert_eq!(page(0).unwrap().next, Offset(1));
            assert_eq!(page(1), Err(Stop::TooLarge(Offset(1))), "{codec:?}");
            assert_eq!(page(2).unwrap().next, Offset(3), "what is not wanted may be as large as it likes");
        }
        // Escaped, a little becomes much.
        let stored = [stored(0, &[&[1u8; 2000]])];
        let text = Wanted { encoding: Encoding::Text, ..WANTED };
        assert_eq!(Page::read(&stored, &text), Err(Stop::TooLarge(Offset(0))));
    }

    #[test]
    fn what_compaction_left_empty_and_markers_are_passed() {
        let empty = Bytes::from(piece::empty(Offset(5), 3, LeaderEpoch(0)));
        let control = {
            let records = vec![batch::Record::default()];
            BatchBuilder { base_offset: 8, attributes: 0b110_0000 & !(1 << 6), records, ..BatchBuilder::default() }
        };
        let stored = [(Offset(5), empty), (Offset(8), control.encode()), stored(9, &[b"x"])];
        let page = Page::read(&stored, &Wanted { from: Offset(5), ..WANTED }).unwrap();
        assert_eq!((offsets(&page), page.next), (vec![9], Offset(10)));
        let nothing = Page::read(&stored[..2], &Wanted { from: Offset(5), ..WANTED }).unwrap();
        assert_eq!((nothing.count, nothing.next), (0, Offset(9)));
    }

    #[test]
    fn bytes_are_shown_as_is_asked() {
        let show = |bytes: &'static [u8], encoding| data(&Bytes::from_static(bytes), encoding);
        let text = |text: &str| Data::Text(text.into());
        assert_eq!(show("grüße\t\r\n".as_bytes(), Encoding::Auto), text("grüße\t\r\n"));
        for bytes in [&b"\0"[..], b"\x1b[31m", b"\x7f", b"\xff", b"\xc2\x80"] {
            assert_eq!(show(bytes, Encoding::Auto), Data::Base64(bytes.to_vec()));
        }
        assert_eq!(show(b"a\xffb", Encoding::Text), text("a\u{fffd}b"));
        assert_eq!(show(b"a", Encoding::Base64), Data::Base64(b"a".to_vec()));
    }
}
