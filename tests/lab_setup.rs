//! `natha setup` and `natha teardown` on an instance, as EC2 and its metadata see them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::daemon::shared::HostView;
use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::{Lab, Spec};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

fn lab() -> Lab {
    let mut spec = Spec::nodes(1);
    spec.natha = Some(NATHA.into());
    Lab::start(&spec).unwrap()
}

fn natha(lab: &Lab, arguments: &[&str]) -> natha_lab::Output {
    let argv = [&["natha"], arguments].concat();
    lab.exec("nat-a", &argv, Duration::from_secs(30)).unwrap()
}

/// What setup would change on the host: tables, forwarding, and the undo journal.
fn host(lab: &Lab) -> String {
    let looks = "nft list tables; cat /proc/sys/net/ipv4/ip_forward; ls /var/lib/natha/*.json || :";
    lab.sh("nat-a", looks).unwrap()
}

fn is_checked(lab: &Lab) -> bool {
    let interface = lab.host("nat-a").unwrap().interface;
    let shown = lab.ec2("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &interface)]);
    shown.unwrap().contains("<sourceDestCheck>true</sourceDestCheck>")
}

#[test]
fn a_denied_source_dest_check_is_a_clear_error_and_leaves_a_host_that_forwards() {
    let lab = lab();
    let denial = FaultRule::on("ModifyNetworkInterfaceAttribute", Fault::Deny);
    lab.api_faults(Faults { rules: vec![denial] }).unwrap();
    let refused = natha(&lab, &["setup"]);
    assert_eq!(refused.code, 3, "{}{}", refused.stdout, refused.stderr);
    let part = "role ec2:ModifyNetworkInterfaceAttribute";
    assert!(refused.stderr.contains(part), "no `{part}` in {}", refused.stderr);
    assert!(host(&lab).contains("table ip natha"));
    assert!(is_checked(&lab));
}

/// The source/dest checks are off already, as after any setup before the boot. The plan on the disk
/// is all that a node needs.
#[test]
fn nodes_that_boot_while_ec2_hangs_forward() {
    let scene = Scene::start(&scene::spec(2, NATHA, "")).unwrap();
    let nodes = ["nat-a", "nat-b"].map(|name| scene.host(name).unwrap());
    scene.stop_nodes(&nodes).unwrap();
    let hangs = |node: &HostView| {
        FaultRule::everywhere(Fault::Hang).by(Principal::Instance(node.instance.clone()))
    };
    scene.api_faults(Faults { rules: nodes.iter().map(hangs).collect() }).unwrap();
    let meter = scene.ping("host-a", 20).unwrap();
    scene.start_nodes(&nodes).unwrap();
    let answered = || {
        let probes = scene.probes(meter, 0)?;
        Ok(probes.last().is_some_and(|(_, answer)| answer.is_some()))
    };
    scene.wait_for(answered).map_err(|error| scene.explain(error)).unwrap();
    let table = scene.sh("nat-a", "nft list table ip natha").unwrap();
    assert!(table.contains("snat to 10.0."), "{table}");
}

#[test]
fn setup_is_read_back_from_ec2_repeats_without_change_and_is_undone() {
    let lab = lab();
    let before = host(&lab);
    let planned = natha(&lab, &["setup", "--dry-run"]);
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    assert_eq!(host(&lab), before);
    assert!(is_checked(&lab));
    let done = natha(&lab, &["setup", "--json"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["result"], "changed");
    assert!(!is_checked(&lab));
    lab.route_to(0, "nat-a").unwrap();
    let meter = lab.ping("host-a", 10).unwrap();
    let again = natha(&lab, &["setup", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((again.code, &report["result"]), (0, &"nothing-to-do".into()));
    let report = lab.pinged(meter).unwrap();
    assert_eq!(report.lost, 0, "{:?}", report.outages);
    let undone = natha(&lab, &["teardown"]);
    assert_eq!(undone.code, 0, "{}{}", undone.stdout, undone.stderr);
    assert!(is_checked(&lab));
    let after = host(&lab);
    assert!(!after.contains("natha"), "{after}");
    assert_eq!(after.lines().next(), before.lines().next());
}

#[test]
fn a_check_that_ec2_does_not_turn_off_is_noticed() {
    let lab = lab();
    let lost = FaultRule::on("Describe*", Fault::Stale { ms: 3_600_000 });
    let missing = natha(&lab, &["setup", "--uplink", "eth9"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("eth9"), "{}", missing.stderr);
    lab.api_faults(Faults { rules: vec![lost] }).unwrap();
    let stale = natha(&lab, &["setup"]);
    assert_ne!(stale.code, 0, "EC2 never showed the change: {}", stale.stdout);
}

#[test]
fn setup_follows_the_settings_in_the_instances_tags() {
    let mut spec = Spec::nodes(1).with_node_tag("natha:host.sources", "10.0.100.0/24");
    spec.natha = Some(NATHA.into());
    let lab = Lab::start(&spec).unwrap();
    let done = natha(&lab, &["setup"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let table = lab.sh("nat-a", "nft list table ip natha").unwrap();
    // The other source is the transit probe's own.
    assert!(table.contains("elements = { 10.0.100.0/24, 198.18.255.252/30 }"), "{table}");
}

#[test]
fn what_drifts_is_made_right_again_while_the_peer_takes_nothing() {
    let scene = Scene::start(&scene::spec(2, NATHA, "")).unwrap();
    let meter = scene.ping("host-b", 10).unwrap();
    let interface = scene.host("nat-b").unwrap().interface;
    let on = [("NetworkInterfaceId", &*interface), ("SourceDestCheck.Value", "true")];
    scene.ec2("ModifyNetworkInterfaceAttribute", &on).unwrap();
    scene.sh("nat-b", "echo 1 > /proc/sys/net/ipv4/conf/all/send_redirects").unwrap();
    let checked = || {
        let shown = scene.ec2("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &interface)]);
        shown.unwrap().contains("<sourceDestCheck>true</sourceDestCheck>")
    };
    let redirects = || scene.sh("nat-b", "cat /proc/sys/net/ipv4/conf/all/send_redirects").unwrap();
    scene.wait_for(|| Ok(!checked() && redirects().trim() == "0")).unwrap();
    let told = |status: &serde_json::Value| {
        ["the source/dest check of", "send_redirects is 1, should be 0"]
            .iter()
            .all(|part| scene::has_event(status, "host-drift", part))
    };
    scene.wait_status("nat-b", told).unwrap();
    let report = scene.pinged(meter).unwrap();
    assert!(report.probes.last().is_some_and(|(_, answer)| answer.is_some()), "served again");
    assert_eq!(scene.route_writes().unwrap(), 0, "nat-b mended itself");
}

/// Breaks forwarding on nat-a under traffic of its zone and waits for the monitor's repair. Returns
/// the longest outage and the event that tells of the repair.
fn repaired(breaks: &str) -> (f64, String) {
    let scene = Scene::start(&scene::spec(2, NATHA, "")).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.sh("nat-a", breaks).unwrap();
    let repaired = |status: &serde_json::Value| {
        scene::has_event(status, "host-drift", "differences from the plan")
    };
    let status = scene.wait_status("nat-a", repaired).unwrap();
    let mut events = status["events"].as_array().unwrap().iter();
    let drift = events.rfind(|event| event["kind"] == "host-drift").unwrap();
    assert!(drift["took_ms"].as_u64().is_some_and(|took| took < 2_000), "{drift}");
    let report = scene.pinged(meter).unwrap();
    assert!(report.probes.last().is_some_and(|(_, answer)| answer.is_some()), "served again");
    assert_eq!(scene.route_writes().unwrap(), 0, "nat-a repaired itself");
    (report.worst_ms(), drift["text"].as_str().unwrap().to_owned())
}

#[test]
fn a_flushed_ruleset_is_restored_when_the_kernel_announces_it() {
    let (worst, event) = repaired("nft flush ruleset");
    assert!(worst < 2_000.0, "{worst} ms without NAT: {event}");
    for part in ["nft table ip natha is absent", "ms after the kernel announced a change"] {
        assert!(event.contains(part), "no `{part}` in {event}");
    }
}

#[test]
fn forwarding_that_is_turned_off_is_turned_on_when_the_kernel_announces_it() {
    let (worst, event) = repaired("echo 0 > /proc/sys/net/ipv4/ip_forward");
    assert!(worst < 2_000.0, "{worst} ms without forwarding: {event}");
    for part in ["net.ipv4.ip_forward is 0, should be 1", "ms after the kernel announced a change"]
    {
        assert!(event.contains(part), "no `{part}` in {event}");
    }
}

#[test]
fn the_driver_of_each_forwarding_interface_is_asked_for_ec2s_allowances() {
    let scene = Scene::start(&scene::spec(1, NATHA, "")).unwrap();
    // The driver of the lab's interfaces has statistics, and none of EC2's allowances.
    let asked = |status: &serde_json::Value| {
        let found = &status["allowances"]["ens5"];
        found["statistics"].as_u64() > Some(0) && found["exceeded"] == serde_json::json!({})
    };
    scene.wait_status("nat-a", asked).map_err(|error| scene.explain(error)).unwrap();
    let shown = natha(&scene, &["status"]);
    assert_eq!(shown.code, 0, "{}", shown.stdout);
    let row = shown.stdout.lines().find(|line| line.contains("not offered by this driver"));
    assert!(row.is_some_and(|row| row.starts_with("ens5 ")), "{}", shown.stdout);
}

#[test]
fn private_hosts_behind_an_interface_that_takes_no_part_are_named() {
    let scene = Scene::start(&scene::spec(1, NATHA, "")).unwrap();
    let strange = "ip link add v0 type veth peer name v1 && ip link set v0 up && \
                   ip route add 10.0.100.0/25 dev v0 && ip address add 192.0.2.1/32 dev v1";
    scene.sh("nat-a", strange).unwrap();
    let part = "private hosts in 10.0.100.0/25 are reached through v0, which takes no part";
    let alerted = |status: &serde_json::Value| {
        let alerts = status["alerts"].as_array();
        alerts.is_some_and(|alerts| alerts.iter().any(|one| one.to_string().contains(part)))
    };
    scene.wait_status("nat-a", alerted).unwrap();
    let done = natha(&scene, &["setup"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains(part), "{}", done.stdout);
    scene.sh("nat-a", "ip link delete v0").unwrap();
    scene.wait_status("nat-a", |status| !status.is_null() && !alerted(status)).unwrap();
}

/// Every member is in the VPC, and so one of the hosts that a protected node is closed to.
#[test]
fn protected_nodes_hear_each_other_after_a_reboot_and_are_closed_to_private_hosts() {
    let config = format!("metrics.listen = \"0.0.0.0:6285\"\nhost.protect = true\n{QUICK}");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    let node = scene.host("nat-a").unwrap().private[0];
    let opens = |host: &str| {
        let open = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{node}/6285'");
        scene.exec(host, &["sh", "-c", &open], Duration::from_secs(10)).unwrap().code == 0
    };
    assert!(opens("nat-a") && !opens("nat-b") && !opens("host-a"));
    scene.sh("host-a", &format!("ping -c1 -W5 {node}")).unwrap();
    let meter = scene.ping("host-b", 20).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    assert!(!opens("host-a"));
    scene.sh("nat-a", "NATHA_HOST_PROTECT=false natha setup").unwrap();
    assert!(opens("host-a"));
}

/// Docker and k3s turn forwarding on, too.
#[test]
fn a_nat_that_was_never_set_up_is_unfit_even_if_its_kernel_forwards() {
    let commands = "echo 1 > /proc/sys/net/ipv4/ip_forward\nexec natha monitor";
    let spec = scene::spec(1, NATHA, "").with_node_user_data(&scene::user_data("", commands));
    let scene = Scene::start_unwell(&spec).unwrap();
    let faulty = |on: bool| {
        move |status: &serde_json::Value| {
            let faults = status["view"]["fitness"]["faults"].as_array();
            faults.is_some_and(|faults| faults.contains(&"forwarding".into()) == on)
        }
    };
    scene.wait_status("nat-a", faulty(true)).unwrap();
    let done = natha(&scene, &["setup"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    scene.wait_status("nat-a", faulty(false)).unwrap();
}

#[test]
fn a_program_that_changes_its_own_tables_all_the_time_costs_few_looks() {
    let scene = Scene::start(&scene::spec(1, NATHA, "")).unwrap();
    let ticks = || {
        let shown = "set -- $(cat /proc/$(pidof natha)/stat); echo $((${14}+${15}+${16}+${17}))";
        scene.sh("nat-a", shown).unwrap().trim().parse::<u64>().unwrap()
    };
    let before = ticks();
    let churn = "read -r begun _ < /proc/uptime
        for _ in $(seq 500); do nft add table ip busy; nft delete table ip busy; done
        read -r ended _ < /proc/uptime; echo $begun $ended";
    let shown = scene.sh("nat-a", churn).unwrap();
    let times: Vec<f64> = shown.split_whitespace().map(|time| time.parse().unwrap()).collect();
    let took = Duration::from_secs_f64(times[1] - times[0]);
    let used = Duration::from_millis((ticks() - before) * 10);
    assert!(used < took / 4, "{used:?} of CPU time within {took:?}");
    assert!(!scene.console("nat-a").unwrap().contains("drift"), "natha's own table is untouched");
}

#[test]
fn a_chain_of_another_program_that_drops_is_named_when_it_appears() {
    let scene = Scene::start(&scene::spec(1, NATHA, "")).unwrap();
    let log = || scene.console("nat-a").unwrap();
    let other = "nft 'add table inet wall; \
                 add chain inet wall f { type filter hook forward priority 0; policy drop; }'";
    scene.sh("nat-a", other).unwrap();
    let named = "chain `f` of table `inet wall` (nft) drops packets";
    scene.wait_for(|| Ok(log().contains(named))).unwrap();
    scene.sh("nat-a", "nft delete table inet wall").unwrap();
    scene.wait_for(|| Ok(log().contains("(nft) no longer drops"))).unwrap();
}

/// `natha setup` loads its table, seals it, and then writes its plan down, all under a lock. A
/// monitor that looks in between finds a table that is not the plan's.
#[test]
fn what_a_setup_is_changing_is_no_reason_to_give_routes_away() {
    let scene = Scene::start(&scene::spec(2, NATHA, "")).unwrap();
    let midst = "mkfifo /tmp/go; flock /var/lib/natha/lock sh -c \
                 'nft add chain ip natha unsealed; read -r go < /tmp/go'";
    scene.spawn("nat-b", &["sh", "-c", midst]).unwrap();
    let looks = || {
        let console = scene.console("nat-b").unwrap();
        console.matches("this host is being changed").count()
    };
    scene.wait_for(|| Ok(looks() >= 2)).unwrap();
    scene.sh("nat-b", "echo > /tmp/go").unwrap();
    let has_drifted = || {
        let table = scene.sh("nat-b", "nft list table ip natha").unwrap();
        table.contains("unsealed")
    };
    scene.wait_for(|| Ok(!has_drifted())).unwrap();
    assert_eq!(scene.route_writes().unwrap(), 0, "nat-b kept its own");
}
