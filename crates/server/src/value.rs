//! What the value of a setting can be, how it is written, and how it is shown.

use model::limit;
use serde_json::json;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

const AUTO: &str = "auto";
const OFF: &str = "off";
/// Bytes of a host's name: what the domain name system allows.
const HOST_BYTES_MAX: usize = 253;
/// Largest first, so that the first that divides a size is the shortest way to write it.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Which values a setting takes.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The path of a folder.
    Folder,
    /// The path of a file, or `off`.
    File,
    /// The address of a listener, or `off`.
    Listener,
    /// What can be connected to, or a word instead.
    Endpoint { otherwise: Value },
    /// A number in a range; `auto` too if it says so.
    Count { least: u64, most: u64, auto: bool },
    /// Bytes, with or without a unit; `auto` too if it says so.
    Size { least: u64, most: u64, auto: bool },
    /// True or false.
    Switch,
    /// What nodes that fail together have in common, or `off`.
    Rack,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// What is logged: a level, and levels of targets.
    Filter,
    /// What this setting of a topic takes.
    OfTopic(&'static broker::setting::Setting),
}

/// A value that a setting may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The program chooses.
    Auto,
    /// There is none.
    Off,
    Folder(PathBuf),
    File(PathBuf),
    Address(SocketAddr),
    Endpoint(Endpoint),
    Count(u64),
    Size(u64),
    Switch(bool),
    Rack(String),
    Choice(&'static str),
    Filter(String),
    /// As topics are set to it.
    OfTopic(String),
}

/// A host and a port that a client can connect to. An IPv6 address is without its brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Kind {
    /// What is expected, to follow the word "expected".
    pub(crate) fn expected(&self) -> String {
        match self {
            Kind::Folder => "the path of a folder".into(),
            Kind::File => format!("the path of a file, or {OFF}"),
            Kind::Listener => format!("ADDRESS:PORT, such as 127.0.0.1:9092 or [::1]:9092, or {OFF}"),
            Kind::Endpoint { otherwise: Value::Off } => {
                format!("HOST:PORT where another node has listen.peer, such as broker.example.com:9190, or {OFF}")
            }
            Kind::Endpoint { otherwise } => format!("HOST:PORT, such as broker.example.com:9092, or {otherwise}"),
            Kind::Count { least, most, auto: true } => format!("a number from {least} to {most}, or {AUTO}"),
            Kind::Count { least, most, auto: false } => format!("a number from {least} to {most}"),
            Kind::Size { least, most, auto } => {
                let (least, most) = (Value::Size(*least), Value::Size(*most));
                let or_auto = if *auto { format!(", or {AUTO}") } else { String::new() };
                format!("bytes such as 67108864, 64MiB or 1GiB, from {least} to {most}{or_auto}")
            }
            Kind::Switch => "true or false".into(),
            Kind::Rack => {
                format!("a name of up to {} bytes without spaces, such as eu-1a, or {OFF}", limit::NODE_NAME_BYTES_MAX)
            }
            Kind::Choice(words) => words.join(" or "),
            Kind::Filter => "a level (error, warn, info, debug, trace, off), \
                             or that and TARGET=LEVEL with commas between"
                .into(),
            Kind::OfTopic(topic) => topic.kind.expected(),
        }
    }

    /// What stands for the value in the help.
    pub(crate) fn placeholder(&self) -> String {
        match self {
            Kind::Folder => "FOLDER".into(),
            Kind::File => format!("FILE|{OFF}"),
            Kind::Listener => format!("ADDRESS:PORT|{OFF}"),
            Kind::Endpoint { otherwise: Value::Off } => format!("HOST:PORT|{OFF}"),
            Kind::Endpoint { .. } => "HOST:PORT".into(),
            Kind::Count { .. } => "COUNT".into(),
            Kind::Size { .. } => "BYTES".into(),
            Kind::Switch => "true|false".into(),
            Kind::Rack => format!("NAME|{OFF}"),
            Kind::Choice(words) => words.join("|"),
            Kind::Filter => "LEVEL".into(),
            Kind::OfTopic(_) => "VALUE".into(),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with `text`, which is quoted.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        let wrong = |why: &str| Err(format!("{text:?} {why}"));
        match self {
            _ if text.is_empty() => wrong("is empty"),
            Kind::Folder => Ok(Value::Folder(text.into())),
            Kind::File if text == OFF => Ok(Value::Off),
            Kind::File => Ok(Value::File(text.into())),
            Kind::Listener if text == OFF => Ok(Value::Off),
            Kind::Listener => text.parse().map(Value::Address).or_else(|_| wrong(why_no_address(text))),
            Kind::Endpoint { otherwise } if text == otherwise.to_string() => Ok(otherwise.clone()),
            Kind::Endpoint { .. } => endpoint(text).map(Value::Endpoint).or_else(wrong),
            Kind::Count { auto: true, .. } if text == AUTO => Ok(Value::Auto),
            Kind::Count { least, most, .. } => match text.parse() {
                Ok(count) if (*least..=*most).contains(&count) => Ok(Value::Count(count)),
                Ok(count) if count < *least => wrong("is too little"),
                Ok(_) => wrong("is too much"),
                Err(_) => wrong("is no such number"),
            },
            Kind::Size { auto: true, .. } if text == AUTO => Ok(Value::Auto),
            Kind::Size { least, most, .. } => match size(text) {
                Some(bytes) if (*least..=*most).contains(&bytes) => Ok(Value::Size(bytes)),
                Some(bytes) if bytes < *least => wrong("is too little"),
                Some(_) => wrong("is too much"),
                None => wrong("is no size"),
            },
            Kind::Switch => text.parse().map(Value::Switch).or_else(|_| wrong("is neither")),
            Kind::Rack if text == OFF => Ok(Value::Off),
            Kind::Rack if text.len() > limit::NODE_NAME_BYTES_MAX => wrong("is too long"),
            Kind::Rack if text.contains(|letter: char| letter.is_whitespace() || letter.is_control()) => {
                wrong("has a space in it")
            }
            Kind::Rack => Ok(Value::Rack(text.into())),
            Kind::Choice(words) => match words.iter().find(|word| **word == text) {
                Some(word) => Ok(Value::Choice(word)),
                None => wrong("is none of these"),
            },
            Kind::Filter => match text.split(',').find(|part| is_bare_word(part)) {
                // The library would take it for a target, log all of that, and nothing else.
                Some(_) => wrong("has a word that is no level"),
                None => filter(text).or_else(|why| wrong(&why)),
            },
            Kind::OfTopic(topic) if topic.accepts(text.trim()) => Ok(Value::OfTopic(text.trim().into())),
            Kind::OfTopic(_) => wrong("is no such value"),
        }
    }
}

/// Reads what `RUST_LOG` may hold: as everywhere, a word that is no level is a target.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn filter(text: &str) -> Result<Value, String> {
    EnvFilter::try_new(text).map_err(|error| format!("cannot be read ({error})"))?;
    Ok(Value::Filter(text.into()))
}

fn is_bare_word(part: &str) -> bool {
    !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err()
}

/// A number of bytes, with or without a unit.
fn size(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (count, bytes) = unit.unwrap_or((text, 1));
    count.trim_end().parse::<u64>().ok()?.checked_mul(bytes)
}

fn why_no_address(text: &str) -> &'static str {
    let bare_ipv6 = text.parse::<Ipv6Addr>().is_ok();
    match text.rsplit_once(':') {
        _ if bare_ipv6 => "has no port, or lacks the brackets around its address",
        None if text.parse::<u16>().is_ok() => "has no address",
        None => "has no port",
        Some((_, port)) if port.parse::<u16>().is_err() => "has no port from 0 to 65535",
        Some(("", _)) => "has no address",
        Some((host, _)) if is_host_name(host) => "has a name where a listener needs an address",
        Some(_) => "is no address with a port",
    }
}

/// A host and a port; what is wrong otherwise.
fn endpoint(text: &str) -> Result<Endpoint, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("has no port from 1 to 65535")?;
    let address: Option<IpAddr> = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => Some(host.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address in its brackets")?.into()),
        None if host.parse::<Ipv6Addr>().is_ok() => return Err("lacks the brackets around its address"),
        None => host.parse().ok(),
    };
    let host = match address {
        Some(address) if address.is_unspecified() => return Err("has an address that no client can connect to"),
        Some(address) => address.to_string(),
        None if is_host_name(host) => host.to_owned(),
        None => return Err("has no host"),
    };
    Ok(Endpoint { host, port })
}

/// Whether it could be one. Underscores are not allowed in names of hosts, and used.
fn is_host_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal)
}

impl fmt::Display for Value {
    /// As it is written in the environment or as a flag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Auto => f.write_str(AUTO),
            Value::Off => f.write_str(OFF),
            Value::Folder(path) | Value::File(path) => path.display().fmt(f),
            Value::Address(address) => address.fmt(f),
            Value::Endpoint(endpoint) => endpoint.fmt(f),
            Value::Count(count) => count.fmt(f),
            Value::Size(bytes) => match UNITS.iter().find(|(_, unit)| *bytes > 0 && bytes % unit == 0) {
                Some((name, unit)) => write!(f, "{}{name}", bytes / unit),
                None => bytes.fmt(f),
            },
            Value::Switch(on) => on.fmt(f),
            Value::Choice(word) => f.write_str(word),
            Value::Rack(text) | Value::Filter(text) | Value::OfTopic(text) => f.write_str(text),
        }
    }
}

impl Value {
    /// For scripts: numbers are numbers, sizes are bytes.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Count(number) | Value::Size(number) => json!(number),
            Value::Switch(on) => json!(on),
            Value::OfTopic(text) => {
                let whole = text.parse::<i64>().map(|number| json!(number));
                whole.or_else(|_| text.parse::<f64>().map(|number| json!(number))).unwrap_or_else(|_| json!(text))
            }
            other => json!(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Kind = Kind::Count { least: 1, most: 64, auto: false };
    const COUNT_OR_AUTO: Kind = Kind::Count { least: 1, most: 64, auto: true };
    const SIZE: Kind = Kind::Size { least: 1 << 20, most: 1 << 40, auto: false };
    const SIZE_OR_AUTO: Kind = Kind::Size { least: 1 << 20, most: 1 << 40, auto: true };
    const ENDPOINT: Kind = Kind::Endpoint { otherwise: Value::Auto };
    const NODE: Kind = Kind::Endpoint { otherwise: Value::Off };
    const CHOICE: Kind = Kind::Choice(&["text", "json"]);

    fn of_topic(name: &str) -> Kind {
        Kind::OfTopic(broker::setting::Setting::named(name).unwrap())
    }

    #[test]
    fn a_value_is_shown_as_it_is_written() {
        for (kind, texts) in [
            (Kind::Folder, &["data", "/var/lib/main stem", "é"] as &[&str]),
            (Kind::File, &["/etc/mainstem/secret", "off"]),
            (Kind::Listener, &["127.0.0.1:9092", "0.0.0.0:0", "[::1]:9092", "off"]),
            (ENDPOINT, &["a.example.com:9092", "10.0.0.1:1", "[fe80::1]:65535", "my_host:9092", "auto"]),
            (NODE, &["a.example.com:9190", "off"]),
            (COUNT, &["1", "64"]),
            (COUNT_OR_AUTO, &["2", "auto"]),
            (SIZE, &["1MiB", "1025KiB", "1048577", "3GiB", "1TiB"]),
            (SIZE_OR_AUTO, &["2MiB", "auto"]),
            (Kind::Switch, &["true", "false"]),
            (Kind::Rack, &["r1", "/dc1/rack7", "zürich", "off"]),
            (CHOICE, &["text", "json"]),
            (Kind::Filter, &["info", "off", "info,openraft=error", "WARN,kafka[span]=trace"]),
            (of_topic("retention.ms"), &["-1", "9223372036854775807"]),
            (of_topic("cleanup.policy"), &["compact", "compact,delete"]),
        ] {
            for text in texts {
                assert_eq!(kind.parse(text).map(|value| value.to_string()).as_deref(), Ok(*text), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_size_is_a_number_of_bytes() {
        for text in ["67108864", "65536KiB", "64MiB", "64 MiB"] {
            assert_eq!(SIZE.parse(text), Ok(Value::Size(64 << 20)));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (kind, text, why) in [
            (Kind::Folder, "", "is empty"),
            (Kind::Listener, "localhost:9092", "has a name where a listener needs an address"),
            (Kind::Listener, "127.0.0.1", "has no port"),
            (Kind::Listener, "127.0.0.1:", "has no port from 0 to 65535"),
            (Kind::Listener, "127.0.0.1:65536", "has no port from 0 to 65535"),
            (Kind::Listener, "::1", "has no port, or lacks the brackets around its address"),
            (Kind::Listener, ":9092", "has no address"),
            (Kind::Listener, "9092", "has no address"),
            (Kind::Listener, "*:9092", "is no address with a port"),
            (Kind::Listener, "OFF", "has no port"),
            (ENDPOINT, "broker", "has no port"),
            (ENDPOINT, "broker:0", "has no port from 1 to 65535"),
            (ENDPOINT, "broker:", "has no port from 1 to 65535"),
            (ENDPOINT, ":9092", "has no host"),
            (ENDPOINT, "kafka://broker:9092", "has no host"),
            (ENDPOINT, "::1:9092", "lacks the brackets around its address"),
            (ENDPOINT, "[broker]:9092", "has no IPv6 address in its brackets"),
            (ENDPOINT, "0.0.0.0:9092", "has an address that no client can connect to"),
            (ENDPOINT, "[::]:9092", "has an address that no client can connect to"),
            // Each word belongs to its setting.
            (ENDPOINT, "off", "has no port"),
            (NODE, "auto", "has no port"),
            (Kind::Rack, "r 1", "has a space in it"),
            (Kind::Rack, "r1\n", "has a space in it"),
            (Kind::Rack, "r\u{0}", "has a space in it"),
            (COUNT, "0", "is too little"),
            (COUNT, "65", "is too much"),
            (COUNT, "-1", "is no such number"),
            (COUNT, "auto", "is no such number"),
            (COUNT_OR_AUTO, "many", "is no such number"),
            (SIZE, "1KiB", "is too little"),
            (SIZE, "auto", "is no size"),
            (SIZE, "2TiB", "is too much"),
            (SIZE, "99999999TiB", "is no size"),
            (SIZE, "64MB", "is no size"),
            (SIZE, "MiB", "is no size"),
            (SIZE, "1.5GiB", "is no size"),
            (Kind::Switch, "yes", "is neither"),
            (CHOICE, "xml", "is none of these"),
            (Kind::Filter, "warning", "has a word that is no level"),
            (Kind::Filter, "info,loud", "has a word that is no level"),
            (of_topic("retention.ms"), "7d", "is no such value"),
            (of_topic("retention.ms"), "-2", "is no such value"),
            (of_topic("cleanup.policy"), "keep", "is no such value"),
        ] {
            assert_eq!(kind.parse(text), Err(format!("{text:?} {why}")), "{kind:?}");
        }
        assert!(Kind::Rack.parse(&"r".repeat(limit::NODE_NAME_BYTES_MAX + 1)).unwrap_err().ends_with("is too long"));
        let error = Kind::Filter.parse("kafka=loud").unwrap_err();
        assert!(error.starts_with("\"kafka=loud\" cannot be read ("), "{error}");
    }

    #[test]
    fn rust_log_may_name_a_target_alone() {
        assert_eq!(filter("kafka"), Ok(Value::Filter("kafka".into())));
        assert!(filter("kafka=loud").is_err());
    }

    #[test]
    fn scripts_get_numbers_and_truths() {
        assert_eq!(SIZE.parse("64MiB").unwrap().to_json(), json!(67_108_864));
        assert_eq!(COUNT_OR_AUTO.parse("2").unwrap().to_json(), json!(2));
        assert_eq!(COUNT_OR_AUTO.parse("auto").unwrap().to_json(), json!("auto"));
        assert_eq!(Kind::Switch.parse("false").unwrap().to_json(), json!(false));
        assert_eq!(Kind::Listener.parse("[::1]:1").unwrap().to_json(), json!("[::1]:1"));
        assert_eq!(of_topic("retention.ms").parse("-1").unwrap().to_json(), json!(-1));
        assert_eq!(of_topic("min.cleanable.dirty.ratio").parse("0.5").unwrap().to_json(), json!(0.5));
        assert_eq!(of_topic("cleanup.policy").parse("compact").unwrap().to_json(), json!("compact"));
    }
}
