//! `cargo xtask tidy`: the repository checks itself, all of it, and says what to do.
//!
//! A check never stops another: somebody who has waited for one report wants all of it. Cheap checks
//! come first, so that their findings are on the screen while clippy still compiles.

use crate::finding::Finding;
use crate::metadata::Package;
use crate::{Outcome, cargo, counts::Counts, decoders, habits, layers, licences, metadata, tree};

/// A named check and how to run it.
type Check = (&'static str, fn(bool) -> Outcome<Vec<Finding>>);

const CHECKS: &[Check] = &[
    ("layers", check_layers),
    ("names", check_names),
    ("habits", check_habits),
    ("openings", check_openings),
    ("decoders", check_decoders),
    ("licences", check_licences),
    ("format", check_format),
    ("clippy", check_clippy),
];

/// Runs every check; true when none found anything.
pub(crate) fn run(fix: bool) -> Outcome<bool> {
    let mut counts = Counts::default();
    for (name, check) in CHECKS {
        // A check that could not run has failed, and the others still run.
        let findings = check(fix).unwrap_or_else(|error| {
            vec![Finding::at("Cargo.toml", 1, format!("{name} could not be checked: {error}"), "repair that first")]
        });
        match findings.len() {
            0 => counts.passed += 1,
            _ => counts.failed += 1,
        }
        println!("tidy {name:<9} {}", if findings.is_empty() { "ok" } else { "FAILED" });
        for finding in findings {
            println!("{finding}");
        }
    }
    println!("tidy: {counts}");
    Ok(counts.failed == 0)
}

fn check_layers(_fix: bool) -> Outcome<Vec<Finding>> {
    Ok(layers::check(&metadata::ours()?, |package| {
        let path = tree::relative(&package.manifest);
        let text = std::fs::read_to_string(&package.manifest).unwrap_or_default();
        (path, text)
    }))
}

/// A crate is found by its name: the folder is the crate's name, without a prefix.
fn check_names(_fix: bool) -> Outcome<Vec<Finding>> {
    let differs = |package: &Package| package.folder().file_name() != Some(package.name.as_ref());
    let report = |package: Package| {
        let what = format!("crate {} is not in a folder of its name", package.name);
        Finding::at(tree::relative(&package.manifest), 1, what, "rename the folder or the crate")
    };
    Ok(metadata::ours()?.into_iter().filter(differs).map(report).collect())
}

fn check_habits(fix: bool) -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in tree::files()? {
        let mut bytes = tree::read(&path)?;
        if fix
            && habits::wants_clean_lines(&path)
            && let Ok(text) = std::str::from_utf8(&bytes)
        {
            let cleaned = habits::cleaned(text);
            if cleaned != text {
                tree::write(&path, &cleaned)?;
                bytes = cleaned.into_bytes();
            }
        }
        findings.extend(habits::check_file(&path, &bytes));
    }
    Ok(findings)
}

fn check_openings(_fix: bool) -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    let files = metadata::ours()?.into_iter().flat_map(|package| package.entry_files);
    for path in files.filter(|path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs")) {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        findings.extend(habits::check_opening(&tree::relative(&path), &text));
    }
    Ok(findings)
}

fn check_decoders(_fix: bool) -> Outcome<Vec<Finding>> {
    let paths = tree::files()?.into_iter().filter(|path| path.starts_with("crates/") && !path.contains("/golden/"));
    let texts = paths.filter_map(|path| match tree::read(&path) {
        Ok(bytes) => String::from_utf8(bytes).ok().map(|text| Ok((path, text))),
        Err(error) => Some(Err(error)),
    });
    Ok(decoders::check(&texts.collect::<Outcome<_>>()?))
}

fn check_licences(_fix: bool) -> Outcome<Vec<Finding>> {
    if !cargo::root().join("Cargo.lock").is_file() {
        let advice = "run `cargo generate-lockfile` and commit the file";
        return Ok(vec![Finding::at("Cargo.lock", 1, "there is no Cargo.lock", advice)]);
    }
    let packages = match metadata::locked() {
        Ok(packages) => packages,
        Err(error) => {
            let advice = "if a manifest changed, run `cargo update --workspace` and commit Cargo.lock";
            return Ok(vec![Finding::at("Cargo.lock", 1, error.to_string(), advice)]);
        }
    };
    let policy = String::from_utf8(tree::read(licences::FILE)?)?;
    licences::check(&packages, &policy)
}

fn check_format(fix: bool) -> Outcome<Vec<Finding>> {
    let mut command = cargo::cargo();
    command.args(["fmt", "--all"]);
    if fix && !cargo::succeeds(&mut command)? {
        return Err("`cargo fmt` failed, see above".into());
    }
    command.args(["--", "--check"]).stdin(std::process::Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start cargo fmt: {error}"))?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let found = unformatted(&String::from_utf8_lossy(&output.stdout));
    if found.is_empty() {
        return Err(format!("`cargo fmt --check` failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(found)
}

/// Where rustfmt would change something, from its lines `Diff in PATH:LINE:`.
fn unformatted(output: &str) -> Vec<Finding> {
    let places = output.lines().filter_map(|line| {
        let (path, number) = line.strip_prefix("Diff in ")?.trim_end_matches(':').rsplit_once(':')?;
        Some((path, number.parse().ok()?))
    });
    places
        .map(|(path, line)| Finding::at(tree::relative(path), line, "not formatted", "run `cargo xtask tidy --fix`"))
        .collect()
}

/// Clippy speaks for itself: its output has the places and the advice, so it passes straight through.
fn check_clippy(_fix: bool) -> Outcome<Vec<Finding>> {
    let mut command = cargo::cargo();
    command.args(["clippy", "--quiet", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"]);
    if cargo::succeeds(&mut command)? {
        return Ok(Vec::new());
    }
    let advice = "repair them, or write #[allow(clippy::NAME, reason = \"...\")] where the lint is wrong";
    Ok(vec![Finding::at("Cargo.toml", 1, "clippy's findings are listed above", advice)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustfmt_s_places_are_read() {
        let output = "Diff in /elsewhere/src/a.rs:12:\n fn a() {\n-x\n+y\nDiff in /elsewhere/src/b.rs:1:\n";
        let places: Vec<_> = unformatted(output).into_iter().map(|found| (found.path, found.line)).collect();
        assert_eq!(places, [("/elsewhere/src/a.rs".to_owned(), 12), ("/elsewhere/src/b.rs".to_owned(), 1)]);
    }
}
