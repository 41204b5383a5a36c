//! The pages for operators give the program's own alerts, verdicts and messages, each behaviour of
//! the lab has its evidence, the README is short, and the index lists every page.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of the README, at most.
const README_LINES_MAX: usize = 200;

/// The kinds of evidence for what the real EC2 does, the strongest first.
const EVIDENCE: [&str; 6] =
    ["recorded from AWS", "verified suite", "documentation", "botocore's model", "report", "none"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The program's source files with their paths below `src`, tests excepted.
fn sources() -> Vec<(String, String)> {
    let is_test = |path: &PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        name.ends_with("tests.rs") || name.contains("/tests/")
    };
    let without_tests = |path: PathBuf| {
        let name = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let text = text(path);
        (name, text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned())
    };
    let sources = files(&root().join("src")).into_iter().filter(|path| !is_test(path));
    sources.map(without_tests).collect()
}

/// The text of the program, tests excepted.
fn program() -> String {
    sources().into_iter().map(|(_, text)| text).collect()
}

/// Rust source with every string on one line, with `…` for what a message is filled in with, and
/// with `”` for a quotation mark inside of a string.
fn as_messages(source: &str) -> String {
    let joined: String =
        source.split("\\\n").enumerate().fold(String::new(), |mut text, (at, part)| {
            text.push_str(if at == 0 { part } else { part.trim_start() });
            text
        });
    let mut messages = String::new();
    let mut rest = joined.as_str();
    while let Some(open) = rest.find('{') {
        messages.push_str(&rest[..open]);
        let inside = &rest[open + 1..];
        match inside.find(['}', '{', '\n', ' ']) {
            Some(end) if inside[end..].starts_with('}') => {
                messages.push('…');
                rest = &inside[end + 1..];
            }
            _ => {
                messages.push('{');
                rest = inside;
            }
        }
    }
    messages.push_str(rest);
    messages.replace("\\\"", "”")
}

/// The quoted paragraphs of a page, each on one line.
fn quotes(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        let quoted = line.strip_prefix("> ");
        match quoted {
            Some(part) if is_inside => {
                let last = found.last_mut().unwrap();
                last.push(' ');
                last.push_str(part);
            }
            Some(part) => found.push(part.to_owned()),
            None => {}
        }
        is_inside = quoted.is_some();
    }
    found
}

/// What is under a heading of the second level, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("there is no section {heading}"));
    rest.split("\n## ").next().unwrap()
}

/// The first column of the tables in a section, where it is code.
fn first_column(section: &str) -> BTreeSet<&str> {
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.filter_map(|rest| rest.split('`').next()).collect()
}

/// The strings of a source file that follow `before` on their line.
fn strings_after<'a>(source: &'a str, before: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for line in source.lines().filter(|line| line.contains(before)) {
        let (_, rest) = line.split_once(before).unwrap();
        let quoted = rest.split_once('"').filter(|(between, _)| !between.contains([';', '(']));
        found.extend(quoted.and_then(|(_, rest)| rest.split('"').next()));
    }
    found
}

/// The names of all alerts, as the program gives them to their constructor.
fn alerts(program: &str) -> BTreeSet<&str> {
    ["Alert::new(\"", "set_alert(\""]
        .into_iter()
        .flat_map(|before| program.split(before).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn a_message_is_joined_and_its_placeholders_are_not_compared() {
    let source =
        "format!(\n    \"{a} of {} are in use: \\\n     give \\\"{b:?}\\\" more\"\n) { x }";
    let messages = as_messages(source);
    assert!(messages.contains("\"… of … are in use: give ”…” more\""), "{messages}");
    assert!(messages.contains("{ x }"), "{messages}");
}

#[test]
fn every_message_on_a_page_is_one_of_the_program() {
    let messages = as_messages(&program());
    let mut wrong = Vec::new();
    for (page, at_least) in [("operations", 25), ("troubleshooting", 30)] {
        let quoted = quotes(&text(format!("docs/{page}.md")));
        assert!(quoted.len() >= at_least, "docs/{page}.md quotes {} messages", quoted.len());
        let unknown = quoted.into_iter().filter(|quote| !messages.contains(quote));
        wrong.extend(unknown.map(|quote| format!("docs/{page}.md: {quote}")));
    }
    assert!(wrong.is_empty(), "the program has no such message:\n{}", wrong.join("\n"));
    assert!(!messages.contains("no-such-program"), "a text of a test counts as a message");
}

/// The strings in a text of [`as_messages`], comments excepted.
fn strings(messages: &str) -> impl Iterator<Item = &str> {
    let code = messages.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// The messages of the program whose remedy is to run something.
fn remedies(messages: &str) -> Vec<&str> {
    let names_a_command =
        |text: &&str| ["run `", "run this", "run setup"].iter().any(|it| text.contains(it));
    strings(messages).filter(names_a_command).collect()
}

#[test]
fn every_error_that_asks_for_a_command_is_on_a_page() {
    let pages = ["operations", "troubleshooting"].map(|page| text(format!("docs/{page}.md")));
    let quoted: Vec<String> = pages.iter().flat_map(|page| quotes(page)).collect();
    let messages = as_messages(&program());
    let remedies = remedies(&messages);
    assert!(remedies.len() >= 20, "{} messages", remedies.len());
    let is_missing = |message: &&&str| !quoted.iter().any(|quote| message.contains(quote));
    let missing: Vec<&&str> = remedies.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not quote {missing:#?}");
}

/// What may stand between backticks in a message, or has a dot like a setting, and is none.
const NO_SETTINGS: [&str; 9] = [
    // The program, and the credential with its key.
    "natha",
    "natha.key",
    // Files in the state directory.
    "history.jsonl",
    "history.1.jsonl",
    // A sysctl.
    "nf_conntrack_acct",
    // States of an instance.
    "running",
    "stopped",
    "stopping",
    // The monitor's interface.
    "natha0",
];

/// The names of all settings and keys of groups, and the words that are values of some, by their
/// reference.
fn names_and_values(page: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let mut found = (BTreeSet::new(), BTreeSet::new());
    for name in ["settings", "groups"] {
        let (_, rest) = page.split_once(&format!("<!-- {name} begin -->")).unwrap();
        let (reference, _) = rest.split_once(&format!("<!-- {name} end -->")).unwrap();
        for row in reference.lines().filter_map(|line| line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            found.0.insert(cells[0].trim_end_matches('`'));
            found.1.extend(cells[2].split([' ', ',']));
        }
    }
    found
}

/// What in a message has the form of a setting's name: a word between backticks, or a word with a
/// dot that begins like a setting.
fn like_settings<'a>(message: &'a str, sections: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let is_word = |text: &&str| {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c);
        text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(is_part)
    };
    let quoted = message.split('`').skip(1).step_by(2);
    let words = message.split(|c: char| !c.is_ascii_alphanumeric() && !"_.-/…".contains(c));
    let dotted = words
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.split_once('.').is_some_and(|(section, _)| sections.contains(section)));
    quoted.chain(dotted).filter(is_word).collect()
}

#[test]
fn every_setting_that_a_message_names_exists() {
    let page = text("docs/config.md");
    let (names, values) = names_and_values(&page);
    let sections: BTreeSet<&str> =
        names.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    assert!(names.len() >= 90 && sections.len() >= 12, "{names:?}");
    let mut known = 0;
    let mut unknown = BTreeSet::new();
    // The descriptions of metrics name their labels in the same way.
    for (file, text) in sources().into_iter().filter(|(file, _)| !file.starts_with("metrics/")) {
        for message in strings(&as_messages(&text)) {
            for name in like_settings(message, &sections) {
                let is_other = values.contains(name) || NO_SETTINGS.contains(&name);
                if names.contains(name) {
                    known += 1;
                } else if !is_other {
                    unknown.insert(format!("{file}: {name} in \"{message}\""));
                }
            }
        }
    }
    assert!(known >= 100, "{known}");
    assert!(unknown.is_empty(), "no such setting: {unknown:#?}");
    let seeded = like_settings("set --x or `uplink`, see host.sauces", &sections);
    assert!(seeded.iter().all(|name| !names.contains(name)), "{seeded:?}");
    assert_eq!(seeded.len(), 2, "{seeded:?}");
}

#[test]
fn every_alert_has_a_runbook() {
    let page = text("docs/operations.md");
    let runbooks = section(&page, "Alerts of this host");
    let mut documented = BTreeSet::new();
    for runbook in runbooks.split("\n### `").skip(1) {
        let name = runbook.split('`').next().unwrap();
        assert!(!quotes(runbook).is_empty(), "the runbook of {name} quotes no message");
        for part in ["**Means.**", "**Look at.**", "**Do.**"] {
            assert_eq!(runbook.matches(part).count(), 1, "{part} in the runbook of {name}");
        }
        documented.insert(name);
    }
    assert_eq!(documented, alerts(&program()));
}

#[test]
fn every_rule_for_prometheus_has_a_place_to_look() {
    let rules = text("observability/prometheus-rules.yaml");
    let named: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(named.len() > 20, "{named:?}");
    let page = text("docs/operations.md");
    let (_, rest) = page.split_once("\n### Rules for Prometheus\n").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    assert_eq!(first_column(section), named);
}

#[test]
fn operations_lists_every_verdict_fault_and_event() {
    let page = text("docs/operations.md");
    for (heading, source, before) in [
        ("Verdicts", "src/failover/view.rs", "Self::"),
        ("Faults of a node", "src/types/beat.rs", "Self::"),
        ("Events", "src/status.rs", "EventKind::"),
    ] {
        let source = text(source);
        let names = strings_after(&source, before);
        assert!(names.len() >= 6, "{heading}: {names:?}");
        assert_eq!(first_column(section(&page, heading)), names, "{heading}");
    }
}

#[test]
fn operations_shows_the_status_as_it_is_printed() {
    let page = text("docs/operations.md");
    for name in ["status_good_day", "status_bad_day"] {
        let golden = text(format!("tests/golden/{name}.snap"));
        let printed = golden.splitn(3, "---\n").nth(2).unwrap();
        assert!(page.contains(&format!("```\n{printed}```\n")), "docs/operations.md lacks {name}");
    }
}

/// The numbers in a cell, such as `26, 27`.
fn numbers(cell: &str) -> impl Iterator<Item = u32> {
    cell.split(',').filter_map(|number| number.trim().parse().ok())
}

#[test]
fn every_failure_that_is_staged_is_explained() {
    let scenarios = text("docs/evidence/chaos.md");
    let rows = scenarios.lines().filter(|line| line.starts_with("| "));
    let staged = rows.filter(|row| !row.contains("| not staged: "));
    let staged: BTreeSet<u32> =
        staged.filter_map(|row| row.split('|').nth(1)).flat_map(numbers).collect();
    assert!(staged.len() >= 40, "{staged:?}");
    let page = text("docs/failures.md");
    let rows = page.lines().filter_map(|line| line.strip_suffix(" |"));
    let explained: BTreeSet<u32> =
        rows.filter_map(|row| row.rsplit('|').next()).flat_map(numbers).collect();
    assert_eq!(explained, staged);
}

/// The cells of a table's rows; the table is known by the start of its header.
fn table<'a>(page: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(header));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn each_behaviour_of_the_lab_has_its_evidence() {
    let page = text("docs/lab.md");
    let behaviours = table(&page, "| call or behaviour |");
    let differences = table(&page, "| behaviour | lab | real EC2");
    for row in behaviours.iter().chain(&differences) {
        let [name, .., real, kind] = row.as_slice() else { panic!("a short row: {row:?}") };
        assert!(EVIDENCE.contains(kind), "{name}: {kind} is no kind of evidence");
        assert!(*kind == "none" || real.contains('['), "{name}: the source is missing");
    }
    let of_kind = |kind: &str| behaviours.iter().filter(|row| row.last() == Some(&kind)).count();
    let counted = EVIDENCE.map(|kind| (kind, of_kind(kind).to_string()));
    let told = table(&page, "| kind of evidence |");
    let told: Vec<(&str, String)> =
        told.into_iter().map(|row| (row[0], row[2].to_owned())).collect();
    assert_eq!(told, counted);
    let evidence = |name: &str| -> serde_json::Value {
        let file = text(format!("tests/lab/tests/evidence/{name}.json"));
        serde_json::from_str(&file).unwrap_or_else(|error| panic!("{name}.json: {error}"))
    };
    let shapes = evidence("shapes")["shapes"].as_array().unwrap().len();
    let answers = evidence("answers");
    let answers: usize =
        answers.as_object().unwrap().values().map(|kind| kind.as_object().unwrap().len()).sum();
    let told =
        format!("the members of {shapes} kinds of things in AWS's answers, and {answers} answers");
    assert!(page.replace("\n  ", " ").contains(&told), "docs/lab.md does not say: {told}");
    let [(_, recorded), .., (_, none)] = counted;
    let readme = text("README.md").replace("\n> ", " ");
    let sentence = format!(
        "{recorded} of {} behaviours of the simulated EC2 are recorded from AWS, \
         [{none} have no source]",
        behaviours.len()
    );
    assert!(readme.contains(&sentence), "the README does not say: {sentence}");
}

#[test]
fn the_readme_is_short() {
    let lines = text("README.md").lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines, over {README_LINES_MAX}");
}

#[test]
fn the_index_lists_every_page() {
    let docs = root().join("docs");
    let index = text("docs/README.md");
    let pages = files(&docs).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    let paths = pages.map(|path| path.strip_prefix(&docs).unwrap().to_string_lossy().into_owned());
    let missing: Vec<String> =
        paths.filter(|path| path != "README.md" && !index.contains(&format!("]({path}"))).collect();
    assert!(missing.is_empty(), "docs/README.md does not link to {missing:?}");
}
