//! The published study shows what `docs/evidence/sim.json` says.

use std::path::PathBuf;

use natha_prove::sim::Published;

/// The promise of `docs/evidence/heartbeat.md`, in hours.
const PROMISED_HOURS: u64 = 1_000;

fn evidence() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/evidence")
}

#[test]
fn the_table_and_the_plot_show_what_was_measured() {
    let directory = evidence();
    let rendered = Published::read(&directory).unwrap().render(&directory).unwrap();
    for (name, wanted) in rendered {
        let path = directory.join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, wanted).unwrap();
        } else {
            let found = std::fs::read_to_string(&path).unwrap();
            assert!(found == wanted, "{name}: run this test with UPDATE_DOCS=1 and look at it");
        }
    }
}

#[test]
fn the_default_was_measured_for_as_long_as_is_promised_and_kept_the_promise() {
    let published = Published::read(&evidence()).unwrap();
    let cell = published.promise().expect("the study measured the default");
    assert!(cell.hours >= PROMISED_HOURS, "{} hours", cell.hours);
    assert_eq!((cell.false_takeovers, cell.false_stops, cell.unrelieved), (0, 0, 0));
}
