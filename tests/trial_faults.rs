//! No call that `scripts/trial` makes can fail so that something of the trial is left. EC2 is the
//! lab's, without instances that boot.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use natha_lab::ec2::{SharedWorld, Timings, World, WorldSettings, serve};
use tokio::net::TcpListener;
use tokio::process::Command;

/// How long a test may run.
const LIMIT: Duration = Duration::from_mins(20);

/// Runs trials in each of which another call fails, as `tests/trial/faults.py` says.
async fn fail_calls(arguments: &[&str]) {
    let timings = Timings { start_ms: 100, terminate_ms: 100, ..Timings::default() };
    let epoch = SystemTime::now();
    let settings = WorldSettings { timings, buckets: false, epoch, ..WorldSettings::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let began = Instant::now();
    let world = SharedWorld::new(World::new(settings));
    tokio::spawn(serve(world, listener, Arc::new(move || began.elapsed())));
    let python = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut run = Command::new(python);
    run.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trial/faults.py"))
        .arg(endpoint)
        .args(arguments)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let done = tokio::time::timeout(LIMIT, run.output()).await.expect("it ends in time").unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}{said}", String::from_utf8_lossy(&done.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_of_each_kind_of_step_leaves_nothing() {
    fail_calls(&["some"]).await;
}

// scripts/test runs these with --all only.
macro_rules! failures {
    ($($name:ident: $($argument:literal),+;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                fail_calls(&[$($argument),+]).await;
            }
        )*
    };
}

failures! {
    each_failed_call_that_makes_something_leaves_nothing_1: "making", "0", "6";
    each_failed_call_that_makes_something_leaves_nothing_2: "making", "1", "6";
    each_failed_call_that_makes_something_leaves_nothing_3: "making", "2", "6";
    each_failed_call_that_makes_something_leaves_nothing_4: "making", "3", "6";
    each_failed_call_that_makes_something_leaves_nothing_5: "making", "4", "6";
    each_failed_call_that_makes_something_leaves_nothing_6: "making", "5", "6";
    each_failed_call_that_removes_something_leaves_nothing_1: "removing", "0", "6";
    each_failed_call_that_removes_something_leaves_nothing_2: "removing", "1", "6";
    each_failed_call_that_removes_something_leaves_nothing_3: "removing", "2", "6";
    each_failed_call_that_removes_something_leaves_nothing_4: "removing", "3", "6";
    each_failed_call_that_removes_something_leaves_nothing_5: "removing", "4", "6";
    each_failed_call_that_removes_something_leaves_nothing_6: "removing", "5", "6";
}
