//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod request;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

use admin::shape::{AlterTopic, CreateTopic, MoveOffsets, NewRecords};
use admin::{body, openapi};
use serde_json::Value;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

const BODIES: [&str; 4] = [
    r#"{"name":"t","partitions":3,"replicas":1,"configs":{"retention.ms":86400000,"cleanup.policy":"compact"},"validate_only":true}"#,
    r#"{"partitions":6,"configs":{"retention.ms":null}}"#,
    r#"{"records":[{"key":"k","value":{"json":{"a":[1.50,"\u0000"]}},"headers":[{"name":"h","value":"v"}]},{"value":{"base64":"AAEC"},"partition":0,"timestamp":"2026-11-30T12:00:00.5+01:00"},{"value":null,"timestamp":1}],"acks":"1","compression":"zstd"}"#,
    r#"{"topics":[{"topic":"t","partitions":[0,1]},{"topic":"u"}],"to":{"shift_by":-5},"dry_run":true}"#,
];

/// A line for each route with each of its parameters, as the document has them.
fn lines() -> Vec<String> {
    let document = openapi::document("1");
    let paths = document["paths"].as_object().expect("paths");
    let mut lines = Vec::new();
    for (path, methods) in paths {
        let path = path.replace("{partition}", "0").replace("{topic}", "t%2F%C3%BC").replace("{group}", "g");
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
    let lines = lines.into_iter().map(|line| format!("{line}\n").into_bytes());
    let bodies = BODIES.iter().map(|body| format!("POST /v1/topics\n{body}").into_bytes());
    let seeds: Vec<Vec<u8>> = lines.chain(bodies).collect();
    seeds::play(FOLDER, "request", &seeds, request::run);
}
