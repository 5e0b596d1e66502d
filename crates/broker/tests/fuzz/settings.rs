//! Settings of a topic as somebody gives them: a line each, a name, an equals sign and a value. What is taken is a
//! value, is stored and comes back, and either means something or is refused.

use broker::Settings;
use broker::setting::{Change, Setting};

/// Each of the ways to give a value.
const CHANGES: [fn(String) -> Change; 3] = [Change::Set, Change::Append, Change::Subtract];

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut settings, none) = (Settings::default(), Settings::default());
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        for change in CHANGES {
            if settings.change(name, &change(value.to_owned()), &none).is_ok() {
                let now = settings.get(name).expect("it was set");
                assert!(Setting::named(name).is_ok_and(|setting| setting.accepts(now)), "{name}={now}");
            }
        }
    }
    let stored = Settings::stored(&settings.pairs());
    assert_eq!(stored, settings);
    let config = settings.config(&none);
    assert_eq!(stored.config(&none), config);
    // Each of them alone is a value, and only these have to fit together.
    assert!(config.is_ok() || settings.get("min.compaction.lag.ms").is_some(), "{config:?}");
}
