//! Labs beside each other, and that nothing of one is left.

mod lab_support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// The namespaces of these processes that are not this test's own.
fn namespaces(of: &BTreeSet<i32>) -> BTreeSet<PathBuf> {
    let kinds = ["net", "mnt", "pid"];
    let all = |pid: &str| -> BTreeSet<PathBuf> {
        let link = |kind: &&str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        kinds.iter().filter_map(link).collect()
    };
    let own = all("self");
    of.iter().flat_map(|pid| all(&pid.to_string())).filter(|it| !own.contains(it)).collect()
}

/// What a lab consists of, to see that it is gone.
struct Traces {
    processes: BTreeSet<i32>,
    namespaces: BTreeSet<PathBuf>,
    directory: PathBuf,
    mounts: String,
}

impl Traces {
    fn of(outermost: i32, directory: PathBuf) -> Self {
        let mut processes = descendants(outermost);
        let namespaces = namespaces(&processes);
        assert!(processes.len() > 5, "{processes:?}");
        assert!(namespaces.len() > 5, "{namespaces:?}");
        processes.remove(&i32::try_from(std::process::id()).unwrap());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&*directory.to_string_lossy()), "no mount is visible outside");
        Self { processes, namespaces, directory, mounts }
    }

    fn assert_gone(&self) {
        eventually("its processes are gone", || {
            let alive = |pid: &&i32| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
            };
            self.processes.iter().filter(alive).count() == 0
        });
        let now: BTreeSet<i32> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
            .collect();
        let left: Vec<_> = namespaces(&now).intersection(&self.namespaces).cloned().collect();
        assert!(left.is_empty(), "namespaces still in use: {left:?}");
        let name = self.directory.to_string_lossy().into_owned();
        assert!(!self.mounts.contains(&name));
        assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(&name));
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
    let daemon = traces.processes.iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words.first().is_some_and(|it| it.ends_with(b"natha-lab")) && words[1] == b"daemon"
    });
    kill(Pid::from_raw(*daemon.unwrap()), Signal::SIGKILL).unwrap();
    traces.assert_gone();
}

fn ended_by(signal: Signal) {
    let program = natha_lab::lab::program().unwrap();
    let mut child = Command::new(program)
        .args(["up", "--nodes", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let directory = PathBuf::from(lines.next().unwrap().unwrap());
    let outermost = i32::try_from(child.id()).unwrap();
    let traces = Traces::of(outermost, directory);
    kill(Pid::from_raw(outermost), signal).unwrap();
    child.wait().unwrap();
    traces.assert_gone();
    if signal == Signal::SIGKILL {
        assert!(traces.directory.exists(), "nobody was left to remove the directory");
        drop(nat_lab(1));
    }
    assert!(!traces.directory.exists(), "the next start removes what is stale");
}

#[test]
fn nothing_is_left_after_an_interrupt() {
    ended_by(Signal::SIGINT);
}

#[test]
fn nothing_is_left_after_the_outer_process_was_killed() {
    ended_by(Signal::SIGKILL);
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
    let done = lab.exec("internet", &[&python, "-c", script], Duration::from_secs(60)).unwrap();
    assert_eq!(done.code, 0, "set NATHA_PYTHON to a Python with boto3: {}", done.stderr);
    assert_eq!(done.stdout, "5\n3\n");
}
