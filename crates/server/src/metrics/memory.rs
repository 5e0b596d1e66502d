//! The memory for requests and answers.

use super::family::{Family, Number};
use broker::Memory;
use broker::memory::Pool;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

const LABELS: &[&str] = &["pool"];

type Read = fn(&Pool) -> Number;

const NUMBERS: &[(Family, Read)] = &[
    (Family::gauge("memory_used_bytes", LABELS, "Bytes of requests and answers"), |pool| pool.used().into()),
    (Family::gauge("memory_limit_bytes", LABELS, "Bytes that they may take"), |pool| pool.limit().into()),
    (Family::gauge("memory_waiting", LABELS, "Connections and readers that wait for memory"), |pool| {
        (pool.waiting() as u64).into()
    }),
];

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    NUMBERS.iter().map(|(family, _)| family)
}

pub(super) fn encode(memory: Option<&Memory>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (family, read) in NUMBERS {
        let mut samples = family.begin(encoder)?;
        for (name, pool) in memory.iter().flat_map(|memory| memory.pools()) {
            samples.number(&[name], read(pool))?;
        }
    }
    Ok(())
}
