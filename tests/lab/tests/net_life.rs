//! Labs beside each other, and that nothing of one is left.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot be done is a failure")]

mod lab_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab_support::wait::LONG;
use lab_support::{eventually, nat_lab, reaches};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every process that descends from this one.
fn descendants(of: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([of]);
    loop {
        let before = found.len();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let rest = stat.rsplit_once(')').unwrap().1;
            let parent: i32 = rest.split_whitespace().nth(1).unwrap().parse().unwrap();
            if found.contains(&parent) {
                found.insert(pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Every process of this machine: its id and when it started, and its namespaces.
fn processes() -> BTreeMap<(i32, String), BTreeSet<PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
        let link = |kind: &str| fs::read_link(entry.path().join("ns").join(kind)).ok();
        let spaces = ["net", "mnt", "pid"].into_iter().filter_map(link).collect();
        found.insert((pid, started.to_owned()), spaces);
    }
    found
}

/// What a lab consists of, to see that it is gone: every process in one of its namespaces, whoever
/// started it, known by id and start so that a later one is not taken for it.
struct Traces {
    processes: BTreeSet<(i32, String)>,
    directory: PathBuf,
}

impl Traces {
    fn of(outermost: i32, directory: PathBuf) -> Self {
        let all = processes();
        let own: BTreeSet<PathBuf> = ["net", "mnt", "pid"]
            .map(|kind| format!("/proc/self/ns/{kind}"))
            .into_iter()
            .filter_map(|path| fs::read_link(path).ok())
            .collect();
        let family = descendants(outermost);
        let of_family = all.iter().filter(|((pid, _), _)| family.contains(pid));
        let spaces: BTreeSet<_> = of_family.flat_map(|(_, spaces)| spaces.clone()).collect();
        let spaces: BTreeSet<_> = spaces.difference(&own).cloned().collect();
        assert!(spaces.len() > 5, "{spaces:?}");
        let inside = all
            .into_iter()
            .filter(|((pid, _), its)| family.contains(pid) || !its.is_disjoint(&spaces));
        let processes: BTreeSet<_> = inside.map(|(process, _)| process).collect();
        assert!(processes.len() >= 5, "{processes:?}");
        let traces = Self { processes, directory };
        assert!(!traces.mounted(), "no mount of a lab is visible outside");
        traces
    }

    fn mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&*self.directory.to_string_lossy())
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        self.processes.iter().map(|(pid, _)| *pid)
    }

    fn assert_gone(&self) {
        eventually("its processes are gone", || {
            let now = processes();
            self.processes.iter().all(|process| {
                now.get(process).is_none_or(|spaces| {
                    // Dead and not yet reaped: it holds nothing any more.
                    let stat = fs::read_to_string(format!("/proc/{}/stat", process.0));
                    spaces.is_empty() || stat.is_ok_and(|it| it.contains(") Z "))
                })
            })
        });
        assert!(!self.mounted());
    }
}

#[test]
fn two_labs_at_once_do_not_meet() {
    let (one, two) = (nat_lab(1), nat_lab(1));
    eventually("one forwards", || reaches(&one, "host-a"));
    eventually("two forwards", || reaches(&two, "host-a"));
    one.cut_link("nat-a").unwrap();
    assert!(!reaches(&one, "host-a"));
    assert!(reaches(&two, "host-a"));
    drop(one);
    assert!(reaches(&two, "host-a"));
}

#[test]
fn nothing_is_left_after_a_normal_end() {
    let lab = nat_lab(1);
    let traces = Traces::of(i32::try_from(lab.pid()).unwrap(), lab.directory().to_owned());
    drop(lab);
    traces.assert_gone();
    assert!(!traces.directory.exists());
}

#[test]
fn nothing_is_left_after_the_labs_daemon_was_killed() {
    let lab = nat_lab(1);
    let outermost = i32::try_from(lab.pid()).unwrap();
    let traces = Traces::of(outermost, lab.directory().to_owned());
    let daemon = traces.pids().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words.first().is_some_and(|it| it.ends_with(b"natha-lab")) && words[1] == b"daemon"
    });
    kill(Pid::from_raw(daemon.unwrap()), Signal::SIGKILL).unwrap();
    traces.assert_gone();
}

/// Starts a lab by the command line, with its directory in `temporary`.
fn start(temporary: &Path) -> (Child, PathBuf) {
    let mut child = Command::new(natha_lab::lab::program().unwrap())
        .args(["up", "--nodes", "1"])
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let directory = PathBuf::from(lines.next().unwrap().unwrap());
    (child, directory)
}

fn end(mut child: Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    child.wait().unwrap();
}

#[test]
fn nothing_is_left_after_an_interrupt() {
    let temporary = tempfile::tempdir().unwrap();
    let (child, directory) = start(temporary.path());
    let traces = Traces::of(i32::try_from(child.id()).unwrap(), directory);
    end(child, Signal::SIGINT);
    traces.assert_gone();
    assert!(!traces.directory.exists());
}

#[test]
fn nothing_is_left_after_the_outer_process_was_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let (child, directory) = start(temporary.path());
    let traces = Traces::of(i32::try_from(child.id()).unwrap(), directory);
    end(child, Signal::SIGKILL);
    traces.assert_gone();
    assert!(traces.directory.exists(), "nobody was left to remove the directory");
    let (next, _) = start(temporary.path());
    assert!(!traces.directory.exists(), "the next start removes what is stale");
    end(next, Signal::SIGINT);
}

/// Whoever ends a lab is answered before it goes, and it is gone when the command ends.
#[test]
fn a_lab_that_is_told_to_end_says_so_and_leaves_nothing() {
    for _ in 0..5 {
        let temporary = tempfile::tempdir().unwrap();
        let (mut child, directory) = start(temporary.path());
        let traces = Traces::of(i32::try_from(child.id()).unwrap(), directory);
        let mut down = Command::new(natha_lab::lab::program().unwrap());
        down.arg("--lab").arg(&traces.directory).arg("down");
        let done = down.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(!traces.directory.exists());
        child.wait().unwrap();
        traces.assert_gone();
    }
}

/// A shell's `natha-lab up --detach | cat` returns, and so does `$(natha-lab up --detach 2>&1)`.
#[test]
fn a_detached_lab_holds_no_pipe_open() {
    let temporary = tempfile::tempdir().unwrap();
    let lab = |arguments: &[&str]| {
        let mut command = Command::new(natha_lab::lab::program().unwrap());
        command.args(arguments).env("TMPDIR", temporary.path());
        command
    };
    let mut up = lab(&["up", "--nodes", "1", "--detach"]);
    let (done, ended) = std::sync::mpsc::channel();
    // `output` reads both streams to their ends.
    std::thread::spawn(move || done.send(up.stdin(Stdio::null()).output().unwrap()));
    let up = ended.recv_timeout(LONG);
    assert!(lab(&["down"]).status().unwrap().success());
    let up = up.expect("both streams end while the lab runs");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let directory = String::from_utf8(up.stdout).unwrap();
    assert!(Path::new(directory.trim()).starts_with(temporary.path()), "{directory}");
}

#[test]
fn python_in_the_internet_drives_the_api() {
    let lab = nat_lab(1);
    let python = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = "import boto3
c = boto3.client('ec2', endpoint_url='http://203.0.113.53')
t = c.describe_route_tables()['RouteTables']
print(len(t))
i = [r.get('NetworkInterfaceId') for x in t for r in x['Routes']]
print(sum(x is not None for x in i))";
    let done = lab.exec("internet", &[&python, "-c", script], Duration::from_mins(1)).unwrap();
    assert_eq!(done.code, 0, "set NATHA_PYTHON to a Python with boto3: {}", done.stderr);
    assert_eq!(done.stdout, "5\n3\n");
}
