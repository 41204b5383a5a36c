//! The sizes of the packages, as `scripts/package` makes them.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::figures::Figures;

/// The figures that [`sizes`] brings.
pub(super) const NAMES: [&str; 2] = ["package.program_mib", "package.deb_mib"];

/// The script that makes the packages and writes their sizes.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/package");

/// Makes the packages of one architecture, for their sizes only. It compiles the static program
/// first, which takes minutes and 7 GB of memory where that was not done before.
pub(super) fn sizes(_bench: &Bench<'_>) -> Result<Figures> {
    let directory = tempfile::tempdir().context("no room for packages")?;
    let [json, said] = ["sizes.json", "said"].map(|name| directory.path().join(name));
    let out = File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
    let status = Command::new(SCRIPT)
        .args(["--arch", "x86_64", "--out"])
        .arg(directory.path().join("dist"))
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .status()
        .with_context(|| format!("cannot run {SCRIPT}"))?;
    let said = fs::read_to_string(&said).unwrap_or_default();
    ensure!(status.success(), "{SCRIPT} failed: {}", last_lines(&said));
    read(&fs::read_to_string(&json).with_context(|| format!("{SCRIPT} wrote no sizes"))?)
}

/// The figures in what the script wrote.
fn read(json: &str) -> Result<Figures> {
    let object: serde_json::Value =
        serde_json::from_str(json).with_context(|| format!("not JSON: {json}"))?;
    let size = |name: &'static str| {
        let size = object.get(name).and_then(serde_json::Value::as_f64);
        Ok((name, size.with_context(|| format!("{SCRIPT} wrote no {name}"))?))
    };
    NAMES.into_iter().map(size).collect()
}

/// The end of what a failed run said.
fn last_lines(said: &str) -> String {
    let mut lines: Vec<_> = said.lines().rev().take(5).collect();
    lines.reverse();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sizes_are_wanted() {
        let sizes = read(r#"{"package.program_mib": 11.66, "package.deb_mib": 3.16}"#).unwrap();
        assert_eq!(sizes, Figures::from([(NAMES[0], 11.66), (NAMES[1], 3.16)]));
        let problem = read(r#"{"package.program_mib": 11.66}"#).unwrap_err();
        assert!(problem.to_string().ends_with("wrote no package.deb_mib"), "{problem}");
    }

    #[test]
    fn a_failure_is_told_by_its_last_lines() {
        assert_eq!(last_lines("a\nb\nc\nd\ne\nf"), "b; c; d; e; f");
    }
}
