//! `docs/evidence/proof.md` lists the rules of the model check as the program states them.

use std::fmt::Write;
use std::path::Path;

use natha_prove::model::Rule;

const MARKS: [&str; 2] = ["<!-- rules begin -->\n", "<!-- rules end -->\n"];

#[test]
fn the_page_lists_the_rules_as_the_program_states_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/evidence/proof.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(MARKS[0]).expect("the page marks its table");
    let (_, tail) = rest.split_once(MARKS[1]).expect("the page marks its table");
    let mut table = "| rule | says |\n|---|---|\n".to_owned();
    for rule in Rule::ALL {
        writeln!(table, "| {} | {} |", rule.name(), rule.statement()).unwrap();
    }
    let wanted = format!("{head}{}{table}{}{tail}", MARKS[0], MARKS[1]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(page == wanted, "proof.md: run this test with UPDATE_DOCS=1 and look at it");
    }
}
