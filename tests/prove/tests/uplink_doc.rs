//! The published study of uplink probes shows what `docs/evidence/uplink.json` says.

use std::path::PathBuf;

use natha_prove::sim::uplink::Published;

/// The promise of `docs/evidence/uplink.md`, in hours.
const PROMISED_HOURS: u64 = 1_000;

fn evidence() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/evidence")
}

#[test]
fn the_tables_show_what_was_measured() {
    let wanted = Published::read(&evidence()).unwrap().page(&evidence()).unwrap();
    let path = evidence().join("uplink.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        let found = std::fs::read_to_string(&path).unwrap();
        assert!(found == wanted, "run this test with UPDATE_DOCS=1 and look at uplink.md");
    }
}

#[test]
fn the_default_was_measured_for_as_long_as_is_promised_and_kept_the_promise() {
    let published = Published::read(&evidence()).unwrap();
    let cell = published.promise().expect("the study measured the default");
    assert!(cell.hours >= PROMISED_HOURS, "{} hours", cell.hours);
    assert_eq!((cell.false_alarms, cell.unnoticed), (0, 0));
}
