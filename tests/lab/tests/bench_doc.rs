//! The published figures are those of a run, and not edited by hand.

use std::fs;
use std::path::Path;

use natha_lab::bench::table;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
}

#[test]
fn the_document_shows_the_figures_of_its_run() {
    let document = read("benchmarks.md");
    let tables = table::markdown(&read("benchmarks.json")).unwrap();
    let fresh = table::insert(&document, &tables).unwrap();
    assert!(
        fresh == document,
        "docs/benchmarks.md differs from docs/benchmarks.json: run \
         `natha-lab bench-table docs/benchmarks.json --into docs/benchmarks.md`"
    );
}
