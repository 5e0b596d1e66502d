//! What cargo says about the workspace, reduced to what the checks ask.

use crate::{Outcome, cargo};
use serde_json::Value;
use std::path::Path;

/// One package, ours or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression of its manifest.
    pub(crate) licence: Option<String>,
    pub(crate) manifest: String,
    /// Names as in the registry or our workspace, whatever a manifest renames them to; build and
    /// development dependencies included.
    pub(crate) dependencies: Vec<String>,
    /// Source files cargo starts compiling at: `lib.rs`, `main.rs`, integration tests ...
    pub(crate) entry_files: Vec<String>,
}

impl Package {
    /// The folder that holds the manifest.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(&self.manifest).parent().unwrap_or(Path::new(""))
    }
}

/// The workspace's own packages. Needs neither Cargo.lock nor a network.
pub(crate) fn ours() -> Outcome<Vec<Package>> {
    read(&["--no-deps"])
}

/// Every package that Cargo.lock resolves, for all platforms.
///
/// Fails when Cargo.lock is absent or does not fit the manifests: that is one of the checks.
pub(crate) fn locked() -> Outcome<Vec<Package>> {
    read(&["--locked"])
}

fn read(flags: &[&str]) -> Outcome<Vec<Package>> {
    let mut command = cargo::cargo();
    command.args(["metadata", "--format-version", "1"]).args(flags);
    parse(&cargo::output_of(&mut command)?)
}

fn parse(json: &str) -> Outcome<Vec<Package>> {
    let document: Value = serde_json::from_str(json)?;
    let packages = document["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    Ok(packages.iter().map(package).collect())
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |list: &Value, key: &str| {
        let items = list.as_array().into_iter().flatten();
        items.map(|item| text(&item[key])).collect()
    };
    Package {
        name: text(&value["name"]),
        version: text(&value["version"]),
        licence: value["license"].as_str().map(str::to_owned),
        manifest: text(&value["manifest_path"]),
        dependencies: texts(&value["dependencies"], "name"),
        entry_files: texts(&value["targets"], "src_path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_we_use_are_read() {
        let json = r#"{"packages": [{
            "name": "shard", "version": "0.1.0", "license": null,
            "manifest_path": "/repo/crates/shard/Cargo.toml",
            "dependencies": [{"name": "model", "kind": null}, {"name": "proptest", "kind": "dev"}],
            "targets": [{"src_path": "/repo/crates/shard/src/lib.rs"}]
        }]}"#;
        let packages = parse(json).expect("valid metadata");
        let shard = &packages[0];
        assert_eq!(shard.folder(), Path::new("/repo/crates/shard"));
        assert_eq!(shard.dependencies, ["model", "proptest"]);
        assert_eq!(shard.licence, None);
        assert_eq!(shard.entry_files, ["/repo/crates/shard/src/lib.rs"]);
    }
}
