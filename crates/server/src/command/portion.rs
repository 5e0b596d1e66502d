//! Records that are written with one request: as many as are worth it, and no more than it can carry.

use admin::shape::{Compression, NewRecord};
use model::limit;

/// Enough for one request. A larger record has a request of its own.
const BYTES_ENOUGH: usize = limit::MIB;
/// What is around the records.
const AROUND_BYTES: usize = 64;

/// Records as JSON, on their way to the broker.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    /// With commas between them.
    json: String,
    count: usize,
    compression: Option<Compression>,
}

impl Portion {
    pub(crate) fn new(compression: Option<Compression>) -> Self {
        Portion { compression, ..Portion::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it is time to write what there is before another record of this size is added.
    pub(crate) fn is_full_for(&self, json: &str) -> bool {
        !self.is_empty()
            && (self.count == limit::ADMIN_RECORDS_WRITTEN_MAX || self.json.len() + json.len() >= BYTES_ENOUGH)
    }

    /// Adds a record that [`spell`] made JSON of.
    pub(crate) fn add(&mut self, json: &str) {
        if !self.is_empty() {
            self.json.push(',');
        }
        self.json += json;
        self.count += 1;
    }

    /// The body of the request, and how many records are in it. Nothing is left.
    pub(crate) fn take(&mut self) -> (Vec<u8>, usize) {
        let compression = self.compression.and_then(|compression| serde_json::to_string(&compression).ok());
        let compression = compression.map_or_else(String::new, |name| format!(",\"compression\":{name}"));
        let body = format!("{{\"records\":[{}]{compression}}}", self.json);
        self.json.clear();
        (body.into_bytes(), std::mem::take(&mut self.count))
    }
}

/// A record as JSON.
///
/// # Errors
/// When no request can carry it.
pub(crate) fn spell(record: &NewRecord) -> Result<String, String> {
    let json = serde_json::to_string(record).map_err(|error| error.to_string())?;
    let most = limit::ADMIN_RECORDS_BODY_BYTES_MAX - AROUND_BYTES;
    if json.len() > most {
        return Err(format!("it takes {} bytes as JSON, and {most} are the most", json.len()));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::{Data, NewRecords};

    fn record(bytes: usize) -> NewRecord {
        NewRecord { value: Some(Data::Text("x".repeat(bytes))), ..NewRecord::default() }
    }

    #[test]
    fn a_portion_is_what_the_server_reads() {
        let mut portion = Portion::new(Some(Compression::Zstd));
        for bytes in [1, 2] {
            portion.add(&spell(&record(bytes)).unwrap());
        }
        let (body, count) = portion.take();
        let read: NewRecords = serde_json::from_slice(&body).unwrap();
        assert_eq!(read.records, [record(1), record(2)]);
        assert_eq!((count, read.compression), (2, Some(Compression::Zstd)));
        assert!(portion.is_empty());
        portion.add("{}");
        let (body, _) = Portion { compression: None, ..portion }.take();
        assert_eq!(body, br#"{"records":[{}]}"#);
    }

    #[test]
    fn it_is_full_by_bytes_or_by_records() {
        let mut portion = Portion::default();
        let large = spell(&record(2 * BYTES_ENOUGH)).unwrap();
        assert!(!portion.is_full_for(&large), "a large record has to go somehow");
        portion.add(&large);
        assert!(portion.is_full_for("{}"));
        portion.take();
        for _ in 0..limit::ADMIN_RECORDS_WRITTEN_MAX {
            assert!(!portion.is_full_for("{}"));
            portion.add("{}");
        }
        assert!(portion.is_full_for("{}"));
    }

    #[test]
    fn what_no_request_can_carry_is_refused() {
        assert!(spell(&record(limit::ADMIN_RECORDS_BODY_BYTES_MAX)).unwrap_err().contains("are the most"));
        let longest = spell(&record(limit::ADMIN_RECORDS_BODY_BYTES_MAX - 2 * AROUND_BYTES)).unwrap();
        let mut portion = Portion::new(Some(Compression::Snappy));
        portion.add(&longest);
        assert!(portion.take().0.len() <= limit::ADMIN_RECORDS_BODY_BYTES_MAX);
    }
}
