//! Which topics the members of a group consume, as far as they say so in the form that all of Kafka's
//! consumers share (`ConsumerProtocolSubscription`).
//!
//! ```text
//! i16  version, not negative
//! i32  count of topics, and each: i16 length, UTF-8
//! ...  more, which says nothing about topics
//! ```

use std::collections::BTreeSet;

/// The protocol type of groups whose members speak that form.
pub(super) const CONSUMER: &str = "consumer";

/// The topics in a member's metadata; none when it has another form.
pub(super) fn topics(metadata: &[u8]) -> BTreeSet<String> {
    parse(metadata).unwrap_or_default()
}

fn parse(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (version, mut rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let count = i32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
    let mut topics = BTreeSet::new();
    // A topic takes two bytes at least, so the count is bounded by what remains.
    for _ in 0..count.max(0) {
        let length = i16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
        let name = rest.split_off(..usize::try_from(length).ok()?)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata(names: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0, 3];
        bytes.extend_from_slice(&(names.len() as i32).to_be_bytes());
        for name in names {
            bytes.extend_from_slice(&(name.len() as i16).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }

    #[test]
    fn topics_are_read_and_what_follows_is_not() {
        let names: BTreeSet<String> = ["a".to_owned(), "topic".to_owned()].into();
        assert_eq!(topics(&[&metadata(&["topic", "a"])[..], b"user data"].concat()), names);
    }

    #[test]
    fn other_forms_name_no_topic() {
        let good = metadata(&["topic"]);
        for cut in 0..good.len() {
            assert_eq!(topics(&good[..cut]), BTreeSet::new(), "{cut}");
        }
        assert_eq!(topics(&[&[0xff, 0xff][..], &good[2..]].concat()), BTreeSet::new());
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), BTreeSet::new());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            topics(&bytes);
        }
    }
}
