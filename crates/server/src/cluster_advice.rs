//! What there is to say about settings of a cluster that do not go together.

use crate::configuration::{Configuration, Entry, Source};
use crate::value::Value;

/// The listener for other nodes.
pub(crate) const PEER: &str = "listen.peer";
const ADVERTISE_PEER: &str = "advertise.peer";
const KAFKA: &str = "listen.kafka";
const ADVERTISE_KAFKA: &str = "advertise.kafka";
const JOIN: &str = "join";

/// What is wrong, and what somebody should look at.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    pub(crate) problems: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// What there is to say about this configuration.
pub(crate) fn of(configuration: &Configuration) -> Advice {
    let mut advice = Advice::default();
    let entry = |key: &str| configuration.entry(key);
    // To listen on every address is to tell none of them.
    let untold = |listener: &str, advertised: &str| {
        let Value::Address(address) = entry(listener).value else { return None };
        let nowhere = address.ip().is_unspecified() && entry(advertised).value == Value::Auto;
        nowhere.then(|| {
            let listener = entry(listener).with_source();
            format!("{address} ({listener}) is every address and none to connect to: {advertised} has to name one")
        })
    };
    if let Some(untold) = untold(PEER, ADVERTISE_PEER) {
        advice.problems.push(format!("other nodes cannot be told where this one is, {untold}"));
    }
    let of_clients = untold(KAFKA, ADVERTISE_KAFKA);
    let joins = is_given(entry(JOIN));
    if joins {
        if entry(PEER).value == Value::Off {
            let (join, peer) = (entry(JOIN).with_source(), entry(PEER).with_source());
            advice.problems.push(format!("the cluster to join ({join}) could not reach this node: {peer} is off"));
        }
        if let Some(untold) = of_clients {
            advice.problems.push(format!("clients of other nodes cannot be told where this one is, {untold}"));
        }
        let shards = entry("shards");
        if shards.source != Source::Default {
            let shards = shards.with_source();
            advice.warnings.push(format!("{shards} has no effect: a node that joins others gets the cluster's shards"));
        }
    } else if let (Some(untold), true) = (of_clients, others_may_come(entry(PEER))) {
        advice.warnings.push(format!("clients of nodes that join could not be told where this one is, {untold}"));
    }
    advice
}

fn is_given(entry: &Entry) -> bool {
    matches!(entry.value, Value::Endpoint(_))
}

/// Whether other machines reach the listener.
fn others_may_come(peer: &Entry) -> bool {
    matches!(peer.value, Value::Address(address) if !address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::arguments::{Arguments, Command, NodeCommand};
    use crate::configuration::Reading;
    use clap::Parser;

    fn read(arguments: &[&str]) -> Reading {
        let all = ["mainstem", "serve"].iter().chain(arguments);
        let Command::Node(NodeCommand::Serve(flags)) = Arguments::try_parse_from(all).unwrap().chosen() else {
            panic!("serve")
        };
        Reading::of(&flags, Vec::new())
    }

    fn problems(arguments: &[&str]) -> Vec<String> {
        read(arguments).problems
    }

    const JOIN: [&str; 2] = ["--join", "a:9190"];
    const KAFKA: [&str; 2] = ["--listen", "kafka=0.0.0.0:9092"];
    const PEER: [&str; 2] = ["--listen", "peer=[::]:9190"];

    #[test]
    fn nothing_is_said_about_what_goes_together() {
        for arguments in [
            &[] as &[&str],
            &JOIN,
            &KAFKA,
            &["--node-id", "2", "--rack", "r", "--replication", "1"],
            &["--listen", "peer=off", "--shards", "2"],
            &[&PEER[..], &["--advertise", "peer=b:1"]].concat(),
            &[&JOIN[..], &KAFKA, &["--advertise", "kafka=b:1"], &PEER, &["--advertise", "peer=b:2"]].concat(),
            &[&JOIN[..], &["--listen", "kafka=off"]].concat(),
        ] {
            let reading = read(arguments);
            assert_eq!((reading.problems, reading.warnings), (Vec::new(), Vec::new()), "{arguments:?}");
        }
    }

    #[test]
    fn a_node_that_joins_can_be_reached() {
        assert_eq!(
            problems(&[&JOIN[..], &["--listen", "peer=off"]].concat()),
            [
                "the cluster to join (join by flag --join) could not reach this node: listen.peer by flag --listen is off"
            ]
        );
        assert_eq!(
            problems(&[JOIN, KAFKA].concat()),
            [
                "clients of other nodes cannot be told where this one is, 0.0.0.0:9092 (listen.kafka by flag --listen) is \
              every address and none to connect to: advertise.kafka has to name one"
            ]
        );
        assert_eq!(
            problems(&PEER),
            [
                "other nodes cannot be told where this one is, [::]:9190 (listen.peer by flag --listen) is every address \
              and none to connect to: advertise.peer has to name one"
            ]
        );
        assert_eq!(problems(&[JOIN, KAFKA, PEER].concat()).len(), 2, "all of it is said");
    }

    #[test]
    fn a_node_that_others_may_join_is_told_what_they_will_miss() {
        let peer = ["--listen", "peer=192.0.2.1:9190"];
        let reading = read(&[KAFKA, peer].concat());
        assert_eq!(reading.problems, Vec::<String>::new());
        assert_eq!(reading.warnings.len(), 1);
        assert!(
            reading.warnings[0].starts_with("clients of nodes that join could not be told where this one is, 0.0.0.0")
        );
        assert!(read(&peer).warnings.is_empty());
    }

    #[test]
    fn shards_mean_nothing_to_a_node_that_joins() {
        let reading = read(&[JOIN, ["--shards", "2"]].concat());
        assert_eq!(
            reading.warnings,
            ["shards by flag --shards has no effect: a node that joins others gets the cluster's shards"]
        );
        assert!(reading.problems.is_empty());
    }
}
