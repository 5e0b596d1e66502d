//! The command line.

use crate::command::{ClientCommand, number};
use crate::setting::{ENVIRONMENT_FILE, Flag, SETTINGS, Setting, Shared};
use crate::value::Value;
use clap::error::{Error, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, value_parser};
use std::path::PathBuf;

const CONFIG: &str = "config";
const AFTER: &str = "A flag wins over the environment, and the environment over the file.

Examples:
  mainstem --data-dir /var/lib/mainstem          # run the broker
  mainstem topic create orders --partitions 12
  echo hello | mainstem produce orders
  mainstem consume orders --follow
  mainstem status";

/// One broker for every kind of messaging. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "mainstem", version, about, args_conflicts_with_subcommands = true, after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Node(NodeCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

/// What is done here, by whoever has the data folder.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Run the broker. This is what happens without a command, too
    Serve(Flags),
    /// Show what is in force and where each value came from, given the same flags, file and environment
    Config(ConfigOptions),
    /// Skip entries that stop a shard, as the last resort: what they carried is lost. The node must not
    /// run. Skip them on every node that has the shard. The decision is kept in the data folder and
    /// logged at every start
    SkipEntry(SkipOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// As JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SkipOptions {
    #[command(flatten)]
    pub(crate) flags: FolderFlags,
    /// The shard, as the log names it
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number::between(0, u32::MAX))]
    pub(crate) shard: u32,
    /// The entry's index, as the log names it
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number::natural)]
    pub(crate) index: u64,
    /// The last of several entries, of which --index is the first
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number::natural)]
    pub(crate) last: Option<u64>,
    /// Why, for whoever reads the log later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

impl Arguments {
    /// What is to be done; to serve, unless something else is said.
    pub(crate) fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Node(NodeCommand::Serve(self.flags)))
    }
}

impl NodeCommand {
    /// What is configured by flags.
    pub(crate) fn flags(&self) -> &Flags {
        match self {
            NodeCommand::Serve(flags) => flags,
            NodeCommand::Config(options) => &options.flags,
            NodeCommand::SkipEntry(options) => &options.flags.0,
        }
    }
}

/// What is configured by flags: the file, and settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) given: Vec<Given>,
}

/// The flags of a command that only wants to know where the data is.
#[derive(Clone, Debug, Default)]
pub(crate) struct FolderFlags(Flags);

/// A setting's value that a flag gave.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) value: Value,
    /// The flag's name, without the dashes.
    pub(crate) flag: String,
}

impl Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        add_flags(command, SETTINGS.iter())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        read_flags(matches, SETTINGS.iter())
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Flags::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The settings that [`FolderFlags`] has flags for.
fn of_folder() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.key == "data-dir")
}

impl Args for FolderFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        add_flags(command, of_folder())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        FolderFlags::augment_args(command)
    }
}

impl FromArgMatches for FolderFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        read_flags(matches, of_folder()).map(FolderFlags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = FolderFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Adds `--config` and a flag for each setting, or for those together that share one.
fn add_flags(command: clap::Command, settings: impl IntoIterator<Item = &'static Setting>) -> clap::Command {
    let help = format!("The configuration file, in TOML [environment: {ENVIRONMENT_FILE}]");
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help);
    let mut command = command.arg(config);
    for setting in settings {
        let about = format!("{} [default: {}] [environment: {}]", setting.about, setting.default, setting.variable());
        let placeholder = setting.kind.placeholder();
        command = match setting.flag() {
            None => command,
            Some(Flag::Own(name)) => {
                let parser = move |text: &str| given(setting, text);
                let arg = Arg::new(name.clone()).long(name).value_name(placeholder).allow_negative_numbers(true);
                command.arg(arg.help(about).value_parser(parser))
            }
            Some(Flag::Shared { shared, member }) => {
                let line = format!("{member}: {about}");
                let known = command.get_arguments().find(|arg| arg.get_id() == shared.flag);
                match known.and_then(Arg::get_help).map(|help| format!("{help}\n{line}")) {
                    Some(help) => command.mut_arg(shared.flag, |arg| arg.help(help)),
                    None => {
                        let parser = move |text: &str| given_to_member(shared, text);
                        let arg = Arg::new(shared.flag).long(shared.flag).value_name(placeholder_of(shared));
                        command.arg(arg.action(ArgAction::Append).help(line).value_parser(parser))
                    }
                }
            }
        };
    }
    command
}

/// What stands for the value of a flag that settings share.
fn placeholder_of(shared: &Shared) -> String {
    let value = shared.members().next().map_or_else(String::new, |(_, setting)| setting.kind.placeholder());
    format!("{}={value}", shared.member.to_uppercase())
}

/// What the flags that [`add_flags`] added were given.
fn read_flags(matches: &ArgMatches, settings: impl IntoIterator<Item = &'static Setting>) -> Result<Flags, Error> {
    let mut flags = Flags { config: matches.get_one(CONFIG).cloned(), given: Vec::new() };
    for setting in settings {
        let Some(flag) = setting.flag() else { continue };
        let all = matches.get_many::<Given>(flag.name()).unwrap_or_default();
        let mut given = all.filter(|given| given.setting.key == setting.key);
        flags.given.extend(given.next().cloned());
        // The command line of a listener that is left out without a word helps nobody.
        if let (Flag::Shared { shared: Shared { flag, member: kind, .. }, member }, Some(second)) =
            (&flag, given.next())
        {
            let what = format!("--{flag} {member}={}: this {kind} has one already", second.value);
            return Err(Error::raw(ErrorKind::ArgumentConflict, what));
        }
    }
    Ok(flags)
}

fn given(setting: &'static Setting, text: &str) -> Result<Given, String> {
    let flag = setting.flag().map_or(String::new(), |flag| flag.name().to_owned());
    Ok(Given { setting, value: setting.parse(text)?, flag })
}

/// Reads `kafka=127.0.0.1:9092`.
fn given_to_member(shared: &'static Shared, text: &str) -> Result<Given, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("expected {}", placeholder_of(shared)));
    };
    match shared.members().find(|(member, _)| *member == name) {
        Some((_, setting)) => given(setting, value),
        None => Err(shared.refuse(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<NodeCommand, String> {
        let all = ["mainstem"].iter().chain(arguments);
        match Arguments::try_parse_from(all).map(Arguments::chosen) {
            Ok(Command::Node(command)) => Ok(command),
            Ok(Command::Client(command)) => panic!("{command:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The flags of a command line, as text.
    fn flags(arguments: &[&str]) -> Vec<String> {
        let command = parse(arguments).unwrap();
        let Flags { config, given } = command.flags();
        let config = config.iter().map(|path| format!("config={}", path.display()));
        config.chain(given.iter().map(|given| format!("{}={}", given.setting.key, given.value))).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_command_and_takes_the_same_flags() {
        for arguments in [&["--config", "a", "--shards", "2"] as &[&str], &["serve", "--config", "a", "--shards", "2"]]
        {
            assert!(matches!(parse(arguments), Ok(NodeCommand::Serve(_))));
            assert_eq!(flags(arguments), ["config=a", "shards=2"]);
        }
        assert!(matches!(parse(&[]), Ok(NodeCommand::Serve(_))));
        assert!(flags(&[]).is_empty());
        let joining = ["serve", "--node-id", "2", "--join", "a:9190", "--rack", "r1", "--listen", "peer=127.0.0.1:0"];
        assert_eq!(flags(&joining), ["listen.peer=127.0.0.1:0", "node-id=2", "join=a:9190", "rack=r1"]);
        // Which of the two would count?
        assert!(parse(&["--shards", "2", "serve"]).is_err());
    }

    #[test]
    fn config_takes_the_flags_of_serve() {
        assert_eq!(
            flags(&["config", "--json", "--data-dir", "d", "--listen", "http=off"]),
            ["data-dir=d", "listen.http=off"]
        );
        let Ok(NodeCommand::Config(options)) = parse(&["config", "--json"]) else { panic!("config") };
        assert!(options.json);
    }

    #[test]
    fn skipping_takes_the_flags_that_say_where_the_data_is() {
        let entry = ["skip-entry", "--shard", "1", "--index", "2", "--reason", "r"];
        let with = |more: &[&'static str]| [&entry as &[&str], more].concat();
        assert_eq!(flags(&with(&["--config", "a", "--data-dir", "d"])), ["config=a", "data-dir=d"]);
        assert!(parse(&with(&["--listen", "kafka=off"])).is_err());
    }

    #[test]
    fn a_listener_is_given_by_its_protocol() {
        let given = flags(&["--listen", "kafka=127.0.0.1:0", "--listen", "http=off", "--advertise", "kafka=a:1"]);
        assert_eq!(given, ["listen.kafka=127.0.0.1:0", "listen.http=off", "advertise.kafka=a:1"]);
        for (arguments, said) in [
            (["--listen", "kafak=127.0.0.1:1"], "no protocol is called 'kafak', there are: kafka, http"),
            (["--listen", "kafka"], "expected PROTOCOL=ADDRESS:PORT|off"),
            (["--listen", "kafka=9092"], "\"9092\" has no address, expected ADDRESS:PORT"),
            (["--advertise", "http=a:1"], "no protocol is called 'http', there are: peer, kafka"),
            (
                ["--join", "127.0.0.1"],
                "\"127.0.0.1\" has no port, expected HOST:PORT where another node has listen.peer",
            ),
            (["--node-id", "0"], "\"0\" is too little, expected a number from 1 to 2147483647, or auto"),
            (["--replication", "6"], "\"6\" is too much, expected a number from 1 to 5"),
            (["--advertise", "a:1"], "expected PROTOCOL=HOST:PORT"),
            (["--shards", "-1"], "expected a number from 1 to 64, or auto"),
            (["--topics-defaults", "retention.ms"], "expected SETTING=VALUE"),
            (
                ["--topics-defaults", "retention.mss=1"],
                "no setting is called 'retention.mss', the nearest known one is retention.ms",
            ),
            (["--topics-defaults", "retention.ms=soon"], "\"soon\" is no such value, expected a whole number from -1"),
            (["--shards", "65"], "\"65\" is too much, expected a number from 1 to 64, or auto"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_setting_is_given_once() {
        let twice = parse(&["--listen", "kafka=127.0.0.1:1", "--listen", "http=off", "--listen", "kafka=127.0.0.1:3"]);
        let error = twice.unwrap_err();
        assert!(error.contains("--listen kafka=127.0.0.1:3: this protocol has one already"), "{error}");
        assert!(parse(&["--shards", "2", "--shards", "2"]).is_err());
    }

    #[test]
    fn client_commands_take_no_flags_of_the_broker() {
        let client = |arguments: &[&str]| Arguments::try_parse_from([&["mainstem"], arguments].concat());
        for arguments in [
            &["topic", "list", "--server", "http://a:1", "--json"] as &[&str],
            &["topic", "--json", "--server", "http://a:1", "list"],
            &["status"],
            &["node", "list", "--json"],
            &["consume", "t", "--from", "-1"],
        ] {
            assert!(matches!(client(arguments).unwrap().chosen(), Command::Client(_)), "{arguments:?}");
        }
        for arguments in [&["status", "--data-dir", "d"] as &[&str], &["--data-dir", "d", "status"], &["topic"]] {
            assert!(client(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn every_client_command_has_examples() {
        let command = Arguments::command();
        for name in ["topic", "group", "node", "produce", "consume", "status", "top", "completions"] {
            let help = command.find_subcommand(name).unwrap().clone().render_long_help().to_string();
            assert!(help.contains("Examples:\n  "), "{name}");
        }
    }

    #[test]
    fn the_help_names_every_variable_and_default() {
        let help = Arguments::command().render_long_help().to_string();
        for setting in SETTINGS.iter() {
            assert!(help.contains(&setting.variable()) && help.contains(setting.default), "{}", setting.key);
        }
    }
}
