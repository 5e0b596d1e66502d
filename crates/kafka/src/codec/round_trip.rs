//! Every message in every version: what is written is read again, and reading is the inverse.

use super::api_key::{ApiKey, for_each_api};
use super::message::{Message, Request, form};
use super::primitive::Wire;
use super::reader::Reader;
use super::sample::Seed;
use super::writer::Writer;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

pub(crate) fn encoded(message: &impl Message, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut Writer::new(&mut bytes), version);
    bytes.freeze()
}

pub(crate) fn sampled<M: Message + Wire>(seed: u64, version: i16) -> M {
    M::sample(&mut Seed(seed), form::<M>(version))
}

fn check<M: Message + Wire + PartialEq + std::fmt::Debug>(seed: u64) {
    for version in M::VERSIONS.iter() {
        let message: M = sampled(seed, version);
        let bytes = encoded(&message, version);
        let mut reader = Reader::new(bytes.clone());
        let again = M::decode(&mut reader, version).unwrap();
        reader.finish().unwrap();
        assert_eq!(again, message, "{} {version}", M::NAME);
        assert_eq!(encoded(&again, version), bytes, "{} {version}", M::NAME);
    }
}

macro_rules! check_each {
    ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(
                #[test]
                fn $module(seed: u64) {
                    check::<super::$module::$request>(seed);
                    check::<super::$module::$response>(seed);
                }
            )*
        }

        #[test]
        fn declarations_agree_with_the_table() {
            $(
                let api = ApiKey::$api;
                assert_eq!(concat!(stringify!($api), "Request"), <super::$module::$request as Message>::NAME);
                assert_eq!(concat!(stringify!($api), "Response"), <super::$module::$response as Message>::NAME);
                assert_eq!(api.number(), <super::$module::$request as Request>::KEY);
                assert_eq!(ApiKey::try_from(api.number()), Ok(api));
            )*
            assert!(ApiKey::ALL.is_sorted());
            assert_eq!(ApiKey::try_from(4), Err(4));
        }
    };
}

for_each_api!(check_each);
