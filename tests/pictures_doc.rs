//! The pictures of the documentation are those that their script draws, and recordings of a
//! terminal are made and drawn as it says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the scripts, which end soon")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a script of docs/pictures.
fn run(script: &str, arguments: &[&str]) -> Output {
    let interpreter = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    Command::new(interpreter)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures").join(script))
        .args(arguments)
        .output()
        .expect("set NATHA_PYTHON to a Python 3")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How far into a drawn recording one of its texts appears, in percent.
fn appears(drawn: &str, number: u8) -> f64 {
    let before = format!("@keyframes k{number}{{0.000%{{visibility:hidden}}");
    let (_, rest) = drawn.split_once(&before).unwrap_or_else(|| panic!("no {before} in {drawn}"));
    rest.split('%').next().unwrap().parse().unwrap()
}

#[test]
fn the_pictures_are_those_of_their_script() {
    let output = run("draw.py", &["--check"]);
    assert!(output.status.success(), "run docs/pictures/draw.py:\n{}", errors(&output));
}

#[test]
fn a_command_is_recorded_and_its_end_appears_after_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let cast = directory.path().join("two.cast");
    let command = "test -t 1; printf 'gone\\r\\033[2K'; printf '\\033[32mtwo\\033[0m & 3\\n'; \
                   sleep 0.3; echo four";
    let cast = cast.to_str().unwrap();
    let output = run("record.py", &[cast, "--title", "Two", "--", "sh", "-ec", command]);
    assert!(output.status.success(), "{}", errors(&output));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("four"), "{shown}");
    let recorded = fs::read_to_string(cast).unwrap();
    assert!(
        recorded.starts_with("{\"version\": 2, \"width\": 100, \"height\": 28, "),
        "{recorded}"
    );

    let output = run("draw.py", &[cast]);
    assert!(output.status.success(), "{}", errors(&output));
    for theme in ["light", "dark"] {
        let drawn = directory.path().join(format!("two-{theme}.svg"));
        let drawn = fs::read_to_string(drawn).unwrap();
        assert!(drawn.contains("<title>Two</title>"), "{drawn}");
        assert!(!drawn.contains("gone"), "what was erased at once is drawn: {drawn}");
        assert!(drawn.contains(">two</tspan> &amp; 3</text>"), "{drawn}");
        let [first, second] = [0, 1].map(|number| appears(&drawn, number));
        assert!(first < second, "{first} %, {second} %: {drawn}");
    }
}

#[test]
fn a_command_that_fails_leaves_no_recording() {
    let directory = tempfile::tempdir().unwrap();
    let cast = directory.path().join("none.cast");
    let path = cast.to_str().unwrap();
    let output = run("record.py", &[path, "--title", "None", "--", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("the command ended with 7"), "{}", errors(&output));
    assert!(!cast.exists());
    let output = run("record.py", &["none.txt", "--title", "None", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("ends with .cast"), "{}", errors(&output));
}

#[test]
fn a_control_sequence_that_cannot_be_drawn_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let cast = directory.path().join("moves.cast");
    let head = "{\"version\": 2, \"width\": 80, \"height\": 24, \"title\": \"Moves\"}";
    fs::write(&cast, format!("{head}\n[0.1, \"o\", \"a\\u001b[5;5Hb\"]\n")).unwrap();
    let output = run("draw.py", &[cast.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("'\\x1b[5;5H' is not known"), "{}", errors(&output));
    assert!(!directory.path().join("moves-light.svg").exists());
}
