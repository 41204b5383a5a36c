//! The scenarios of `natha_lab::chaos` that a lab can stage, each named after its number. The tests
//! judge natha from outside, by packets, routes and the states of instances. They read what natha
//! says only where it must report something.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use natha_lab::chaos::{SCENARIOS, Scenario, results, table};

#[path = "chaos/a_api.rs"]
mod a_api;
#[path = "chaos/a_clock.rs"]
mod a_clock;
#[path = "chaos/a_network.rs"]
mod a_network;
#[path = "chaos/a_power.rs"]
mod a_power;
#[path = "chaos/a_routes.rs"]
mod a_routes;
#[path = "chaos/b_cluster.rs"]
mod b_cluster;
#[path = "chaos/b_groups.rs"]
mod b_groups;
#[path = "chaos/b_instances.rs"]
mod b_instances;
#[path = "chaos/b_limits.rs"]
mod b_limits;
#[path = "chaos/b_restarts.rs"]
mod b_restarts;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
}

/// The names of the tests in a source file.
fn tests_in(source: &str) -> BTreeSet<String> {
    let bodies = source.split("#[test]").skip(1);
    let names = bodies.filter_map(|body| body.split_once("fn ")?.1.split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The files with the scenarios' tests.
fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/chaos")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_test_of_the_table_exists() {
    for test in results::wanted() {
        let (file, name) = test.split_once("::").unwrap();
        let sources = if file == "lab_chaos" {
            files()
        } else {
            vec![root().join(format!("tests/{file}.rs"))]
        };
        let found = sources.iter().any(|path| tests_in(&read(path)).contains(name));
        assert!(found, "natha_lab::chaos names the test {test}, which does not exist");
    }
}

#[test]
fn every_scenarios_test_is_in_the_table() {
    let listed: BTreeSet<&str> = SCENARIOS.iter().flat_map(Scenario::tests).copied().collect();
    for name in files().iter().flat_map(|path| tests_in(&read(path))) {
        let known = listed.contains(&*name);
        assert!(known, "{name} is not in the table: tests/lab/src/chaos/scenarios.rs");
    }
}

#[test]
fn the_document_shows_the_scenarios_and_the_results_of_their_run() {
    let path = root().join("docs/evidence/chaos.md");
    let document = read(&path);
    let table = table::markdown(&read(&root().join("docs/evidence/chaos.json"))).unwrap();
    let fresh = table::insert(&document, &table).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, fresh).unwrap();
    } else {
        let same = fresh == document;
        assert!(same, "run this test with UPDATE_DOCS=1 and look at the difference");
    }
}
