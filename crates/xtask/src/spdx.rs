//! As much of SPDX licence expressions as manifests use: `OR`, `AND`, `WITH`, parentheses, and the
//! old `A/B` for a choice.

/// Whether somebody who accepts the licences that `accepts` says yes to can use the work.
///
/// `Err` says why the expression cannot be read; an unreadable licence is not an allowed one.
pub(crate) fn satisfied(expression: &str, accepts: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let words = words(expression);
    let mut reader = Reader { words: &words, accepts };
    let answer = reader.choice()?;
    match reader.words {
        [] => Ok(answer),
        [extra, ..] => Err(format!("unexpected `{extra}` in licence `{expression}`")),
    }
}

fn words(expression: &str) -> Vec<String> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// A recursive descent, one method per level of binding: `OR` binds least, `WITH` most.
struct Reader<'a> {
    words: &'a [String],
    accepts: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn choice(&mut self) -> Result<bool, String> {
        let mut any = self.all()?;
        while self.skip("OR") {
            any |= self.all()?;
        }
        Ok(any)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut every = self.one()?;
        while self.skip("AND") {
            every &= self.one()?;
        }
        Ok(every)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.skip("(") {
            let inner = self.choice()?;
            return match self.skip(")") {
                true => Ok(inner),
                false => Err("a parenthesis is not closed in the licence".to_owned()),
            };
        }
        let mut id = self.id()?;
        if self.skip("WITH") {
            id = format!("{id} WITH {}", self.id()?);
        }
        Ok((self.accepts)(&id))
    }

    fn id(&mut self) -> Result<String, String> {
        match self.words {
            [word, rest @ ..] if !matches!(word.as_str(), "OR" | "AND" | "WITH" | "(" | ")") => {
                self.words = rest;
                Ok(word.clone())
            }
            [word, ..] => Err(format!("`{word}` stands where a licence should")),
            [] => Err("the licence ends too early".to_owned()),
        }
    }

    fn skip(&mut self, expected: &str) -> bool {
        match self.words {
            [word, rest @ ..] if word == expected => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(expression: &str) -> Result<bool, String> {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        satisfied(expression, &|id| allowed.contains(&id))
    }

    #[test]
    fn one_of_a_choice_is_enough() {
        assert_eq!(ok("MIT"), Ok(true));
        assert_eq!(ok("GPL-3.0"), Ok(false));
        assert_eq!(ok("GPL-3.0 OR MIT"), Ok(true));
        assert_eq!(ok("MIT/GPL-3.0"), Ok(true));
        assert_eq!(ok("GPL-3.0 / LGPL-3.0"), Ok(false));
    }

    #[test]
    fn all_of_a_conjunction_are_needed() {
        assert_eq!(ok("MIT AND Unicode-3.0"), Ok(true));
        assert_eq!(ok("MIT AND GPL-3.0"), Ok(false));
        assert_eq!(ok("(MIT OR GPL-3.0) AND Unicode-3.0"), Ok(true));
    }

    #[test]
    fn and_binds_before_or() {
        assert_eq!(ok("MIT OR Apache-2.0 AND GPL-3.0"), Ok(true));
        assert_eq!(ok("(MIT OR Apache-2.0) AND GPL-3.0"), Ok(false));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert_eq!(ok("Apache-2.0 WITH LLVM-exception"), Ok(true));
        assert_eq!(ok("MIT WITH LLVM-exception"), Ok(false));
        assert_eq!(ok("Apache-2.0 WITH LLVM-exception OR GPL-3.0"), Ok(true));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for broken in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT Apache-2.0"] {
            assert!(ok(broken).is_err(), "{broken:?}");
        }
    }
}
