//! The fuzz target that reads the configuration, for a moment, on ordinary Rust. It is in `tests/fuzz`; what it
//! begins with is made here, because of a program nobody outside of it can take a part. Those of the command line
//! are in [`crate::command`].

use crate::setting::{SETTINGS, Setting};
use crate::{configuration_file, setting};

#[path = "../tests/fuzz/configuration.rs"]
mod configuration;
#[path = "../../model/tests/seeds/mod.rs"]
pub(crate) mod seeds;

/// A file with every setting, as it is by default.
fn file() -> String {
    let line = |setting: &Setting| {
        let bare = setting.default.parse::<f64>().is_ok() || setting.default.parse::<bool>().is_ok();
        let quote = if bare { "" } else { "\"" };
        format!("{} = {quote}{}{quote}\n", setting.key, setting.default)
    };
    SETTINGS.iter().map(line).collect()
}

#[test]
fn every_setting_and_what_is_none() {
    let file = file();
    let contents = configuration_file::Contents::read("a.toml", &file);
    assert_eq!(contents.problems, Vec::<String>::new(), "it is what it is meant to be");
    assert_eq!(contents.given.len(), SETTINGS.len());
    let texts = [
        file.as_str(),
        "[listen]\nkafka = \"off\"\nhttp = \"[::1]:8080\"\n[topics.defaults]\nretention.ms = 5\ncleanup.policy = \"compact,delete\"\n",
        "limits = { connections = 5, memory = \"1GiB\", idle-second = 7 }\n\"log.level\" = \"info,a=debug\"\nlog.retention.ms = 1\n",
        "x = [1, 1979-05-27, { y = 0x1F }]\n\"\\u0007\" = '''\na'''",
        "broker.example.com:9092",
        "64MiB",
    ];
    let seeds: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds::play(env!("CARGO_MANIFEST_DIR"), "configuration", &seeds, configuration::run);
}
