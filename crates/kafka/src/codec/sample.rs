//! Arbitrary field values from a number, so that a failing case is named by that number.

use super::primitive::Uuid;
use super::text::Text;
use bytes::Bytes;

/// A stream of values (SplitMix64).
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> usize {
        (self.bits() % end) as usize
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    pub(crate) fn i8(&mut self) -> i8 {
        self.i64() as i8
    }

    pub(crate) fn i16(&mut self) -> i16 {
        self.i64() as i16
    }

    pub(crate) fn i32(&mut self) -> i32 {
        self.i64() as i32
    }

    /// Of any magnitude, with the values that defaults have among them.
    pub(crate) fn i64(&mut self) -> i64 {
        let value = (self.bits() >> (self.below(64))) as i64;
        if self.bool() { value } else { !value }
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        if self.below(4) == 0 {
            return Uuid::ZERO;
        }
        Uuid((u128::from(self.bits()) << 64 | u128::from(self.bits())).to_be_bytes())
    }

    pub(crate) fn text(&mut self) -> Text {
        // Now and then longer than the compact length of one byte can say.
        let length = if self.below(16) == 0 { 130 } else { self.below(8) };
        let letters = ['a', 'Z', '0', '.', 'é', '人', '🦀', '\0'];
        let text: String = (0..length).map(|_| letters[self.below(8)]).collect();
        Text::from(text)
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        let length = if self.below(16) == 0 { 130 } else { self.below(8) };
        (0..length).map(|_| self.bits() as u8).collect()
    }
}
