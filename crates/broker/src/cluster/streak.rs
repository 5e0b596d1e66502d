//! What is seen several times in a row.

/// What is true for a moment only is left alone: so many looks in a row have to see it.
const LOOKS: u32 = 3;

/// What the last looks saw.
#[derive(Clone, Copy, Debug)]
pub struct Streak<T> {
    seen: Option<(T, u32)>,
}

impl<T> Default for Streak<T> {
    fn default() -> Self {
        Streak { seen: None }
    }
}

impl<T: PartialEq> Streak<T> {
    /// Looks once more. Whether the same was seen for long enough: then it begins anew, so that what comes of it is
    /// seen first.
    pub fn look(&mut self, seen: Option<T>) -> bool {
        let looks = match (&seen, &self.seen) {
            (Some(seen), Some((known, looks))) if seen == known => looks + 1,
            _ => 1,
        };
        self.seen = seen.filter(|_| looks < LOOKS).map(|seen| (seen, looks));
        looks >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_look_in_a_row_counts_and_then_it_begins_anew() {
        let mut streak = Streak::default();
        let seen = [Some(1), Some(1), None, Some(1), Some(1), Some(2), Some(2)].map(|seen| streak.look(seen));
        assert_eq!(seen, [false; 7]);
        assert_eq!([Some(2); 4].map(|seen| streak.look(seen)), [true, false, false, true]);
        assert_eq!([None; 4].map(|seen| streak.look(seen)), [false; 4]);
    }
}
