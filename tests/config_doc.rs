//! `docs/config.md` tells what the program does.

use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- settings begin -->\n";
const END: &str = "<!-- settings end -->";

#[test]
fn the_reference_lists_the_settings_as_the_program_has_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("the begin mark");
    let (table, tail) = rest.split_once(END).expect("the end mark");
    let wanted = natha::config::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{wanted}{END}{tail}")).unwrap();
    } else {
        assert_eq!(table, wanted, "run this test with UPDATE_DOCS=1 and look at the difference");
    }
}
