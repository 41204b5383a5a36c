//! The licences of what is linked into natha. `scripts/package` judges them with cargo-deny, which
//! takes minutes to build; here it is seen in every run.

use std::fs;

use natha_lab::process::tool;
use spdx::{Expression, Licensee, ParseMode};

use super::source::root;

/// Two of the targets of `deny.toml`: each architecture, and each C library.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl"];

/// The licences that `deny.toml` allows.
pub(crate) fn allowed() -> Vec<Licensee> {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml is readable");
    let settings: toml::Table = text.parse().expect("deny.toml is TOML");
    let names = settings["licenses"]["allow"].as_array().expect("licenses.allow is an array");
    let names = names.iter().map(|name| name.as_str().expect("a licence is a text"));
    names.map(|name| Licensee::parse(name).expect(name)).collect()
}

/// The packages that natha is built from, one in each line, and after a `|` the licence.
pub(crate) fn packages() -> String {
    let mut all = String::new();
    for target in TARGETS {
        let tree = ["tree", "--locked", "--package", "natha", "--edges", "normal,build"];
        let shown = ["--prefix", "none", "--format", "{p}|{l}", "--target", target];
        all += &tool("cargo", &[tree, shown].concat(), "").expect("cargo lists what it builds");
    }
    all
}

/// The packages whose licence is not among those allowed.
pub(crate) fn forbidden(packages: &str, allowed: &[Licensee]) -> Vec<String> {
    let may_be_used = |licence: &str| {
        let expression = Expression::parse_mode(licence, ParseMode::LAX);
        let is_allowed = |expression: Expression| {
            expression.evaluate(|wanted| allowed.iter().any(|one| one.satisfies(wanted)))
        };
        expression.is_ok_and(is_allowed)
    };
    let mut found: Vec<String> = packages
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .filter(|(_, licence)| !may_be_used(licence))
        .map(|(package, licence)| format!("{package}: {licence:?}"))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
