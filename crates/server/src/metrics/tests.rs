//! What a scrape says, without a node.

use super::family::Kind;
use super::{Known, ours};
use broker::cluster::{PeerCounts, PeerRefusal};
use broker::group_usage::{GroupUsage, GroupUsages, LagSum, TopicLag};
use broker::traffic::TopicCounters;
use broker::usage::{TopicUsage, TopicUsages};
use gateway::ProtocolCounters;
use gateway::protocol::Answered;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn text(known: Known) -> String {
    let text = known.text().unwrap();
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    text
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[test]
fn every_metric_is_described_once_and_all_of_them_are_shown() {
    let text = text(Known::default());
    let described: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE mainstem_")).collect();
    let kinds = |kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let expected: Vec<String> = ours().map(|family| format!("{} {}", family.name, kinds(family.kind))).collect();
    assert_eq!(described, expected);
    assert_eq!(ours().map(|family| family.name).collect::<BTreeSet<_>>().len(), expected.len());
    for family in ours() {
        assert!(!family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
    }
}

#[test]
fn any_name_is_one_value_of_its_label() {
    let name = "a\"b\\c\nd{}=,é\\n".to_owned();
    let shown = vec![GroupUsage { name, members: 3 }];
    let groups = GroupUsages { shown, ..GroupUsages::default() };
    let text = text(Known { groups, ..Known::default() });
    has(&text, r#"mainstem_group_members{group="a\"b\\c\nd{}=,é\\n"} 3"#);
}

#[test]
fn what_is_not_shown_by_name_is_summed_up_under_no_name() {
    let counters = Arc::new(TopicCounters::default());
    counters.records_in.fetch_add(7, Relaxed);
    let topic = TopicUsage { name: "t".into(), partitions: 2, bytes: Some(70), counters: counters.clone() };
    let topics = TopicUsages { shown: vec![topic], others: Some(counters), count: 9, folded: 8 };
    let lag = |records, millis| LagSum { records, millis };
    let lags = vec![
        TopicLag { group: "g".into(), topic: "t".into(), lag: lag(5, Some(1500)) },
        TopicLag { group: "g".into(), topic: "u".into(), lag: lag(6, None) },
    ];
    let folded_lags = (3, lag(100, Some(0)));
    let groups = GroupUsages { lags, folded: (4, 40), folded_lags, ..GroupUsages::default() };
    let text = text(Known { topics, groups, ..Known::default() });
    for line in [
        r#"mainstem_topic_records_in_total{topic="t"} 7"#,
        r#"mainstem_topic_records_in_total{topic=""} 7"#,
        r#"mainstem_topic_bytes{topic="t"} 70"#,
        r#"mainstem_topic_partitions{topic="t"} 2"#,
        "mainstem_topics 9",
        "mainstem_topics_folded 8",
        r#"mainstem_group_members{group=""} 40"#,
        r#"mainstem_group_lag_records{group="g",topic="t"} 5"#,
        r#"mainstem_group_lag_records{group="g",topic="u"} 6"#,
        r#"mainstem_group_lag_records{group="",topic=""} 100"#,
        r#"mainstem_group_lag_seconds{group="g",topic="t"} 1.5"#,
        r#"mainstem_group_lag_seconds{group="",topic=""} 0.0"#,
        "mainstem_groups_folded 4",
        "mainstem_group_lags_folded 3",
    ] {
        has(&text, line);
    }
    assert!(!text.contains(r#"mainstem_group_lag_seconds{group="g",topic="u"}"#), "nobody knows");
}

#[test]
fn what_other_nodes_do_is_shown_where_there_may_be_some() {
    let refusals = PeerRefusal::ALL.map(|why| why as u64 * 10);
    let counts =
        PeerCounts { accepted: 1, dialled: 2, violations: 3, bytes_received: 4, refusals, ..Default::default() };
    let shown = text(Known { peers: Some(counts), ..Known::default() });
    for line in [
        "mainstem_peer_connections_accepted_total 1",
        "mainstem_peer_connections_made_total 2",
        "mainstem_peer_protocol_violations_total 3",
        "mainstem_peer_connection_bytes_in_total 4",
        "mainstem_peer_connection_bytes_out_total 0",
        r#"mainstem_peer_connections_refused_total{reason="slow"} 0"#,
        r#"mainstem_peer_connections_refused_total{reason="garbage"} 20"#,
        r#"mainstem_peer_connections_refused_total{reason="full"} 90"#,
    ] {
        has(&shown, line);
    }
    assert!(!text(Known::default()).contains("mainstem_peer_connections_made_total "), "a node that is alone");
}

#[test]
fn a_histogram_is_shown_in_seconds_and_what_was_never_called_is_not_shown() {
    let protocol = ProtocolCounters::new("kafka", &["Put", "Get"], &["GONE"]);
    let took = Duration::from_micros(500);
    protocol.note(0, Answered { request_bytes: 10, response_bytes: 20, took, waited: Duration::ZERO });
    protocol.note_error(0, 0);
    let text = text(Known { protocols: vec![Arc::new(protocol)], ..Known::default() });
    for line in [
        "# TYPE mainstem_protocol_request_seconds histogram",
        "# UNIT mainstem_protocol_request_seconds seconds",
        r#"mainstem_protocol_requests_total{protocol="kafka",api="Put"} 1"#,
        r#"mainstem_protocol_errors_total{protocol="kafka",api="Put",error="GONE"} 1"#,
        r#"mainstem_protocol_request_seconds_count{protocol="kafka",api="Put"} 1"#,
        r#"mainstem_protocol_request_seconds_sum{protocol="kafka",api="Put"} 0.0005"#,
        r#"mainstem_protocol_request_seconds_bucket{le="0.0002",protocol="kafka",api="Put"} 0"#,
        r#"mainstem_protocol_request_seconds_bucket{le="0.0005",protocol="kafka",api="Put"} 1"#,
        r#"mainstem_protocol_request_seconds_bucket{le="10.0",protocol="kafka",api="Put"} 1"#,
        r#"mainstem_protocol_request_seconds_bucket{le="+Inf",protocol="kafka",api="Put"} 1"#,
    ] {
        has(&text, line);
    }
    assert!(!text.contains("Get"));
}
