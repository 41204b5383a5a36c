//! The rules of the repository that no compiler checks. Each has two tests: one that the
//! repository keeps it, and one that a sample which breaks it is caught.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/licenses.rs"]
mod licenses;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, repository, root};

/// Fails with every complaint about the repository's files.
fn check(rule: &str, complain: impl Fn(&Source) -> Vec<String>) {
    report(rule, &repository().iter().flat_map(complain).collect::<Vec<_>>());
}

fn report(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

#[test]
fn layers_import_only_what_they_may() {
    check("see the layers in docs/ARCHITECTURE.md", layers::forbidden_imports);
}

#[test]
fn an_import_across_layers_is_caught() {
    for (path, text) in [
        ("src/plan/mod.rs", "use crate::failover::Machine;"),
        ("src/plan/mod.rs", "fn a() { crate::kernel::run(); }"),
        ("src/failover/detector.rs", "use crate::{config::{Api, Host}, plan};"),
        ("src/failover/detector.rs", "use super::super::cloud::Ec2;"),
        ("src/wire/mod.rs", "use super::status;"),
        ("src/types/ids.rs", "#[cfg(test)]\nmod tests { use super::super::super::config; }"),
        ("src/main.rs", "use natha::daemon;"),
        ("src/unheard_of/mod.rs", ""),
    ] {
        let found = layers::forbidden_imports(&Source::sample(path, text));
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    }
}

#[test]
fn an_allowed_import_is_not_caught() {
    for (path, text) in [
        ("src/plan/mod.rs", "use crate::{types::Time, config::Host};"),
        (
            "src/plan/render.rs",
            "use super::diff; // not crate::kernel\nconst A: &str = \"crate::cloud\";",
        ),
        ("src/commands/mod.rs", "#[cfg(test)]\nmod tests { use super::status; }"),
        ("src/commands/mod.rs", "use crate::daemon;"),
        ("tests/setup_host.rs", "use crate::kernel;"),
        ("src/main.rs", "use natha::{cli, commands};"),
    ] {
        let found = layers::forbidden_imports(&Source::sample(path, text));
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn no_files_import_each_other() {
    report("imports in a circle", &circles::circles(&repository()));
}

#[test]
fn a_circle_of_imports_is_caught() {
    let face = "mod a;\nmod b;\nmod c;\npub use a::A;\npub(crate) use b::{B, C as D};";
    let circle_through = |text: &str| {
        circles::circles(&[
            Source::sample("src/lib.rs", "pub mod x;\nmod y;"),
            Source::sample("src/x/mod.rs", face),
            Source::sample("src/x/a.rs", "use super::{B, c::{self, E}};\nstruct A(B, E);"),
            Source::sample("src/x/b.rs", text),
            Source::sample("src/x/c.rs", "#[cfg(test)]\nmod tests { use super::super::A; }"),
            Source::sample("src/y.rs", "use crate::x::D;"),
        ])
    };
    for text in [
        "use super::A;",
        "use crate::x::{self, A};",
        "fn f(_: super::A) {}",
        "use super::super::y::f;",
        "use crate::x;\nfn f(_: x::A) {}",
        "use crate::{y as z};\nfn f() { z::f() }",
    ] {
        assert_eq!(circle_through(text).len(), 1, "{text}: {:?}", circle_through(text));
    }
    assert_eq!(circle_through("use super::A;"), ["src/x/a.rs, src/x/b.rs import each other"]);
    for text in ["use super::c::E;", "use std::fmt; // use super::A;", "fn f(_: C) {}"] {
        assert!(circle_through(text).is_empty(), "{text}: {:?}", circle_through(text));
    }
    let family = [
        Source::sample("src/x/mod.rs", "mod a;\nuse a::A;\npub struct B(A);"),
        Source::sample("src/x/a.rs", "use super::B;"),
    ];
    assert!(circles::circles(&family).is_empty(), "{:?}", circles::circles(&family));
}

#[test]
fn pure_layers_reach_no_clock_socket_or_file() {
    check("decisions take what they need as arguments", layers::impurities);
}

#[test]
fn a_clock_in_a_pure_layer_is_caught() {
    for text in [
        "use std::time::Instant;",
        "use std::{fs, net::Ipv4Addr};",
        "use std::time::{Duration, SystemTime};",
        "fn a() { tokio::spawn(b) }",
    ] {
        let found = layers::impurities(&Source::sample("src/failover/machine.rs", text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(layers::impurities(&Source::sample("src/daemon/clock.rs", text)).is_empty());
    }
    let tests = "fn io(env: u8) {}\n#[cfg(test)]\nmod tests { use std::fs; }";
    assert!(layers::impurities(&Source::sample("src/plan/mod.rs", tests)).is_empty());
}

#[test]
fn files_and_lines_are_short() {
    check("files up to 500 lines, lines up to 100 columns", shape::long_files_and_lines);
}

#[test]
fn a_long_file_and_a_long_line_are_caught() {
    let many = "\n".repeat(shape::FILE_LINES_MAX + 1);
    let wide = "é".repeat(shape::LINE_COLUMNS_MAX + 1);
    let script = format!("#!/bin/sh{many}");
    for (path, text) in [("src/a.rs", &many), ("src/a.rs", &wide), ("scripts/a", &script)] {
        assert_eq!(shape::long_files_and_lines(&Source::sample(path, text)).len(), 1, "{path}");
    }
    for text in [format!("// https://{wide}"), "é".repeat(shape::LINE_COLUMNS_MAX)] {
        assert!(shape::long_files_and_lines(&Source::sample("src/a.rs", &text)).is_empty());
    }
}

#[test]
fn functions_are_short() {
    check("functions up to 70 lines", shape::long_functions);
}

#[test]
fn a_long_function_is_caught() {
    let function = |lines: usize| {
        let body = "    let a = [0; 3]; // }\n".repeat(lines - 2);
        format!("trait T {{ fn declared(&self) -> [u8; 2]; }}\nfn long(a: u8) -> u8 {{\n{body}}}\n")
    };
    let too_long = Source::sample("src/a.rs", &function(shape::FUNCTION_LINES_MAX + 1));
    let found = shape::long_functions(&too_long);
    assert_eq!(found, ["src/a.rs:2: `long` has 71 lines"]);
    let fits = Source::sample("src/a.rs", &function(shape::FUNCTION_LINES_MAX));
    assert!(shape::long_functions(&fits).is_empty());
}

#[test]
fn nothing_is_marked_unfinished() {
    check("finish it or drop it", shape::leftovers);
}

#[test]
fn a_marker_is_caught() {
    let marker = concat!("TO", "DO");
    let debug_print = concat!("d", "bg!(1)");
    for (path, text) in
        [("src/a.rs", format!("// {marker}: later")), ("src/a.rs", debug_print.to_owned())]
    {
        assert_eq!(shape::leftovers(&Source::sample(path, &text)).len(), 1, "{text}");
    }
    assert!(shape::leftovers(&Source::sample("scripts/a", "mktemp -d a.XXXXXX")).is_empty());
}

#[test]
fn no_test_is_ignored() {
    check("a test runs or goes", shape::ignored_tests);
}

#[test]
fn an_ignored_test_is_caught() {
    let text = format!("#[test]\n#[{} = \"slow\"]\nfn a() {{}}", "ignore");
    assert_eq!(shape::ignored_tests(&Source::sample("src/a.rs", &text)), ["src/a.rs:2"]);
}

#[test]
fn every_rust_file_is_compiled() {
    report("no `mod` leads to", &shape::orphans(&repository()));
}

#[test]
fn an_orphan_is_caught() {
    let sources = [
        Source::sample("src/lib.rs", "pub mod a;\nmod b;\n// mod lost;"),
        Source::sample("src/a/mod.rs", "pub(crate) mod inner;"),
        Source::sample("src/a/inner.rs", ""),
        Source::sample("src/b.rs", "mod deep;"),
        Source::sample("src/b/deep.rs", ""),
        Source::sample("src/lost.rs", ""),
        Source::sample("tests/t.rs", "#[path = \"t/helper.rs\"]\nmod helper;"),
        Source::sample("tests/t/helper.rs", ""),
        Source::sample("tests/lab/src/lib.rs", "pub mod ec2;"),
        Source::sample("tests/lab/src/ec2.rs", ""),
    ];
    assert_eq!(shape::orphans(&sources), ["src/lost.rs"]);
}

#[test]
fn shell_scripts_are_strict_and_say_their_use() {
    check("shell scripts", shape::sloppy_scripts);
}

#[test]
fn a_sloppy_script_is_caught() {
    let sample = |text| shape::sloppy_scripts(&Source::sample("scripts/a", text)).len();
    assert_eq!(sample("#!/bin/sh\necho"), 2);
    assert_eq!(sample("#!/usr/bin/env bash\n# Usage: scripts/a\nset -euo pipefail"), 0);
    assert_eq!(sample("not a script"), 0);
    assert_eq!(sample("#!/bin/bash\n# Usage: a\nset -euo pipefail\nb | grep -q c"), 1);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let sources = repository();
    check("dead links", |source| docs::dead_links(source, &sources, exists));
}

#[test]
fn a_dead_link_is_caught() {
    let text = "# One thing\n[a](b.md) [c](../README.md#its-heading) [d](#one-thing) [e](#two)\n\
                [f](https://example.org/g) ```x\n```\n[h](i.md)\n```\n<img src=\"j.svg\">";
    let page = Source::sample("docs/page.md", text);
    let readme = Source::sample("README.md", "## Its heading");
    let gone = ["docs/b.md", "docs/j.svg"];
    let found = docs::dead_links(&page, &[readme], |path| !gone.contains(&path));
    let complaints = gone.map(|path| {
        format!("docs/page.md: link to {}: no such file", path.trim_start_matches("docs/"))
    });
    assert_eq!(found, complaints);
    let sources = [Source::sample("docs/page.md", text), Source::sample("README.md", "")];
    let found = docs::dead_links(&page, &sources, |_| true);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn documents_give_the_number_of_seeded_bugs() {
    let sources = repository();
    let catalogue = sources.iter().find(|source| source.path == "tests/prove/bugs.toml");
    let catalogue = catalogue.expect("the catalogue of seeded bugs exists");
    let bugs = catalogue.text.lines().filter(|line| *line == "[[bug]]").count();
    check("the number is that of tests/prove/bugs.toml", |source| {
        docs::wrong_bug_counts(source, bugs)
    });
}

#[test]
fn a_wrong_number_of_seeded_bugs_is_caught() {
    let page =
        Source::sample("README.md", "It finds all 31\nseeded bugs. See [x](y.md), 32 seeded bugs.");
    let found = docs::wrong_bug_counts(&page, 32);
    assert_eq!(found, ["README.md: says 31 seeded bugs, there are 32"]);
}

#[test]
fn documents_name_only_scripts_that_exist() {
    check("scripts that documents name", |source| docs::missing_scripts(source, exists));
}

#[test]
fn a_missing_script_is_caught() {
    let page = Source::sample("README.md", "Run `scripts/test`, then scripts/gone.");
    let found = docs::missing_scripts(&page, |path| path == "scripts/test");
    assert_eq!(found, ["README.md: names scripts/gone, which does not exist"]);
}

#[test]
fn only_allowed_licences_are_linked_in() {
    let packages = licenses::packages();
    assert!(packages.lines().count() > 100, "{packages}");
    let found = licenses::forbidden(&packages, &licenses::allowed());
    report("deny.toml allows no such licence", &found);
}

#[test]
fn a_licence_that_is_not_allowed_is_caught() {
    let allowed = licenses::allowed();
    for (licence, is_allowed) in [
        ("MIT", true),
        ("MIT/GPL-3.0", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("", false),
    ] {
        let found = licenses::forbidden(&format!("a v1.0.0|{licence}"), &allowed);
        assert_eq!(found.is_empty(), is_allowed, "{licence}: {found:?}");
    }
}
