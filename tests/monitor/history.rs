//! What a monitor writes down of a takeover, and what it sends.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Cluster, PATIENCE, in_own_network};
use crate::{holds, sees_all_well};

/// The notices that arrive at a socket.
fn notices(listener: UnixListener) -> UnboundedReceiver<Value> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            // The test has seen enough if it has dropped its end.
            let _ = sender.send(serde_json::from_str(&text).unwrap());
        }
    });
    receiver
}

/// The next notice of a kind.
async fn next(notices: &mut UnboundedReceiver<Value>, kind: &str) -> Value {
    let wait = async {
        loop {
            let notice = notices.recv().await.unwrap();
            if notice["kind"] == kind {
                return notice;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a notice")
}

/// The changes that node 0 has written down, once the last of them is done.
async fn changes(cluster: &Cluster) -> Vec<Value> {
    let mut rounds = tokio::time::interval(Duration::from_millis(50));
    let wait = async {
        loop {
            rounds.tick().await;
            let output = cluster.run(0, &["history", "--json"]).await;
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
            if found.last().is_some_and(|last| last["result"] == "done") {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a change that is done")
}

#[test]
fn a_takeover_is_sent_once_and_known_to_the_next_run() {
    in_own_network(async || {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("hook.sock");
        let mut notices = notices(UnixListener::bind(&socket).unwrap());
        let mut cluster = Cluster::new().await;
        let settings = format!("notify.hook = \"{}\"\n", socket.display());
        std::fs::write(cluster.settings_file(0), settings).unwrap();
        for node in [0, 1] {
            cluster.start(node, &[]);
        }
        for node in [0, 1] {
            cluster.until(node, "all is well", sees_all_well).await;
        }
        let test = cluster.run(0, &["notify", "test"]).await;
        assert_eq!(test.status.code(), Some(0), "{test:?}");
        next(&mut notices, "test").await;

        cluster.cut(1);
        let (survivor, zone) = (cluster.nodes[0].id.clone(), cluster.nodes[1].zone.clone());
        cluster.until(0, "holds the peer's group", |one| holds(one, &zone, &survivor)).await;
        let notice = next(&mut notices, "change").await;
        assert_eq!(notice["key"], zone);
        assert_eq!(notice["change"]["result"], "done");
        let found = changes(&cluster).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((&found[0]["kind"], &found[0]["to"]), (&"takeover".into(), &survivor.into()));
        assert_eq!(found[0]["phases"], notice["change"]["phases"]);

        cluster.signal(0, Signal::SIGTERM);
        assert_eq!(cluster.ended(0).await, Some(0));
        cluster.start(0, &[]);
        cluster.until(0, "an answer", |_| true).await;
        assert_eq!(changes(&cluster).await, found, "the next run knows them");
        let page = directory.path().join("page.html");
        let page_name = page.to_str().unwrap();
        let written = cluster.run(0, &["history", "--html", page_name]).await;
        assert_eq!(written.status.code(), Some(0), "{written:?}");
        assert!(std::fs::read_to_string(page).unwrap().contains("ReplaceRoute"));
        let status = cluster.report(0).await.unwrap();
        assert_eq!(status.counters.history_dropped, 0);
    });
}
