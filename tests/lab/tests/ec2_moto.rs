//! The simulated EC2 and Route 53 beside moto: the same questions to both, and `docs/lab.md` says
//! exactly what each of them answers. What AWS does, it says too: `tests/pages_doc.rs` reads that.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

/// What both of them answered.
#[derive(Deserialize)]
struct Judged {
    version: String,
    lab: BTreeMap<String, String>,
    moto: BTreeMap<String, String>,
}

/// One row of the table in `docs/lab.md`.
struct Row {
    lab: String,
    moto: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lab_and_moto_answer_as_the_table_says() {
    let served = support::serve_world(std::time::SystemTime::now()).await;
    let zone = served.world.lock().create_hosted_zone("example.test", Duration::ZERO).unwrap();
    let printed = support::python("ec2_moto.py", &[&served.endpoint, &zone]).await;
    let judged: Judged = serde_json::from_str(&printed).expect("the program prints JSON");
    if let Ok(path) = std::env::var("NATHA_LAB_ANSWERS") {
        std::fs::write(path, &printed).expect("the answers can be written");
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lab.md");
    let text = std::fs::read_to_string(&document).expect("docs/lab.md can be read");
    assert!(
        text.contains(&format!("moto {}", judged.version)),
        "docs/lab.md is about another version of moto than {}",
        judged.version
    );
    assert!(served.world.lock().history().len() > judged.lab.len(), "the lab was not asked");
    let rows = table(&text);
    let told: BTreeSet<&String> = rows.keys().collect();
    let asked: BTreeSet<&String> = judged.lab.keys().collect();
    assert_eq!(told, asked, "the table's rows are not the questions that are asked");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(name, row)| {
            let (lab, moto) = (&judged.lab[name], &judged.moto[name]);
            let same = row.lab == *lab && row.moto == *moto;
            (!same).then(|| format!("{name}: the lab says '{lab}', moto says '{moto}'"))
        })
        .collect();
    assert!(wrong.is_empty(), "docs/lab.md tells it differently:\n{}", wrong.join("\n"));
}

/// Reads the table with the columns call, lab, moto, real EC2, evidence.
fn table(text: &str) -> BTreeMap<String, Row> {
    text.lines()
        .skip_while(|line| !line.starts_with("| call or behaviour |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<String> =
                line.trim_matches('|').split('|').map(|c| c.trim().replace('`', "")).collect();
            let [name, lab, moto, _, _] = cells.as_slice() else {
                panic!("not five columns: {line}");
            };
            (name.clone(), Row { lab: lab.clone(), moto: moto.clone() })
        })
        .collect()
}
