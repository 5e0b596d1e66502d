//! Which crate may depend on which, as data. The picture and its reasons are in ARCHITECTURE.md.
//!
//! A crate belongs to one layer and depends only on crates of lower layers. Development dependencies
//! count: a cycle through tests is a cycle. Adding a crate means adding it here, and weighing where
//! it belongs is the point of having to.

use crate::finding::{Finding, line_with};
use crate::metadata::Package;

/// The layers, lowest first.
const LAYERS: &[(&str, &[&str])] = &[
    ("stand-ins", &["base2histogram"]),
    ("words", &["model"]),
    ("pure", &["machine", "batch"]),
    ("durable", &["journal"]),
    ("replicated", &["shard", "peer"]),
    ("api", &["broker"]),
    ("edge", &["gateway"]),
    ("protocols", &["kafka", "admin"]),
    ("programs", &["server", "sim", "bench", "xtask"]),
];

/// Crates that see less than their layer would let them.
const NARROWER: &[(&str, &[&str], &str)] = &[
    ("machine", &["model"], "apply sees its state and its entry, nothing else"),
    ("batch", &["model"], "batch is bytes and what they say"),
    ("journal", &["model"], "the journal stores bytes and knows neither the machine, a Raft role nor a protocol"),
    ("peer", &["model"], "peer carries frames between nodes and does not know what a shard is"),
    ("xtask", &[], "the chores must build when nothing else does"),
];

/// Crates of others that stay behind one of ours, so that they can be replaced.
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("openraft", &["shard"], "openraft is an alpha; its types stay inside shard, behind shard's own trait"),
    ("openraft-rt-sim", &["shard", "sim"], "virtual time belongs to the simulator and to what it runs"),
];

/// Crates of others that would bring I/O, a clock or chance to where none may be.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("model", &["tokio", "rand", "rustix", "tracing", "parking_lot"], "model is words: no I/O, no clock, no state"),
    (
        "machine",
        &["tokio", "rand", "rustix", "futures", "parking_lot"],
        "every replica must compute the same: time and chance arrive inside entries",
    ),
];

/// Checks every package of the workspace. `read` returns a manifest's text, for line numbers.
pub(crate) fn check(packages: &[Package], read: impl Fn(&Package) -> (String, String)) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let (path, manifest) = read(package);
        if layer_of(&package.name).is_none() {
            findings.push(Finding::at(
                &path,
                line_with(&manifest, "name ="),
                format!("crate {} is in no layer", package.name),
                "put it into LAYERS in crates/xtask/src/layers.rs, and into ARCHITECTURE.md",
            ));
        }
        for dependency in &package.dependencies {
            if let Some((what, advice)) = objection(package, dependency, packages) {
                let line = line_of_dependency(&manifest, dependency);
                findings.push(Finding::at(&path, line, what, advice));
            }
        }
    }
    findings
}

/// Why this edge is not allowed, and what to do instead.
fn objection(package: &Package, dependency: &str, packages: &[Package]) -> Option<(String, String)> {
    let from = package.name.as_str();
    let ours = packages.iter().any(|other| other.name == dependency);
    if ours { objection_to_ours(from, dependency) } else { objection_to_theirs(from, dependency) }
}

fn objection_to_ours(from: &str, to: &str) -> Option<(String, String)> {
    if let Some((_, allowed, reason)) = NARROWER.iter().find(|(name, ..)| *name == from)
        && !allowed.contains(&to)
    {
        let advice = match allowed {
            [] => "remove the dependency".to_owned(),
            allowed => format!("use only {}, or move the code up", allowed.join(", ")),
        };
        return Some((format!("{from} may not depend on {to}: {reason}"), advice));
    }
    let ((above, from_layer), (below, to_layer)) = (layer_of(from)?, layer_of(to)?);
    if below < above {
        return None;
    }
    let what = if below > above {
        format!("{from} ({from_layer}) depends upwards on {to} ({to_layer})")
    } else if from_layer == "protocols" {
        format!("protocol {from} depends on protocol {to}: no protocol knows another")
    } else {
        format!("{from} and {to} share the layer {from_layer}, so neither may depend on the other")
    };
    let advice = "move what both need into a lower crate, or turn the call around".to_owned();
    Some((what, advice))
}

fn objection_to_theirs(from: &str, to: &str) -> Option<(String, String)> {
    if let Some((_, homes, reason)) = CONFINED.iter().find(|(name, ..)| *name == to)
        && !homes.contains(&from)
    {
        return Some((
            format!("{from} may not depend on {to}: {reason}"),
            format!("go through {}", homes.join(" or ")),
        ));
    }
    let (_, _, reason) = BANNED.iter().find(|(name, banned, _)| *name == from && banned.contains(&to))?;
    Some((
        format!("{from} may not depend on {to}: {reason}"),
        "move the code that needs it to a higher layer and pass its result in as data".to_owned(),
    ))
}

/// The height and the name of a crate's layer.
fn layer_of(name: &str) -> Option<(usize, &'static str)> {
    LAYERS
        .iter()
        .enumerate()
        .find(|(_, (_, crates))| crates.contains(&name))
        .map(|(height, (layer, _))| (height, *layer))
}

/// The manifest's line that names a dependency: `peer.workspace = true`, `peer = ...`,
/// `[dependencies.peer]`.
fn line_of_dependency(manifest: &str, name: &str) -> usize {
    let starts = |line: &str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            || line.ends_with(&format!("dependencies.{name}]"))
    };
    manifest.lines().position(|line| starts(line.trim())).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace in which `from` depends on `to`, among crates of every layer.
    fn complaints(from: &str, to: &str) -> Vec<String> {
        let ours = LAYERS.iter().flat_map(|(_, crates)| crates.iter());
        let packages: Vec<Package> = ours
            .map(|name| Package {
                name: (*name).to_owned(),
                dependencies: if *name == from { vec![to.to_owned()] } else { Vec::new() },
                ..Package::default()
            })
            .collect();
        let manifest = format!("[package]\n\n[dependencies]\n{to}.workspace = true\n");
        check(&packages, |_| ("Cargo.toml".to_owned(), manifest.clone()))
            .into_iter()
            .map(|finding| {
                assert_eq!(finding.line, 4);
                finding.what
            })
            .collect()
    }

    #[test]
    fn downwards_is_allowed() {
        for (from, to) in [
            ("machine", "model"),
            ("shard", "journal"),
            ("shard", "machine"),
            ("broker", "peer"),
            ("kafka", "gateway"),
            ("server", "kafka"),
            ("sim", "journal"),
        ] {
            assert_eq!(complaints(from, to), Vec::<String>::new(), "{from} -> {to}");
        }
    }

    #[test]
    fn upwards_and_sideways_are_not() {
        for (from, to) in [
            ("model", "machine"),
            ("journal", "shard"),
            ("shard", "peer"),
            ("broker", "kafka"),
            ("gateway", "kafka"),
            ("sim", "bench"),
        ] {
            assert_eq!(complaints(from, to).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn some_crates_see_less_than_their_layer() {
        for (from, to) in [("journal", "machine"), ("peer", "journal"), ("peer", "machine"), ("xtask", "model")] {
            assert_eq!(complaints(from, to).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn crates_of_others_stay_where_they_belong() {
        assert!(complaints("shard", "openraft").is_empty());
        assert!(complaints("broker", "tokio").is_empty());
        assert_eq!(complaints("broker", "openraft").len(), 1);
        assert_eq!(complaints("machine", "tokio").len(), 1);
    }

    #[test]
    fn a_crate_without_a_layer_is_reported() {
        let stray = Package { name: "stray".to_owned(), ..Package::default() };
        let findings = check(&[stray], |_| ("Cargo.toml".to_owned(), String::new()));
        assert_eq!(findings[0].what, "crate stray is in no layer");
    }

    #[test]
    fn no_crate_is_in_two_layers() {
        let mut all: Vec<_> = LAYERS.iter().flat_map(|(_, crates)| crates.iter()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
