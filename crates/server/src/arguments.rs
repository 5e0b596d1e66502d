//! The command line.

use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// One broker for every kind of messaging.
#[derive(Debug, Parser)]
#[command(name = "mainstem", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the broker. This is what happens without a command, too.
    Serve(ServeOptions),
    /// Skip entries that stop a shard, as the last resort: what they carried is lost. The node must not
    /// run. Skip them on every node that has the shard. The decision is kept in the data folder and
    /// logged at every start
    SkipEntry(SkipOptions),
}

#[derive(Debug, Args)]
pub(crate) struct SkipOptions {
    /// Where everything is kept.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// The shard, as the log names it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) shard: u32,
    /// The entry's index, as the log names it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) index: u64,
    /// The last of several entries, of which --index is the first
    #[arg(long, value_name = "NUMBER")]
    pub(crate) last: Option<u64>,
    /// Why, for whoever reads the log later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

impl Default for Command {
    fn default() -> Self {
        Command::Serve(ServeOptions::default())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Where everything is kept.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// A protocol and the address it listens on, as PROTOCOL=ADDRESS:PORT. Port 0 picks a free one.
    /// Protocols: kafka (127.0.0.1:9092 unless given), http (127.0.0.1:8080 unless given).
    #[arg(long = "listen", value_name = "PROTOCOL=ADDRESS:PORT")]
    pub(crate) listeners: Vec<ListenerOption>,
    /// How many shards a new data folder gets. By default as many as there are processors.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) shards: Option<u32>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        ServeOptions { data_dir: PathBuf::from("data"), listeners: Vec::new(), shards: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Kafka,
    Http,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 2] = [Protocol::Kafka, Protocol::Http];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Kafka => "kafka",
            Protocol::Http => "http",
        }
    }

    fn standard_port(self) -> u16 {
        match self {
            Protocol::Kafka => 9092,
            Protocol::Http => 8080,
        }
    }
}

/// `kafka=127.0.0.1:9092`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerOption {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
}

impl fmt::Display for ListenerOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.protocol.name(), self.address)
    }
}

impl FromStr for ListenerOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, address)) = text.split_once('=') else {
            return Err("expected PROTOCOL=ADDRESS:PORT, such as kafka=127.0.0.1:9092".into());
        };
        let names: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name()).collect();
        let protocol = Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name() == name)
            .ok_or_else(|| format!("no protocol is called '{name}'; there are: {}", names.join(", ")))?;
        let address =
            address.parse().map_err(|_| format!("'{address}' is not ADDRESS:PORT, such as 127.0.0.1:9092"))?;
        Ok(ListenerOption { protocol, address })
    }
}

impl ServeOptions {
    /// A listener for a protocol that has one already: one of the two would be left out without a word.
    pub(crate) fn repeated(&self) -> Option<ListenerOption> {
        let repeats = |(nth, listener): &(usize, &ListenerOption)| {
            self.listeners[..*nth].iter().any(|earlier| earlier.protocol == listener.protocol)
        };
        self.listeners.iter().enumerate().find(repeats).map(|(_, listener)| *listener)
    }

    /// The address of `protocol`: as given, or its standard port on loopback.
    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        let given = self.listeners.iter().find(|listener| listener.protocol == protocol);
        given.map_or(SocketAddr::from(([127, 0, 0, 1], protocol.standard_port())), |listener| listener.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_protocol_listens_once() {
        let options = |listeners: &[&str]| {
            let listeners = listeners.iter().map(|listener| listener.parse().unwrap()).collect();
            ServeOptions { listeners, ..ServeOptions::default() }
        };
        assert_eq!(options(&["kafka=127.0.0.1:1", "http=127.0.0.1:2"]).repeated(), None);
        let repeated = options(&["kafka=127.0.0.1:1", "http=127.0.0.1:2", "kafka=127.0.0.1:3"]).repeated();
        assert_eq!(repeated.map(|listener| listener.to_string()).as_deref(), Some("kafka=127.0.0.1:3"));
    }

    #[test]
    fn listeners_are_given_by_protocol_and_wrong_ones_say_how() {
        let arguments = Arguments::try_parse_from(["mainstem", "serve", "--listen", "kafka=127.0.0.1:0"]).unwrap();
        let Some(Command::Serve(options)) = arguments.command else { panic!("serve") };
        assert_eq!(options.address(Protocol::Kafka).port(), 0);
        assert_eq!(options.address(Protocol::Http).port(), 8080);
        let error = "kafak=127.0.0.1:1".parse::<ListenerOption>().unwrap_err();
        assert!(error.contains("kafka, http"), "{error}");
        assert!("kafka".parse::<ListenerOption>().is_err());
        assert!("kafka=9092".parse::<ListenerOption>().is_err());
    }
}
