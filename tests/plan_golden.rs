//! The rendered nft table, byte for byte.
//!
//! Where a change of the table is meant: run with `NATHA_BLESS=1`, and review the difference.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;

use natha::plan::TableSpec;

fn spec(links: &[&str], sources: &[&str], local: &[&str], clamp_mss: bool) -> TableSpec {
    let networks = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    TableSpec {
        uplink: links[0].to_owned(),
        links: links.iter().map(|name| (*name).to_owned()).collect(),
        sources: networks(sources),
        local: networks(local),
        clamp_mss,
    }
}

fn compare(name: &str, spec: &TableSpec) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let rendered = spec.render() + "\n";
    if std::env::var_os("NATHA_BLESS").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run with NATHA_BLESS=1", path.display()));
    assert_eq!(rendered, golden, "{name} differs; if that is meant, run with NATHA_BLESS=1");
}

#[test]
fn one_armed() {
    compare("one_armed.json", &spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true));
}

#[test]
fn two_armed_with_two_blocks() {
    let blocks = ["10.0.0.0/16", "100.64.0.0/16"];
    compare("two_armed.json", &spec(&["ens5", "ens6"], &blocks, &blocks, true));
}

#[test]
fn one_subnet_of_a_vpc_without_clamping() {
    let spec = spec(&["ens5"], &["10.0.2.0/24"], &["10.0.0.0/16"], false);
    compare("one_subnet.json", &spec);
}

#[test]
fn any_difference_in_the_plan_is_a_difference_in_the_digest() {
    let base = spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    let others = [
        spec(&["ens6"], &["10.0.0.0/16"], &["10.0.0.0/16"], true),
        spec(&["ens5", "ens6"], &["10.0.0.0/16"], &["10.0.0.0/16"], true),
        spec(&["ens5"], &["10.0.2.0/24"], &["10.0.0.0/16"], true),
        spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/15"], true),
        spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], false),
    ];
    for other in others {
        assert_ne!(base.digest(), other.digest(), "{other:?}");
    }
}
