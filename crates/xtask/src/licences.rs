//! The licence policy: `licences.toml` in the root against what Cargo.lock resolves.
//!
//! It is our own few lines rather than a tool, because a tool would have to be installed before the
//! first test runs on a fresh machine.

use crate::Outcome;
use crate::finding::{Finding, line_with};
use crate::metadata::Package;
use crate::spdx;
use toml::Table;

/// Where the policy is written, relative to the root.
pub(crate) const FILE: &str = "licences.toml";

/// Which licences may enter, and which crates may although theirs may not.
#[derive(Debug)]
struct Policy {
    allowed: Vec<String>,
    exceptions: Vec<Exception>,
}

/// One crate, looked at by a person who found its licence acceptable for a stated reason. The licence
/// is part of it so that a change of licence is noticed.
#[derive(Debug)]
struct Exception {
    name: String,
    licence: String,
}

/// Checks every package of Cargo.lock, ours included.
pub(crate) fn check(packages: &[Package], policy_text: &str) -> Outcome<Vec<Finding>> {
    let policy = parse(policy_text)?;
    let mut findings = Vec::new();
    for package in packages {
        if let Some(what) = objection(package, &policy) {
            findings.push(Finding::at(
                "Cargo.lock",
                1,
                what,
                format!("choose another crate, or add a licence or an exception with its reason to {FILE}"),
            ));
        }
    }
    for exception in &policy.exceptions {
        if !packages.iter().any(|package| package.name == exception.name) {
            findings.push(Finding::at(
                FILE,
                line_with(policy_text, &format!("\"{}\"", exception.name)),
                format!("the exception for {} is used by nothing", exception.name),
                "remove it",
            ));
        }
    }
    Ok(findings)
}

fn objection(package: &Package, policy: &Policy) -> Option<String> {
    let Package { name, version, .. } = package;
    let licence = package.licence.as_deref().unwrap_or("");
    let excepted = |exception: &Exception| exception.name == *name && exception.licence == licence;
    if policy.exceptions.iter().any(excepted) {
        return None;
    }
    if licence.is_empty() {
        return Some(format!("{name} {version} names no licence"));
    }
    match spdx::satisfied(licence, &|id| policy.allowed.iter().any(|allowed| allowed == id)) {
        Ok(true) => None,
        Ok(false) => Some(format!("{name} {version} is under {licence}, which the policy does not allow")),
        Err(reason) => Some(format!("{name} {version}: {reason}")),
    }
}

fn parse(text: &str) -> Outcome<Policy> {
    let table: Table = text.parse().map_err(|error| format!("{FILE}: {error}"))?;
    let allowed = table
        .get("allowed")
        .and_then(|value| value.as_array())
        .ok_or(format!("{FILE} has no list `allowed`"))?
        .iter()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    let exceptions = table
        .get("exception")
        .and_then(|value| value.as_array())
        .into_iter()
        .flatten()
        .map(exception)
        .collect::<Outcome<_>>()?;
    Ok(Policy { allowed, exceptions })
}

fn exception(value: &toml::Value) -> Outcome<Exception> {
    let field = |key: &str| -> Outcome<String> {
        let text = value.get(key).and_then(|value| value.as_str());
        Ok(text.ok_or(format!("{FILE}: an exception lacks `{key}`"))?.to_owned())
    };
    if field("reason")?.trim().is_empty() {
        return Err(format!("{FILE}: the exception for {} gives no reason", field("crate")?).into());
    }
    Ok(Exception { name: field("crate")?, licence: field("licence")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        allowed = ["MIT", "Apache-2.0"]
        [[exception]]
        crate = "odd"
        licence = "Odd-1.0"
        reason = "read by a person"
    "#;

    fn package(name: &str, licence: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            ..Package::default()
        }
    }

    fn complaints(packages: &[Package]) -> Vec<String> {
        let findings = check(packages, POLICY).expect("the policy is valid");
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn allowed_and_excepted_licences_pass() {
        let packages = [package("a", Some("MIT OR GPL-3.0")), package("odd", Some("Odd-1.0"))];
        assert_eq!(complaints(&packages), Vec::<String>::new());
    }

    #[test]
    fn others_absent_ones_and_changed_ones_do_not() {
        let packages = [package("a", Some("GPL-3.0")), package("b", None), package("odd", Some("Odd-2.0"))];
        assert_eq!(
            complaints(&packages),
            [
                "a 1.0.0 is under GPL-3.0, which the policy does not allow",
                "b 1.0.0 names no licence",
                "odd 1.0.0 is under Odd-2.0, which the policy does not allow",
            ]
        );
    }

    #[test]
    fn a_stale_exception_is_reported() {
        assert_eq!(complaints(&[]), ["the exception for odd is used by nothing"]);
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let policy = "allowed = []\n[[exception]]\ncrate = \"a\"\nlicence = \"X\"";
        assert!(check(&[], policy).is_err());
    }
}
