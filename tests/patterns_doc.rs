//! `docs/patterns.md` shows settings that natha accepts, and a figure for each pattern.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use natha::config::{Resolved, Sources, resolve};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/patterns.md");
    fs::read_to_string(&path).unwrap()
}

/// What is in a document between ```toml and ```.
fn settings(document: &str) -> Vec<String> {
    let blocks = document.split("\n```toml\n").skip(1);
    blocks.map(|block| block.split("\n```\n").next().unwrap().to_owned() + "\n").collect()
}

fn read(text: &str) -> Result<Resolved, String> {
    let file = Some((PathBuf::from("natha.toml"), text.to_owned()));
    let sources = Sources { file, ..Sources::default() };
    resolve(&sources).map_err(|problems| problems.to_string())
}

#[test]
fn natha_accepts_every_settings_file_that_is_shown() {
    let shown = settings(&document());
    assert!(shown.len() >= 7, "{} blocks", shown.len());
    for text in shown {
        let found = read(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let groups = found.settings.groups;
        assert_eq!(groups.is_empty(), !text.contains("[[group]]"), "{text}");
        assert!(groups.iter().all(|group| !group.resources.is_empty()), "{text}");
    }
    let wrong = settings(&document())[0].replace("kind = \"vip\"", "kind = \"vipp\"");
    let problems = read(&wrong).unwrap_err();
    assert!(problems.contains("did you mean \"vip\""), "{problems}");
}

#[test]
fn every_pattern_tells_what_a_reader_needs_to_choose() {
    let document = document();
    for pattern in ["Virtual IP", "Private IP", "Elastic IP", "Name", "keepalived"] {
        let heading = format!("\n## {pattern}\n");
        let (_, section) = document.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n## ").next().unwrap();
        for part in ["When.", "Policy.", "Costs.", "How fast.", "What it cannot do."]
            .map(|it| format!("**{it}**"))
        {
            assert_eq!(section.matches(&part).count(), 1, "{pattern}: {part}");
        }
        assert!(section.contains("```toml\n"), "{pattern}");
        let (_, fast) = section.split_once("**How fast.**").unwrap();
        let first = fast.split('.').next().unwrap();
        assert!(first.chars().any(|c| c.is_ascii_digit()), "{pattern}: no figure");
    }
}
