//! The `natha-prove` program.

use std::process::ExitCode;
use std::time::Duration;

use natha_prove::model::{Effort, Kind, Scope, check, tell};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let strikes = args[1].parse().unwrap();
    let nodes = args[2].parse().unwrap();
    let limit = args[3].parse().unwrap();
    let lasts = std::env::var("LASTS").ok().map(|l| l.split(',').map(|x| x.parse().unwrap()).collect());
    let booting = std::env::var("BOOTING").is_ok();
    let kinds: Vec<Kind> = if args.len() > 4 {
        Kind::ALLOWED.into_iter().chain([Kind::Overdue]).filter(|k| args[4..].contains(&format!("{k:?}"))).collect()
    } else { Kind::ALLOWED.to_vec() };
    let scope = Scope { name: "all", nodes, tables: 1, kinds, strikes, lasts, booting };
    let report = check(&scope, Effort { threads: 2, limit: Some(Duration::from_secs(limit)), first: false });
    println!("{} states, depth {}, {:?}, complete {}", report.states, report.depth, report.took, report.took.as_secs() < limit);
    for (rule, path) in &report.broken {
        println!("--- {rule}\n{}", tell(&scope, path));
    }
    ExitCode::SUCCESS
}
