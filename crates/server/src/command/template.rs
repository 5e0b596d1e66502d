//! The form that `consume --format` gives: text with names of parts in braces.

use super::nearest;

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Topic,
    Partition,
    Offset,
    /// In UTC, as RFC 3339 has it.
    Timestamp,
    /// Milliseconds since 1970.
    Millis,
    Key,
    Value,
    Headers,
}

const NAMES: [(&str, Part); 8] = [
    ("topic", Part::Topic),
    ("partition", Part::Partition),
    ("offset", Part::Offset),
    ("timestamp", Part::Timestamp),
    ("millis", Part::Millis),
    ("key", Part::Key),
    ("value", Part::Value),
    ("headers", Part::Headers),
];

/// What stands between parts, and parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Part(Part),
}

/// A form for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) Vec<Piece>);

impl Template {
    /// Reads `{offset}\t{value}`: names in braces, and backslashes as in [`unescape`]. Doubled braces are
    /// braces.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain += &rest[..at];
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                plain += brace;
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!("a brace stands alone in {text:?}: write two for one"));
            };
            pieces.push(Piece::Text(unescape(&plain)?));
            plain.clear();
            pieces.push(Piece::Part(part(name)?));
            rest = after;
        }
        pieces.push(Piece::Text(unescape(&(plain + rest))?));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Template(pieces))
    }
}

fn part(name: &str) -> Result<Part, String> {
    if let Some((_, part)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*part);
    }
    let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
    let hint = nearest::hint(name, names.iter().copied());
    let end = if hint.is_empty() { "." } else { "" };
    Err(format!("a record has no {name:?}{hint}{end} There are: {}", names.join(", ")))
}

/// Reads `\n`, `\t`, `\r`, `\0` and `\\` as in most languages.
pub(crate) fn unescape(text: &str) -> Result<String, String> {
    let mut read = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            read.push(c);
            continue;
        }
        read.push(match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('0') => '\0',
            Some('\\') => '\\',
            Some(other) => return Err(format!("\\{other} means nothing; there are \\n, \\t, \\r, \\0 and \\\\")),
            None => return Err("a backslash stands at the end: write two for one".into()),
        });
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn names_in_braces_are_parts() {
        let Template(pieces) = Template::parse(r"{offset}\t{{{key}}}={value}\n").unwrap();
        assert_eq!(
            pieces,
            [
                Piece::Part(Part::Offset),
                text("\t{"),
                Piece::Part(Part::Key),
                text("}="),
                Piece::Part(Part::Value),
                text("\n"),
            ]
        );
        assert_eq!(Template::parse("plain").unwrap(), Template(vec![text("plain")]));
        assert_eq!(Template::parse("").unwrap(), Template(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_explained() {
        for (text, part) in [
            ("{offest}", "a record has no \"offest\", did you mean 'offset'?"),
            ("{xyzzy}", "a record has no \"xyzzy\". There are: topic, partition, offset,"),
            ("{key", "a brace stands alone"),
            ("key}", "a brace stands alone"),
            (r"\x", "means nothing"),
            (r"\", "at the end"),
        ] {
            let refused = Template::parse(text).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn backslashes_are_read() {
        assert_eq!(unescape(r"a\tb\\n\0").as_deref(), Ok("a\tb\\n\0"));
    }
}
