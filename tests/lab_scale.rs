//! Clusters larger than a pair with a table each.

use natha_lab::scene::{self, QUICK, Scene, has_event, is_route_write};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// EC2 grants an account 50 changes of routes at once, and 5 a second after that.
#[test]
fn a_hundred_tables_are_taken_without_the_monitor_running_late() {
    let mut spec = scene::spec(2, NATHA, QUICK);
    // The table of the zone is the first one, and they are one group.
    spec.more_tables = vec!["us-east-1a".to_owned(); 99];
    let scene = Scene::start(&spec).unwrap();
    scene.panic("nat-a").unwrap();
    let status =
        scene.wait_status("nat-b", |status| has_event(status, "takeover-done", "")).unwrap();
    assert!(!has_event(&status, "paused", ""), "{status:#}");
    assert!(!has_event(&status, "takeover-failed", ""), "{status:#}");
    let calls = scene.calls_by("nat-b").unwrap();
    let changed = calls.iter().filter(|call| is_route_write(call) && call.error.is_none());
    assert!(changed.count() >= 100, "each of them is changed");
    // What is refused to all of them alike is reported once at each doubling, not of each.
    let events = status["events"].as_array().unwrap();
    let refused = events.iter().filter(|event| event["kind"] == "api-failed").count();
    assert!(refused <= 6, "{refused} reports: {status:#}");
}
