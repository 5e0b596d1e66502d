//! What somebody may have meant who misspelt a name.

/// One letter in so many may be wrong, and always one.
const LETTERS_PER_MISTAKE: usize = 3;

/// The one of `names` that is most like `given`, if any is like it at all.
pub(crate) fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = given.chars().count();
    let most = (letters / LETTERS_PER_MISTAKE).max(1);
    let distance = |name: &str| strsim::osa_distance(&given.to_lowercase(), &name.to_lowercase());
    let distances = names.into_iter().map(|name| (distance(name), name));
    // With as many mistakes as letters anything is like anything.
    distances.filter(|(distance, _)| *distance <= most && *distance < letters).min().map(|(_, name)| name)
}

/// `, did you mean 'orders'?`, or nothing.
pub(crate) fn hint<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, names).map_or_else(String::new, |name| format!(", did you mean '{name}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["orders", "orders-eu", "payments", "a"];

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        for (given, meant) in [
            ("ordres", Some("orders")),
            ("Orders", Some("orders")),
            ("orders_eu", Some("orders-eu")),
            ("paymnt", Some("payments")),
            ("invoices", None),
            ("b", None),
            ("as", Some("a")),
            ("axe", None),
            ("olders-uk", Some("orders-eu")),
            ("holder", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, NAMES), meant, "{given}");
        }
        assert_eq!(hint("order", NAMES), ", did you mean 'orders'?");
        assert_eq!(hint("zzz", NAMES), "");
    }
}
