//! A configuration file, and the same text as the value of each setting. What is taken is taken again as it is
//! shown, and what is not is refused in a line.

use super::configuration_file::Contents;
use super::setting::SETTINGS;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let contents = Contents::read("a.toml", text);
    for (setting, value, line) in &contents.given {
        assert_eq!(setting.parse(&value.to_string()).as_ref(), Ok(value), "{}", setting.key);
        assert!((1..=text.split('\n').count()).contains(line));
    }
    contents.problems.iter().for_each(|problem| check(problem));
    for setting in SETTINGS.iter() {
        match setting.parse(text) {
            Ok(value) => assert_eq!(setting.parse(&value.to_string()), Ok(value), "{}", setting.key),
            Err(wrong) => check(&wrong),
        }
    }
}

fn check(sentence: &str) {
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
}
