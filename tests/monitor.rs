//! The monitor as a process: start, exchange, takeover, hand-over, end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "monitor/allowed.rs"]
mod allowed;
#[path = "monitor/history.rs"]
mod history;
mod support;
#[path = "monitor/take.rs"]
mod take;
#[path = "monitor/watch.rs"]
mod watch;

use std::fs::Permissions;
use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use natha::failover::{Event, EventKind, Verdict};
use natha::status::Report;
use natha::types::{Fault, Fitness};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixDatagram, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use support::{Cluster, PATIENCE, in_own_network};

fn sees_all_well(report: &Report) -> bool {
    report.findings().is_empty()
}

/// Two monitors that both say that all is well.
async fn healthy_pair() -> Cluster {
    let mut cluster = Cluster::new().await;
    for node in [0, 1] {
        cluster.start(node, &[]);
    }
    for node in [0, 1] {
        cluster.until(node, "all is well", sees_all_well).await;
    }
    cluster
}

fn holds(report: &Report, group: &str, id: &str) -> bool {
    let group = report.view.groups.get(&group.parse().unwrap());
    group.and_then(|group| group.holder.as_ref()).is_some_and(|holder| holder.as_str() == id)
}

#[test]
fn two_monitors_meet_and_say_that_all_is_well() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        cluster.start(0, &[]);
        cluster.start(1, &[]);
        for node in [0, 1] {
            let report = cluster.until(node, "all is well", sees_all_well).await;
            assert_eq!(report.cluster, "test");
            assert!(report.counters.peers.beats_received > 0);
            let (versions, own) = (report.peer_versions().unwrap(), report.own_version());
            assert_eq!(versions.into_values().collect::<Vec<_>>(), [Some(own.as_str())]);
        }
        let wrong = cluster.run(0, &["status", "--cluster", "other"]).await;
        let reason = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(1), 0), "{reason}");
        assert!(reason.contains("one of cluster test, not of other"), "{reason}");
        let right = cluster.run(0, &["status", "--cluster", "test"]).await;
        assert_eq!(right.status.code(), Some(0), "{right:?}");

        let output = cluster.run(0, &["status"]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.ends_with("All is well.\n"), "{text}");
    });
}

#[test]
fn the_service_manager_is_told_of_readiness_life_and_the_end() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        let mut manager = service_manager(&cluster, 0);
        cluster.start(0, &[]);
        for told in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
            hear(&mut manager, told).await;
        }
        cluster.signal(0, Signal::SIGTERM);
        hear(&mut manager, "STOPPING=1").await;
        assert_eq!(cluster.ended(0).await, Some(0));
    });
}

/// What a node's monitor tells the service manager from now on, line by line.
fn service_manager(cluster: &Cluster, node: usize) -> UnboundedReceiver<String> {
    let manager = UnixDatagram::bind(cluster.notify_socket(node)).unwrap();
    let (sender, lines) = unbounded_channel();
    tokio::spawn(async move {
        let mut message = [0; 4096];
        while let Ok(length) = manager.recv(&mut message).await {
            let text = String::from_utf8_lossy(&message[..length]);
            for line in text.lines() {
                let _ = sender.send(line.to_owned());
            }
        }
    });
    lines
}

/// Waits for this line; those before it are gone then.
async fn hear(manager: &mut UnboundedReceiver<String>, line: &str) {
    let heard = async { while manager.recv().await.is_some_and(|told| told != line) {} };
    let heard = tokio::time::timeout(PATIENCE, heard).await;
    heard.unwrap_or_else(|_| panic!("never told {line}"));
}

#[test]
fn a_log_that_is_not_read_holds_up_nothing_and_says_afterwards_what_is_missing() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        let mut manager = service_manager(&cluster, 0);
        let (unread, log) = std::io::pipe().unwrap();
        cluster.start_logging_to(0, &["--log-level", "trace"], log);
        cluster.start(1, &[]);
        let drops = |one: &Report| one.counters.log_lines_dropped > 0;
        let report = cluster.until(0, "drops log lines", drops).await;
        let (sent, dropped) = (report.counters.peers.beats_sent, report.counters.log_lines_dropped);
        let goes_on = |one: &Report| {
            one.counters.peers.beats_sent > sent + 20 && one.counters.log_lines_dropped > dropped
        };
        cluster.until(0, "goes on", goes_on).await;
        while manager.try_recv().is_ok() {}
        for _ in 0..3 {
            hear(&mut manager, "WATCHDOG=1").await;
        }
        let peer = cluster.until(1, "all is well", sees_all_well).await;
        let lost = peer.events.iter().find(|event| event.kind == EventKind::TakeoverBegun);
        assert_eq!(lost, None);
        let told = tokio::task::spawn_blocking(move || {
            let lines = std::io::BufReader::new(unread).lines().map_while(Result::ok);
            lines.into_iter().find(|line| line.contains("lines are missing from it"))
        });
        let told = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
        assert!(told.is_some_and(|line| line.contains("the log was full")));
    });
}

#[test]
fn a_reload_uses_valid_settings_refuses_others_and_moves_nothing() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        let mut manager = service_manager(&cluster, 0);
        for node in [0, 1] {
            cluster.start(node, &[]);
        }
        for node in [0, 1] {
            cluster.until(node, "all is well", sees_all_well).await;
        }
        let before = cluster.report(1).await.unwrap();
        let first = cluster.report(0).await.unwrap();
        hear(&mut manager, "READY=1").await;

        let reload = |text: &str| {
            std::fs::write(cluster.settings_file(0), text).unwrap();
            cluster.signal(0, Signal::SIGHUP);
        };
        reload("[heartbeat]\ninterval = \"1h\"\n");
        let refused = |one: &Report| one.alerts.iter().any(|text| text.contains("refused"));
        let report = cluster.until(0, "refuses the settings", refused).await;
        assert!(report.alerts[0].contains("heartbeat.interval"), "{:?}", report.alerts);
        assert!(report.uptime >= first.uptime, "the same run goes on");
        for told in ["RELOADING=1", "READY=1"] {
            hear(&mut manager, told).await;
        }

        reload("[heartbeat]\ninterval = \"100ms\"\n");
        let named = |one: &Report| {
            let is = |event: &Event| {
                event.kind == EventKind::Settings
                    && event.text.ends_with("changed: heartbeat.interval")
            };
            one.events.iter().any(is)
        };
        let report = cluster.until(0, "runs with the new settings", named).await;
        assert_eq!((report.pid, report.alerts.len()), (first.pid, 0));
        let differ = |one: &Report| one.view.peers.values().all(|peer| peer.settings_differ);
        cluster.until(1, "sees that the settings differ", differ).await;
        for told in ["RELOADING=1", "READY=1", "WATCHDOG=1"] {
            hear(&mut manager, told).await;
        }

        reload("");
        cluster.until(0, "is as before", sees_all_well).await;
        let after = cluster.until(1, "agrees again", sees_all_well).await;
        assert_eq!(generations(&after), generations(&before), "no route has moved");
        assert!(after.events.iter().all(|event| event.kind != EventKind::TakeoverBegun));
        cluster.signal(0, Signal::SIGTERM);
        assert_eq!(cluster.ended(0).await, Some(0));
    });
}

/// How often each group has moved.
fn generations(report: &Report) -> Vec<u32> {
    report.view.groups.values().map(|group| group.generation).collect()
}

#[test]
fn a_peer_that_loses_power_is_taken_over() {
    in_own_network(async || {
        let mut cluster = healthy_pair().await;
        cluster.cut(1);
        let (survivor, zone) = (cluster.nodes[0].id.clone(), cluster.nodes[1].zone.clone());
        let report =
            cluster.until(0, "holds the peer's group", |one| holds(one, &zone, &survivor)).await;
        let peer = report.view.peers.values().next().unwrap();
        assert!(matches!(peer.verdict, Verdict::Suspected | Verdict::Unreachable), "{peer:?}");
        let output = cluster.run(0, &["status"]).await;
        assert_eq!(output.status.code(), Some(3));
    });
}

#[test]
fn a_monitor_that_can_send_from_nowhere_is_unfit_and_takes_nothing() {
    in_own_network(async || {
        let cluster = healthy_pair().await;
        cluster.remove_address(0);
        let (survivor, zone) = (cluster.nodes[1].id.clone(), cluster.nodes[0].zone.clone());
        cluster.until(1, "holds the peer's group", |one| holds(one, &zone, &survivor)).await;
        let lost = |one: &Report| {
            one.view.peers.values().all(|peer| peer.verdict != Verdict::Alive)
                && one.view.groups.values().all(|group| group.read_age.is_some())
        };
        let report = cluster.until(0, "hears nobody", lost).await;
        assert_eq!(report.view.fitness, Fitness::unfit(Fault::Forwarding));
        let began = report.events.iter().any(|event| event.kind == EventKind::TakeoverBegun);
        assert!(!began, "{:#?}", report.events);
    });
}

#[test]
fn a_monitor_that_ends_before_it_is_ready_leaves_no_socket() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        cluster.start(0, &["--endpoint-url", "http://127.0.0.1:9"]);
        let waits = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            while !cluster.log(0).contains("natha tries again until it succeeds") {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.expect("a line that says that it waits");
        assert!(cluster.socket(0).exists());
        cluster.signal(0, Signal::SIGTERM);
        assert_eq!(cluster.ended(0).await, Some(0), "{}", cluster.log(0));
        assert!(!cluster.socket(0).exists());
    });
}

#[test]
fn a_monitor_that_is_drained_hands_over_and_leaves_when_it_ends() {
    in_own_network(async || {
        let mut cluster = healthy_pair().await;
        let output = cluster.run(1, &["drain"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", cluster.log(1));
        cluster.signal(1, Signal::SIGTERM);
        assert_eq!(cluster.ended(1).await, Some(0));
        let (survivor, zone) = (cluster.nodes[0].id.clone(), cluster.nodes[1].zone.clone());
        let left = |one: &Report| {
            one.view.peers.values().all(|peer| peer.verdict == Verdict::Leaving)
                && holds(one, &zone, &survivor)
        };
        cluster.until(0, "the peer has left", left).await;
    });
}

#[test]
fn an_operator_moves_a_group_by_name() {
    in_own_network(async || {
        let cluster = healthy_pair().await;
        let zone = cluster.nodes[0].zone.clone();

        let refused = cluster.run(1, &["handover", &zone]).await;
        assert_eq!(refused.status.code(), Some(1));
        let reason = String::from_utf8(refused.stderr).unwrap();
        assert!(reason.contains("only its holder can hand it over"), "{reason}");
        assert!(reason.contains(&format!("`sudo natha handover {zone}` there")), "{reason}");

        let moved = cluster.run(0, &["handover", &zone, "--to", "nat-b"]).await;
        let text = String::from_utf8(moved.stdout).unwrap();
        assert_eq!(moved.status.code(), Some(0), "{text}\n{}", cluster.log(0));
        let receiver = cluster.nodes[1].id.clone();
        cluster.until(0, "the group has moved", |one| holds(one, &zone, &receiver)).await;
    });
}

#[test]
fn a_group_that_nobody_can_take_is_not_handed_over_and_the_reason_is_told_at_once() {
    in_own_network(async || {
        let cluster = healthy_pair().await;
        let zone = cluster.nodes[0].zone.clone();
        cluster.signal(1, Signal::SIGKILL);
        let dead =
            |one: &Report| one.view.peers.values().all(|peer| peer.verdict != Verdict::Alive);
        cluster.until(0, "the peer is missed", dead).await;
        for to in [None, Some("nat-b")] {
            let mut order = vec!["handover", &zone];
            order.extend(to.into_iter().flat_map(|to| ["--to", to]));
            let refused = cluster.run(0, &order).await;
            assert_eq!(refused.status.code(), Some(1));
            let reason = String::from_utf8(refused.stderr).unwrap();
            assert!(reason.contains("cannot be handed over now: nat-b is "), "{reason}");
        }
    });
}

#[test]
fn a_second_monitor_on_the_host_is_refused() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        cluster.start(0, &[]);
        let report = cluster.until(0, "it runs", |_| true).await;
        let second = cluster.run(0, &["monitor"]).await;
        assert_eq!(second.status.code(), Some(1));
        let reason = String::from_utf8(second.stderr).unwrap();
        assert!(reason.contains(&format!("(pid {})", report.pid)), "{reason}");
    });
}

#[test]
fn without_a_monitor_the_status_says_how_to_start_one() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let output = cluster.run(0, &["status"]).await;
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("systemctl start natha-monitor"), "{text}");
    });
}

#[test]
fn an_api_that_is_out_of_reach_is_waited_for() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        cluster.start(0, &["--endpoint-url", "http://127.0.0.1:9"]);
        let waiting = async {
            loop {
                let output = cluster.run(0, &["status"]).await;
                let text = String::from_utf8(output.stdout).unwrap();
                if text.contains("unreachable") {
                    assert_eq!(output.status.code(), Some(3));
                    return;
                }
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, waiting).await.expect("the reason for waiting");
        cluster.signal(0, Signal::SIGTERM);
        assert_eq!(cluster.ended(0).await, Some(0));
    });
}

#[test]
fn a_recording_made_by_the_flag_replays_and_holds_no_key() {
    const KEY: &str = "0123456789abcdef-the-cluster-key";
    in_own_network(async || {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let key = format!("heartbeat.key_file={}", key.display());
        let file = directory.path().join("run.jsonl.gz");
        let file = file.to_str().unwrap();
        let mut cluster = Cluster::new().await;
        cluster.start(0, &["--set", &key, "--record", file, "--record-max-mib", "1"]);
        cluster.start(1, &["--set", &key]);
        for node in [0, 1] {
            cluster.until(node, "all is well", sees_all_well).await;
        }
        cluster.signal(0, Signal::SIGTERM);
        assert_eq!(cluster.ended(0).await, Some(0));
        let output = cluster.run(0, &["replay", file]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("was asked to end, and to keep its groups"), "{text}");
        assert!(text.contains("The recording ended: the monitor exited."), "{text}");
        let mut recording = String::new();
        let file = std::fs::File::open(file).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut recording).unwrap();
        for secret in [KEY, "key_file", "secret"] {
            assert!(!recording.contains(secret), "{secret}");
        }
    });
}

/// The first line of the recording of a run that is ended as soon as it has a status.
async fn header_of_a_run(cluster: &mut Cluster, targets: &str, file: &Path) -> String {
    let targets = format!("uplink.targets={targets}");
    cluster.start(0, &["--set", &targets, "--record", file.to_str().unwrap()]);
    let has_evidence =
        |report: &Report| targets.contains("192.0.2.1") || report.view.fitness.unproven.is_empty();
    cluster.until(0, "it runs", has_evidence).await;
    cluster.signal(0, Signal::SIGTERM);
    assert_eq!(cluster.ended(0).await, Some(0), "{}", cluster.log(0));
    let mut recording = String::new();
    let file = std::fs::File::open(file).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut recording).unwrap();
    recording.lines().next().unwrap().to_owned()
}

#[test]
fn the_first_heartbeat_claims_only_what_earlier_runs_have_proven() {
    const UNPROVEN: &str = r#""fitness":{"faults":[],"unproven":["uplink"]}"#;
    in_own_network(async || {
        let directory = tempfile::tempdir().unwrap();
        let file = |n: u8| directory.path().join(format!("{n}.jsonl.gz"));
        let mut cluster = Cluster::new().await;
        // The first target never replies, and the second one always does.
        let first = header_of_a_run(&mut cluster, "icmp:192.0.2.1", &file(1)).await;
        assert!(first.contains(UNPROVEN), "{first}");
        let second = header_of_a_run(&mut cluster, "icmp:127.0.0.1", &file(2)).await;
        assert!(second.contains(UNPROVEN), "{second}");
        let third = header_of_a_run(&mut cluster, "icmp:192.0.2.1", &file(3)).await;
        assert!(!third.contains("unproven"), "{third}");
    });
}

#[test]
fn a_recording_that_cannot_be_made_does_not_keep_the_monitor_from_its_work() {
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        cluster.start(0, &["--record", "/proc/no/such/place"]);
        cluster.start(1, &[]);
        cluster.until(0, "all is well", sees_all_well).await;
        assert_eq!(
            cluster.log(0).matches("cannot record this run").count(),
            1,
            "{}",
            cluster.log(0)
        );
    });
}

/// What the socket answers to these bytes, as far as it does before it closes the connection.
async fn answer(socket: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // The monitor may close the connection before it has read all of it.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an end of the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_that_nobody_should_make_of_the_socket_are_refused_and_change_nothing() {
    in_own_network(async || {
        let cluster = healthy_pair().await;
        let socket = cluster.socket(0);
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "root alone may open it");
        let post = |body: &str| {
            format!(
                "POST /command HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let header = format!("GET /status HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(1 << 20));
        let nested = "[".repeat(10_000);
        let no_such = "{\"command\":\"hand-over\",\"group\":\"\u{1b}\",\"to\":null}";
        for (request, status) in [
            ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
            (header, "431"),
            ("GET /../etc/shadow HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "404"),
            ("DELETE /status HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "405"),
            (post(&"x".repeat(100_000)), "400"),
            (post(&nested), "400"),
            (post(no_such), "400"),
            (post("{}"), "400"),
        ] {
            let answer = answer(&socket, request.as_bytes()).await;
            let told = answer.split(' ').nth(1).unwrap_or_default();
            let shown: String = request.chars().take(80).collect();
            assert_eq!(told, status, "{shown:?}: {answer}\n{}", cluster.log(0));
        }
        // Half a request, from nearly as many clients as are served at once.
        let mut silent = Vec::new();
        for _ in 0..15 {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(b"GET /status HTTP/1.1\r\n").await.unwrap();
            silent.push(stream);
        }
        cluster.until(0, "all is well", sees_all_well).await;
    });
}
