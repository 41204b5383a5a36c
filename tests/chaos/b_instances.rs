//! What becomes of the instances themselves: ended, replaced, stuck, interrupted, a zone at once.

use std::time::Duration;

use natha_lab::daemon::shared::Power;
use natha_lab::ec2::{Fault, FaultRule, Faults, Timings};
use natha_lab::scene::{self, PATIENCE, QUICK, Scene, ensure};
use serde_json::Value;

use crate::NATHA;

fn start(nodes: u8, config: &str) -> Scene {
    Scene::start(&scene::spec(nodes, NATHA, config)).unwrap()
}

#[test]
fn s26_terminated_peer_is_covered_and_never_started() {
    let scene = start(2, QUICK);
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    let old = scene.host("nat-a").unwrap().instance;
    scene.panic("nat-a").unwrap();
    scene.ec2("TerminateInstances", &[("InstanceId.1", &old)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let path = format!("/view/peers/{old}/verdict");
    let gone = |status: &Value| status.pointer(&path).is_some_and(|verdict| verdict == "gone");
    scene.wait_status("nat-b", gone).unwrap();
    // Longer than nat-b would wait before it may stop or start a peer.
    let covered = || {
        let calls = scene.calls()?;
        let power = |call: &natha_lab::ec2::CallRecord| {
            ["StopInstances", "StartInstances"].contains(&&*call.action)
        };
        ensure(!calls.iter().any(power), "it was stopped or started")?;
        ensure(scene.route(0)? == "nat-b", "its route was let go")
    };
    scene.watch(Duration::from_secs(25), covered).unwrap();
    let [covered, own] = meters;
    assert_eq!(scene.pinged(covered).unwrap().outages.len(), 1);
    scene.lost_nothing(own).unwrap();
}

#[test]
fn s27_replacement_with_a_new_id_gets_the_routes_of_the_terminated_one() {
    let spec = scene::spec(2, NATHA, QUICK);
    let scene = Scene::start(&spec).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let old = scene.host("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.ec2("TerminateInstances", &[("InstanceId.1", &old.instance)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let account = scene.account().unwrap();
    let script = spec.hosts[0].user_data.clone().unwrap();
    let encode = format!("base64 -w0 <<'SCRIPT'\n{script}SCRIPT\n");
    let user_data = scene.sh("internet", &encode).unwrap();
    let (subnet, group) = (&*account.zones[0].public_subnet, &*account.group);
    let made = scene.ec2(
        "RunInstances",
        &[
            ("ImageId", "ami-0123456789abcdef0"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("NetworkInterface.1.DeviceIndex", "0"),
            ("NetworkInterface.1.SubnetId", subnet),
            ("NetworkInterface.1.SecurityGroupId.1", group),
            ("NetworkInterface.1.AssociatePublicIpAddress", "true"),
            ("UserData", &user_data),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "nat-new"),
            ("TagSpecification.1.Tag.2.Key", "natha:cluster"),
            ("TagSpecification.1.Tag.2.Value", "lab"),
        ],
    );
    let new = id(&made.unwrap(), "instanceId");
    assert_ne!(new, old.instance);
    scene.wait_route(0, "nat-new").unwrap();
    scene.wait_verdict("nat-b", "nat-new", "alive").unwrap();
    for node in ["nat-b", "nat-new"] {
        natha_lab::cluster::wait_well(&scene, &[node], PATIENCE).unwrap();
    }
    let outages = scene.pinged(meter).unwrap().outages;
    assert_eq!(outages.len(), 1, "{outages:?}");
    scene.nobody_stopped().unwrap();
}

#[test]
fn s28_nat_that_a_person_stops_is_covered_left_stopped_and_back_when_started() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let nat = scene.host("nat-a").unwrap();
    scene.ec2("StopInstances", &[("InstanceId.1", &nat.instance)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "down").unwrap();
    scene.pass(Duration::from_secs(8));
    assert_eq!(scene.count("StartInstances").unwrap(), 0, "a person stopped it");
    scene.ec2("StartInstances", &[("InstanceId.1", &nat.instance)]).unwrap();
    scene.wait_boot("nat-a", nat.boot).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert!(report.outages.len() <= 1, "{:?}", report.outages);
}

/// Settings with which a stop or a start that hangs is noticed as soon as settings allow.
const IMPATIENT: &str = "
api.timeout = \"3s\"
failover.read_valid = \"3s\"
hand_back.hold = \"3s\"

[repair]
after = \"20s\"
settle = \"19s\"
patience = \"1m\"
";

#[test]
fn s29_stop_that_hangs_is_forced() {
    let scene = start(2, IMPATIENT);
    let boots = scene.boots("nat-a").unwrap();
    let hanging =
        Timings { start_ms: 500, stop_ms: 3_600_000, force_ms: 300, ..Timings::default() };
    scene.timings(hanging).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let calls = scene.calls_by("nat-b").unwrap();
    let stops: Vec<_> = calls.iter().filter(|call| call.action == "StopInstances").collect();
    let forced: Vec<bool> = stops.iter().map(|call| call.params.contains("Force=true")).collect();
    assert_eq!(forced, [false, true], "{stops:?}");
    assert!(stops[1].at >= stops[0].at + Duration::from_mins(1), "{stops:?}");
    assert_eq!(scene.count("StartInstances").unwrap(), 1);
}

#[test]
fn s29_start_that_hangs_is_covered_and_alerted() {
    let scene = start(2, IMPATIENT);
    let nat = scene.host("nat-a").unwrap().instance;
    scene.ec2("StopInstances", &[("InstanceId.1", &nat)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene
        .wait_until(PATIENCE, |status| {
            status.hosts.iter().any(|host| host.name == "nat-a" && host.power == Power::Off)
        })
        .unwrap();
    scene.timings(Timings { start_ms: 3_600_000, ..Timings::default() }).unwrap();
    scene.wait_for(|| Ok(scene.ec2("StartInstances", &[("InstanceId.1", &nat)]).is_ok())).unwrap();
    let alerted = |status: &Value| {
        let events = status["events"].as_array();
        events.is_some_and(|events| events.iter().any(is_pending_alert))
    };
    scene.wait_status("nat-b", alerted).unwrap();
    assert_eq!(scene.route(0).unwrap(), "nat-b");
    let told = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("nat-a is down"), "{}", told.stdout);
    scene.nobody_stopped().unwrap();
}

fn is_pending_alert(event: &Value) -> bool {
    event["level"] == "alert" && event["text"].as_str().is_some_and(|it| it.contains("pending"))
}

#[test]
fn s30_lack_of_capacity_is_waited_out_without_a_second_stop() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    let refusal = FaultRule::on("StartInstances", Fault::NoCapacity).times(1);
    scene.api_faults(Faults { rules: vec![refusal] }).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
    let calls = scene.calls_by("nat-b").unwrap();
    let starts = calls.iter().filter(|call| call.action == "StartInstances").count();
    assert_eq!(starts, 2, "refused, then accepted");
    assert!(scene.power_at("nat-a", Power::Off).is_ok());
}

#[test]
fn s46_failed_zone_is_covered_while_ec2_tells_nothing_of_its_instances() {
    let scene = start(3, QUICK);
    let meters = ["host-b", "host-c"].map(|host| scene.ping(host, 10).unwrap());
    let lost = scene.host("nat-a").unwrap().instance;
    let failing = FaultRule::everywhere(Fault::ServerError).about(&lost);
    scene.api_faults(Faults { rules: vec![failing] }).unwrap();
    for host in ["host-a", "nat-a"] {
        scene.freeze(host).unwrap();
    }
    let covered = || {
        let heir = scene.route(0)?;
        Ok(["nat-b", "nat-c"].contains(&&*heir))
    };
    scene.wait_for(covered).unwrap();
    // Longer than anybody would wait before a stop.
    let stays = || {
        scene.nobody_stopped()?;
        ensure(covered()?, "the zone's route was let go")?;
        ensure(scene.route(1)? == "nat-b" && scene.route(2)? == "nat-c", "another one was moved")
    };
    scene.watch(Duration::from_secs(25), stays).unwrap();
    let heir = scene.route(0).unwrap();
    let told = scene.natha(&heir, &["status"]).unwrap();
    assert_eq!(told.code, 3);
    let burden = format!("group us-east-1a is held by {heir}, but its home is nat-a");
    assert!(told.stdout.contains(&burden), "{}", told.stdout);
    for host in ["nat-a", "host-a"] {
        scene.thaw(host).unwrap();
    }
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

#[test]
fn s47_spot_notice_relieves_a_nat_before_it_is_ended() {
    let scene = start(2, QUICK);
    let meter = scene.ping("host-a", 10).unwrap();
    let notice = r#"{"action": "terminate", "time": "2026-01-02T03:04:05Z"}"#;
    scene.metadata("nat-a", "spot/instance-action", Some(notice)).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert!(told.stdout.contains("EC2 will terminate this Spot instance"), "{}", told.stdout);
    let console = scene.console("nat-a").unwrap();
    assert!(console.contains("handing it over"), "nat-a gives its group away: {console}");
    scene.pass(Duration::from_secs(2));
    let nat = scene.host("nat-a").unwrap().instance;
    scene.ec2("TerminateInstances", &[("InstanceId.1", &nat)]).unwrap();
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.route(0).unwrap(), "nat-b");
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s47_scheduled_event_relieves_a_nat_shortly_before_and_until_it_is_over() {
    const EVENTS: &str = "events/maintenance/scheduled";
    let scene = start(2, QUICK);
    let meter = scene.ping("host-a", 10).unwrap();
    let event = |ahead: &str, state: &str| {
        let date = format!("LC_ALL=C date -u -d '{ahead}' '+%d %b %Y %H:%M:%S GMT'");
        let at = scene.sh("nat-a", &date).unwrap();
        format!(
            r#"[{{"NotBefore": "{}", "Code": "system-maintenance", "Description": "d",
                  "EventId": "instance-event-0d59937288b749b32", "State": "{state}"}}]"#,
            at.trim()
        )
    };
    scene.metadata("nat-a", EVENTS, Some(&event("30 days", "active"))).unwrap();
    let announced = |status: &Value| {
        let alerts = status["alerts"].as_array();
        alerts.is_some_and(|alerts| alerts.iter().any(|it| it.to_string().contains("maintenance")))
    };
    scene.wait_status("nat-a", announced).unwrap();
    scene.pass(Duration::from_secs(6));
    assert_eq!(scene.route(0).unwrap(), "nat-a", "it is a month ahead");
    scene.metadata("nat-a", EVENTS, Some(&event("1 minute", "active"))).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.metadata("nat-a", EVENTS, Some(&event("1 minute", "completed"))).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

/// The text of the first element of this name.
fn id(xml: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let found = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    found.map(|(id, _)| id.to_owned()).unwrap_or_default()
}
