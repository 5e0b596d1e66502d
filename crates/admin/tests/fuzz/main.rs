//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod answer;
mod between;
mod claims;
mod request;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

use admin::shape::{AlterNode, AlterTopic, CreateTopic, MoveOffsets, MovePartition, NewRecords};
use admin::{Claims, api, body, openapi};
use serde_json::Value;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

const BODIES: [&str; 6] = [
    r#"{"name":"t","partitions":3,"replicas":1,"configs":{"retention.ms":86400000,"cleanup.policy":"compact"},"validate_only":true}"#,
    r#"{"partitions":6,"configs":{"retention.ms":null}}"#,
    r#"{"records":[{"key":"k","value":{"json":{"a":[1.50,"\u0000"]}},"headers":[{"name":"h","value":"v"}]},{"value":{"base64":"AAEC"},"partition":0,"timestamp":"2026-11-30T12:00:00.5+01:00"},{"value":null,"timestamp":1}],"acks":"1","compression":"zstd"}"#,
    r#"{"topics":[{"topic":"t","partitions":[0,1]},{"topic":"u"}],"to":{"shift_by":-5},"dry_run":true}"#,
    r#"{"state":"draining"}"#,
    r#"{"shard":2}"#,
];

/// One of each kind, with everything that it may have and what it may lack.
const ANSWERS: [&str; 16] = [
    r#"{"error":{"code":"invalid_body","message":"found the text \"a\", expected a list"}}"#,
    r#"{"node":1,"cluster":"AAAAAAAAAAAAAAAAAAAABw","version":"0.1.0","started":1796040000000,"uptime_seconds":1.5,"data_folder":"/data","disk":{"total_bytes":2,"free_bytes":1},"listeners":{"http":"127.0.0.1:1"},"default_partitions":1,"auto_create_topics":true,"topics":1,"shards":[{"shard":0,"leads":true,"applied":9,"streams":1,"disk_bytes":5,"live_bytes":4,"bound_bytes":6,"in_doubt":false,"damaged":0}],"problems":["shard 1 has no leader"]}"#,
    r#"{"topics":[{"name":"t","id":"AAAAAAAAAAAAAAAAAAAABw","partitions":1,"bytes":2,"records":3}],"next":"t"}"#,
    r#"{"name":"t","id":"AAAAAAAAAAAAAAAAAAAABw","bytes":1,"records":2,"partitions":[{"partition":0,"leader":null,"epoch":0,"replicas":[1],"shard":1,"older_shard":2,"moving_to":3,"start":null,"end":7,"bytes":1}],"configs":[{"name":"retention.ms","value":"5","source":"topic","default":"604800000","documentation":""}]}"#,
    r#"{"name":"t","id":null,"partitions":1,"replicas":1,"validate_only":true}"#,
    r#"{"name":"t","partitions":2,"partitions_added":1,"configs":{"retention.ms":"1"},"validate_only":false}"#,
    r#"{"topic":"t","partition":0,"records":[{"offset":5,"timestamp":-1,"timestamp_type":"append","key":null,"value":{"base64":"AAEC"},"headers":[{"name":"h","value":"v"}]}],"next_offset":6,"start":1,"end":6}"#,
    r#"{"records":[{"partition":0,"offset":1},{"partition":1,"error":{"code":"invalid_record","message":"too much"}}],"failed":1}"#,
    r#"{"topic":"t","partition":0,"start":9}"#,
    r#"{"topic":"t","partition":0,"shard":2}"#,
    r#"{"groups":[{"group":"g","type":"classic","state":"preparing_rebalance","protocol_type":""}],"next":null}"#,
    r#"{"group":"g","type":"classic","state":"stable","protocol_type":"consumer","protocol":"range","coordinator":1,"members":[{"member":"m","instance":null,"client_id":"c","client_host":"/127.0.0.1","assignment":[{"topic":"t","partitions":[0]}]}],"offsets":[{"topic":"t","partition":0,"committed":1,"committed_at":2,"metadata":"","start":0,"end":3,"lag":2,"lag_seconds":0.25,"member":"m"}],"offsets_left_out":1}"#,
    r#"{"group":"g","dry_run":true,"offsets":[{"topic":"t","partition":0,"old":null,"new":1,"start":0,"end":2}]}"#,
    r#"{"group":"g","topic":"t","partitions":[0,1]}"#,
    r#"{"node":1,"cluster_version":2,"controller":null,"nodes":[{"node":2,"state":"removed","rack":null,"cluster_version_max":2,"peer":"10.0.0.2:9190","endpoints":{"kafka":"10.0.0.2:9092"},"leads":[0],"replicas":[{"shard":0,"voter":true,"behind":null}],"keeps":[0]}]}"#,
    r#"{"node":1,"safe":false,"hindrances":["shard 0 would lose its majority"]}"#,
];

/// Those who are let in, then those who are not.
const CLAIMS: [&str; 10] = [
    "loopback\n127.0.0.1:8080",
    "loopback\n[::1]:8080\nhttp://[::1]:8080\nsame-origin",
    "loopback\nLocalHost",
    "loopback\nbroker.example:1",
    "elsewhere\nevil.example:8080\nhttps://evil.example:8080\nnone",
    "loopback\nevil.example",
    "loopback",
    "elsewhere\nname\nnull",
    "loopback\nlocalhost\nhttp://localhost.evil.example",
    "loopback\nlocalhost\nhttp://localhost\ncross-site",
];

/// What nodes send one another: a request with its body each, or an answer behind an empty line.
const BETWEEN: [&str; 9] = [
    "GET /peer/bounds\n{\"places\":[[\"t\",0],[\"t\",1]],\"time\":5}",
    "\n[{\"Ok\":{\"start\":1,\"end\":9,\"at\":5}},{\"Err\":{\"code\":\"not_leader\",\"message\":\"no\"}}]",
    "GET /peer/lags\n[{\"place\":[\"t\",0],\"next\":7}]",
    "\n[{\"Ok\":{\"start\":1,\"end\":9,\"records\":2,\"millis\":null}}]",
    "GET /peer/groups?state=empty&limit=5&after=a\n",
    "\n{\"shards\":[1,3],\"groups\":[{\"group\":\"g\",\"type\":\"classic\",\"state\":\"stable\",\"protocol_type\":\"\"}],\"more\":true}",
    "POST /peer/batches\n\u{1}t\u{1}\u{1}\u{7}\0\0\0\u{5}batch",
    "\n[{\"Ok\":5},{\"Err\":{\"problem\":{\"code\":\"invalid_record\",\"message\":\"no\"},\"nth\":1}}]",
    "DELETE /v1/groups/g\n",
];

/// A line for each route with each of its parameters, as the document has them.
fn lines() -> Vec<String> {
    let document = openapi::document("1");
    let paths = document["paths"].as_object().expect("paths");
    let mut lines = Vec::new();
    for (path, methods) in paths {
        let path = path.replace("{partition}", "0").replace("{node}", "2");
        let path = path.replace("{topic}", "t%2F%C3%BC").replace("{group}", "g");
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query: Vec<String> = parameters.filter(|one| one["in"] == "query").map(parameter).collect();
            lines.push(format!("{} {path}?{}", method.to_uppercase(), query.join("&")));
        }
    }
    lines
}

fn parameter(parameter: &Value) -> String {
    let name = parameter["name"].as_str().expect("a name");
    let value = match name {
        "offset" => "-10",
        "timestamp" => "2026-11-30T12:00:00Z",
        "state" => "empty",
        "type" => "classic",
        "encoding" => "base64",
        "before" => "latest",
        "prefix" | "after" => "a%20+b",
        _ => "1",
    };
    format!("{name}={value}")
}

#[test]
fn requests_of_every_route() {
    let lines = lines();
    let is_read = |line: &String| request::judge(line, false).is_ok();
    assert!(lines.len() > 10 && lines.iter().all(is_read), "they are what they are meant to be: {lines:?}");
    assert!(body::read::<CreateTopic>(BODIES[0].as_bytes()).is_ok());
    assert!(body::read::<AlterTopic>(BODIES[1].as_bytes()).is_ok());
    assert!(body::read::<NewRecords>(BODIES[2].as_bytes()).is_ok());
    assert!(body::read::<MoveOffsets>(BODIES[3].as_bytes()).is_ok());
    assert!(body::read::<AlterNode>(BODIES[4].as_bytes()).is_ok());
    assert!(body::read::<MovePartition>(BODIES[5].as_bytes()).is_ok());
    let lines = lines.into_iter().map(|line| format!("{line}\n").into_bytes());
    let bodies = BODIES.iter().map(|body| format!("POST /v1/topics\n{body}").into_bytes());
    let seeds: Vec<Vec<u8>> = lines.chain(bodies).collect();
    seeds::play(FOLDER, "request", &seeds, request::run);
}

#[test]
fn answers_of_every_kind() {
    for text in ANSWERS {
        assert!(answer::read(text.as_bytes()) > 0, "it is what it is meant to be: {text}");
    }
    let seeds: Vec<Vec<u8>> = ANSWERS.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds::play(FOLDER, "answer", &seeds, answer::run);
}

#[test]
fn claims_of_those_who_are_let_in_and_of_others() {
    for (nth, text) in CLAIMS.iter().enumerate() {
        let mut lines = text.split('\n');
        let loopback = lines.next() == Some("loopback");
        let claims = Claims { host: lines.next(), origin: lines.next(), fetch_site: lines.next() };
        assert_eq!(claims::judge(loopback, claims).is_ok(), nth < CLAIMS.len() / 2, "{text}");
    }
    let seeds: Vec<Vec<u8>> = CLAIMS.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds::play(FOLDER, "claims", &seeds, claims::run);
}

#[test]
fn what_nodes_send_one_another() {
    for text in BETWEEN {
        let (line, body) = text.split_once('\n').unwrap();
        if let Some((method, target)) = line.split_once(' ') {
            assert!(api::judge_errand(method, target, body.as_bytes()).is_ok(), "{text:?}");
        }
        assert!(body.is_empty() || between::kinds(body.as_bytes()) > 0, "it is what it is meant to be: {text:?}");
    }
    let seeds: Vec<Vec<u8>> = BETWEEN.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds::play(FOLDER, "between", &seeds, between::run);
}
