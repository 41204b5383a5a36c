//! `docs/config.md` tells what the program does.

#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use natha::config::{Sources, resolve};

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md")
}

/// Compares what stands between two marks with what the program says, or writes it there.
fn compare(name: &str, wanted: &str) {
    let path = document();
    let text = fs::read_to_string(&path).expect("the document");
    let (begin, end) = (format!("<!-- {name} begin -->\n"), format!("<!-- {name} end -->"));
    let (head, rest) = text.split_once(&begin).expect("the begin mark");
    let (told, tail) = rest.split_once(&end).expect("the end mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{begin}{wanted}{end}{tail}"))
            .expect("a file that can be written");
    } else {
        assert_eq!(told, wanted, "run this test with UPDATE_DOCS=1 and look at the difference");
    }
}

/// One test for both tables, since both are written to the same file.
#[test]
fn the_reference_lists_the_settings_and_the_keys_of_groups_as_the_program_has_them() {
    compare("settings", &natha::config::reference());
    compare("groups", &natha::config::group_reference());
}

#[test]
fn the_program_takes_every_example() {
    let text = fs::read_to_string(document()).unwrap();
    let examples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
        .collect();
    assert!(examples.len() >= 8, "{} examples", examples.len());
    for kind in ["tables", "vip", "private-ip", "eip", "dns", "address = true"] {
        assert!(examples.iter().any(|one| one.contains(kind)), "no example with {kind}");
    }
    for example in examples {
        let file = Some((PathBuf::from("example.toml"), example.to_owned()));
        let outcome = resolve(&Sources { file, ..Sources::default() });
        assert!(outcome.is_ok(), "{}\nin\n{example}", outcome.unwrap_err());
    }
}

/// Runs `natha config` with this file, off EC2.
fn natha_config(file: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("natha.toml");
    fs::write(&path, file).expect("a file");
    Command::new(env!("CARGO_BIN_EXE_natha"))
        .env_clear()
        .env("NATHA_CONFIG", &path)
        .env("NATHA_REPAIR_AFTER", "2m")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
        .arg("config")
        .args(arguments)
        .output()
        .expect("natha runs")
}

#[test]
fn the_settings_are_shown_off_ec2_and_the_exit_code_says_what_is_missing() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let file = "cluster = \"blue\"\n[heartbeat]\ninterval = \"50ms\"\n";
    for (arguments, code) in [(&["--changed", "--no-tags"][..], 0), (&["--changed"], 3)] {
        let output = natha_config(file, arguments);
        let shown = text(output.stdout);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert_eq!(shown.contains("tags of this instance could not be read"), code == 3, "{shown}");
        for part in ["/natha.toml:1", "/natha.toml:3", "environment NATHA_REPAIR_AFTER"] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
        assert!(!shown.contains("api.timeout"), "{shown}");
    }
    let wrong = file.replace("\"50ms\"", "50");
    let output = natha_config(&wrong, &["--no-tags"]);
    let told = text(output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{told}");
    assert!(told.contains("heartbeat.interval = 50 (") && told.contains("write 50ms"), "{told}");
    let output = natha_config(&wrong, &["--no-tags", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told["problems"][0]["what"], "has no unit");
    let output = natha_config(file, &["--no-tags", "--set", "heartbeat.port=0"]);
    assert_eq!(output.status.code(), Some(2));
}
