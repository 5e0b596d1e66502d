//! CRC32C, the one checksum of every format here and of Kafka's record batches.

/// CRC32C (Castagnoli) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC32C of the concatenation of `parts`.
#[must_use]
pub fn crc32c_of(parts: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// CRC32C of bytes that come one after the other. A copy goes its own way.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(crc_fast::Digest);

impl Crc32c {
    /// Of no bytes.
    #[must_use]
    pub fn new() -> Self {
        Crc32c(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
    }

    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.finalize() as u32
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut running = Crc32c::new();
        assert_eq!(running.value(), crc32c(b""));
        running.update(b"12345");
        let (before, mut other) = (running.value(), running);
        running.update(b"6789");
        other.update(b"x");
        assert_eq!((before, running.value()), (crc32c(b"12345"), 0xe306_9283));
        assert_eq!(other.value(), crc32c(b"12345x"));
        assert_eq!(crc32c_of(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
