//! `docs/config.md` tells what the program does.

use std::fs;
use std::path::{Path, PathBuf};

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
