//! The main job, with real packets: a NAT pair that fails over, repairs and hands back.

use std::time::Duration;

use natha_lab::{Lab, Spec};

const USER_DATA: &str = "#!/bin/sh
natha setup && exec natha monitor
";

#[test]
fn a_panicked_nat_is_covered_repaired_and_handed_its_routes_back() {
    let mut spec = Spec::nodes(2).with_node_user_data(USER_DATA).with_cluster("lab");
    spec.natha = Some(env!("CARGO_BIN_EXE_natha").into());
    let lab = Lab::start(&spec).unwrap();
    for zone in 0..2 {
        let table = lab.zone(zone).unwrap();
        println!("{table:?}");
    }
    std::thread::sleep(Duration::from_secs(5));
    println!("{}", lab.console("nat-a").unwrap()); println!("{}", lab.console("nat-b").unwrap()); println!("{:#?}", lab.exec("nat-b", &["natha", "status"], Duration::from_secs(5)));println!("{:#?}", lab.exec("nat-b", &["natha", "status", "--json"], Duration::from_secs(5)).map(|o| println!("{}", o.stdout)));
    println!("{:#?}", lab.exec("nat-a", &["natha", "status"], Duration::from_secs(5)));
    println!(
        "{:#?}",
        lab.exec("host-a", &["ping", "-c2", "-W1", "203.0.113.10"], Duration::from_secs(5))
    );
}
