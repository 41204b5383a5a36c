//! What a packet costs: natha's table beside a bare one and iptables, in `dataplane.py`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::{Bench, stats};

/// The figures that [`ratios`] brings.
pub(super) const NAMES: [&str; 3] = [
    "dataplane.ratio_to_bare",
    "dataplane.ratio_to_iptables",
    "dataplane.new_connections_ratio_to_bare",
];

/// The program that measures.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bench/dataplane.py");

/// Forwards TCP through three network namespaces, with one table after the other in each round.
pub(super) fn ratios(bench: &Bench<'_>) -> Result<Figures> {
    let rounds = bench.scale.dataplane.to_string();
    let output = Command::new("python3")
        .arg(SCRIPT)
        .arg(bench.options.natha.canonicalize().context("the natha binary is missing")?)
        .args([&*rounds, "60", "500"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run python3 {SCRIPT}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{SCRIPT} failed: {said}");
    read(&output.stdout)
}

/// The figures in what the program printed.
fn read(json: &[u8]) -> Result<Figures> {
    let object: serde_json::Value = serde_json::from_slice(json).context("it printed no JSON")?;
    let ratio = |name: &'static str| {
        let value = object.get(name).and_then(serde_json::Value::as_f64);
        Ok((name, stats::rounded(value.with_context(|| format!("it printed no {name}"))?, 3)))
    };
    NAMES.into_iter().map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ratios_are_wanted() {
        let all = br#"{"dataplane.ratio_to_bare": 0.9514, "dataplane.ratio_to_iptables": 1,
            "dataplane.new_connections_ratio_to_bare": 0.99}"#;
        assert_eq!(
            read(all).unwrap(),
            Figures::from([(NAMES[0], 0.951), (NAMES[1], 1.0), (NAMES[2], 0.99)])
        );
        let problem = read(br#"{"dataplane.ratio_to_bare": 1}"#).unwrap_err();
        assert!(problem.to_string().contains("printed no dataplane."), "{problem}");
    }
}
