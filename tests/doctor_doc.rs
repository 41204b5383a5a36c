//! `docs/doctor.md` explains every check of `natha doctor`, and no other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use natha::doctor::{CHECKS, Section};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md")).unwrap()
}

/// The headings of a level, in order.
fn headings<'a>(page: &'a str, mark: &str) -> Vec<&'a str> {
    page.lines().filter_map(|line| line.strip_prefix(mark)).collect()
}

#[test]
fn the_page_has_every_check_in_the_order_of_the_report() {
    let page = page();
    let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(headings(&page, "### "), names);
    let sections: Vec<String> =
        headings(&page, "## ").iter().map(|one| one.to_lowercase()).collect();
    let wanted = Section::ALL.map(Section::name);
    assert_eq!(sections[sections.len() - wanted.len()..], wanted);
}

#[test]
fn each_check_is_below_the_heading_of_its_section_and_explained() {
    let page = page();
    for check in CHECKS {
        let (before, after) = page.split_once(&format!("\n### {}\n\n", check.name)).unwrap();
        let section = headings(before, "## ").pop().unwrap().to_lowercase();
        assert_eq!(section, check.section.name(), "{check:?}");
        let text = after.split("\n#").next().unwrap();
        assert!(text.trim().len() > 60, "{check:?}: {text}");
    }
}

#[test]
fn the_page_names_every_file_of_the_archive() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/doctor/contents.rs");
    let source = fs::read_to_string(path).unwrap();
    let (_, parts) = source.split_once("let parts = [").unwrap();
    let parts = parts.split("];").next().unwrap();
    let names: Vec<&str> = parts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 8, "{parts}");
    let page = page();
    for name in names.into_iter().chain(["README.txt", "recording.jsonl.gz"]) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
