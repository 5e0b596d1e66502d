//! Whole numbers in options.

use std::fmt::Display;

/// A reader of numbers from `least` to `most`, which says that these are expected where something else is given.
pub(crate) fn between<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: TryFrom<i128> + Into<i128> + Copy + Display,
{
    move |text| {
        let number = text.parse::<i128>().ok().filter(|number| (least.into()..=most.into()).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

/// A reader of numbers that nothing here bounds.
pub(crate) fn natural(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".to_owned())
}

/// A reader of numbers that may be negative.
pub(crate) fn signed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "expected a whole number, such as 100 or -100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_said() {
        let read = between(1u32, 10);
        assert_eq!((read("1"), read("10")), (Ok(1), Ok(10)));
        for text in ["0", "11", "-1", "", "x", "1.5", "99999999999999999999999999999999999999999999"] {
            assert_eq!(read(text), Err("expected a whole number from 1 to 10".into()), "{text}");
        }
        assert_eq!(natural("18446744073709551615"), Ok(u64::MAX));
        assert!(natural("-1").is_err() && natural("18446744073709551616").is_err());
        assert_eq!(signed("-3"), Ok(-3));
        assert!(signed("x").is_err());
    }
}
