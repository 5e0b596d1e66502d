//! What a member was assigned, as far as it is in the form that all of Kafka's consumers share
//! (`ConsumerProtocolAssignment`).
//!
//! ```text
//! i16  version, not negative
//! i32  count of topics, and each: i16 length, UTF-8, i32 count of partitions, and each: i32
//! ...  more, which is the assignor's
//! ```

use std::collections::BTreeMap;

/// The partitions of each topic in a member's assignment; `None` when it has another form.
#[must_use]
pub fn partitions(assignment: &[u8]) -> Option<BTreeMap<String, Vec<u32>>> {
    let mut rest = assignment;
    if i16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?) < 0 {
        return None;
    }
    let mut topics = BTreeMap::<String, Vec<u32>>::new();
    // Every topic takes six bytes and every partition four, so what remains bounds both counts.
    for _ in 0..number(&mut rest)? {
        let length = i16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
        let name = rest.split_off(..usize::try_from(length).ok()?)?;
        let partitions = topics.entry(std::str::from_utf8(name).ok()?.to_owned()).or_default();
        for _ in 0..number(&mut rest)? {
            partitions.push(number(&mut rest)?);
        }
    }
    Some(topics)
}

/// A number that is not negative.
fn number(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(i32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASSIGNMENT: &[u8] = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x02bb\0\0\0\0\0\0\0\0";

    #[test]
    fn topics_and_partitions_are_read_and_what_follows_is_not() {
        let expected = BTreeMap::from([("a".to_owned(), vec![0, 5]), ("bb".to_owned(), vec![])]);
        assert_eq!(partitions(ASSIGNMENT), Some(expected));
    }

    #[test]
    fn other_forms_are_none() {
        for cut in 0..ASSIGNMENT.len() - 4 {
            assert_eq!(partitions(&ASSIGNMENT[..cut]), None, "{cut}");
        }
        assert_eq!(partitions(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(partitions(b"\0\0\x7f\xff\xff\xff"), None);
        assert_eq!(partitions(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01\xff\xff\xff\xff"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = partitions(&bytes);
        }
    }
}
