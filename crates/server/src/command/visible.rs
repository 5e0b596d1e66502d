//! Text from others, made safe for a terminal.
//!
//! A record, a name or a message may hold what a terminal would obey: move the cursor, change the title,
//! type into the shell. None of that reaches one raw.

use std::borrow::Cow;

/// The first of Unicode's pictures of control characters, in their order.
const PICTURES: u32 = 0x2400;
const PICTURE_OF_DELETE: char = '\u{2421}';

/// `text` on one line: whatever a terminal would obey has become a picture of it.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    replace(text, |_| false)
}

/// `text` as it was laid out: line breaks and tabs stay, the rest is as in [`line`].
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| matches!(c, '\n' | '\t'))
}

fn replace(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(|c| is_obeyed(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_obeyed(c) && !stays(c) { picture(c) } else { c }).collect())
}

/// Control characters, and those that turn the direction of what follows, which can make a line look like
/// another one.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn picture(c: char) -> char {
    match c {
        '\0'..' ' => char::from_u32(PICTURES + c as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => PICTURE_OF_DELETE,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// A line of JSON in which nothing is left that a terminal would obey. It means the same: JSON's own
/// escapes leave out the upper control characters and delete.
pub(crate) fn json(text: String) -> String {
    if !text.contains(is_obeyed) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Line breaks between members are the only ones that JSON has not escaped already.
        if is_obeyed(c) && c != '\n' {
            safe += &format!("\\u{:04x}", c as u32);
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_touched() {
        assert!(matches!(line("Grüße, 世界 🚀"), Cow::Borrowed(_)));
        assert!(matches!(lines("a\tb\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_terminal_obeys_is_shown_as_a_picture() {
        assert_eq!(line("\x1b]0;title\x07\x1b[2J"), "␛]0;title␇␛[2J");
        assert_eq!(line("a\r\nb\tc\x7f"), "a␍␊b␉c␡");
        assert_eq!(lines("a\r\nb\tc\x7f"), "a␍\nb\tc␡");
        // The eight-bit form of ESC [, and text that turns around.
        assert_eq!(line("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(line("abc\u{202e}fed"), "abc\u{fffd}fed");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "a": "\u{9b}31m\x7f\x1b[0m\u{202e}", "b": "ü" });
        let safe = json(value.to_string());
        assert!(!safe.contains(is_obeyed), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        let pretty = json(format!("{value:#}"));
        assert!(pretty.contains('\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty).unwrap(), value);
    }
}
