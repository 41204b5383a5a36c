//! `scripts/trial`: its whole story in the lab, and what becomes of a trial that is interrupted or
//! whose session ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test waits until a deadline")]

#[path = "trial/services.rs"]
mod services;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use natha_lab::ec2::{Grant, Policy};
use natha_lab::{Lab, Output, Spec};
use serde_json::Value;
use services::{PATIENCE, SERVICES, Services, python, repository};

/// Timers of the repair and the hand-back about as short as settings may have them.
const QUICK: [&str; 6] = [
    "repair.after=20s",
    "repair.settle=19s",
    "hand_back.hold=10s",
    "hand_back.hold_max=20s",
    "api.timeout=3s",
    "failover.read_valid=3s",
];
const STORY: [&str; 12] = [
    "steady",
    "takeover",
    "repair",
    "hand-back",
    "hand-over",
    "return",
    "restart",
    "flush",
    "role",
    "doctor",
    "measure",
    "measure-elastic-ip",
];

/// An account without anything of a trial.
struct Account(Services);

impl Account {
    fn new() -> Self {
        Self(Services::start(&Spec::nodes(0)))
    }

    fn out(&self) -> PathBuf {
        self.0.directory.path().join("out")
    }

    /// Runs the script with these arguments, and with these words in front of it.
    fn run(&self, front: &[&str], arguments: &[&str]) -> Output {
        let script = repository().join("scripts/trial");
        let out = self.out();
        let mut argv = vec!["env", "NATHA_TRIAL_POLL=0.5"];
        argv.extend(front);
        argv.extend([script.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        argv.extend(arguments);
        self.0.run(&argv)
    }

    /// The arguments of a new trial.
    fn arguments<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let package = ["--package", &*self.0.package, "--sha256", &self.0.sum];
        let image = ["--base", "ami-0123456789abcdef0", "--yes", "--name", name];
        let settings = QUICK.iter().flat_map(|setting| ["--set", *setting]);
        package.into_iter().chain(image).chain(settings).collect()
    }

    /// Has EC2 judge the nodes of a trial by the policies that their role has in IAM, until `over`
    /// ends. A change takes a second, which is less than it takes at AWS.
    fn judge_role(&self, name: &str, over: &Receiver<()>) {
        let role = format!("natha-trial-{name}");
        let mut known = None;
        while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(Duration::from_secs(1)) {
            let policy = self.policy_of(&role);
            if known.as_ref() != Some(&policy) {
                self.0.lab.role_policy(&role, policy.clone()).unwrap();
                known = Some(policy);
            }
        }
    }

    /// What a role may do, by all of its policies.
    fn policy_of(&self, role: &str) -> Policy {
        let state = format!("curl -sf {SERVICES}/moto-api/data.json");
        let state = self.0.lab.sh("internet", &state).unwrap();
        let iam: Value = serde_json::from_str(&state).unwrap();
        let roles = iam["iam"]["Role"].as_array().into_iter().flatten();
        let found = roles.filter(|one| one["name"] == role);
        let policies = found.filter_map(|one| one["policies"].as_object()).flatten();
        let statements = policies.flat_map(|(_, text)| {
            let policy: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
            policy["Statement"].as_array().unwrap().clone()
        });
        Policy { allow: statements.map(|statement| grant(&statement)).collect() }
    }

    /// Runs a trial while EC2 judges the nodes by their role.
    fn judged(&self, name: &str) -> Output {
        let (until, over) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || self.judge_role(name, &over));
            let done = self.run(&[], &self.arguments(name));
            drop(until);
            done
        })
    }

    /// Runs it until it says this, when it gets a signal.
    fn cut(&self, says: &str, signal: &str, arguments: &[&str]) -> Output {
        let running = repository().join("tests/trial/running.py");
        let python = python();
        self.run(&[&*python, running.to_str().unwrap(), says, signal], arguments)
    }

    /// What there is in the account besides the lab's own network.
    fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (action, tag) in [
            ("DescribeVpcs", "vpcId"),
            ("DescribeSubnets", "subnetId"),
            ("DescribeRouteTables", "routeTableId"),
            ("DescribeInternetGateways", "internetGatewayId"),
            ("DescribeSecurityGroups", "groupId"),
            ("DescribeNetworkInterfaces", "networkInterfaceId"),
            ("DescribeAddresses", "allocationId"),
        ] {
            let params = [("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "natha-trial")];
            let answer = self.0.lab.ec2(action, &params).unwrap();
            found.extend(texts(&answer, tag));
        }
        let hosts = self.0.lab.status().unwrap().hosts;
        found.extend(hosts.into_iter().map(|host| host.name));
        // It knows the roles, too.
        let listed = self.run(&[], &["--list"]);
        assert_eq!(listed.code, 0, "{}", listed.stderr);
        found.extend(listed.stdout.lines().map(str::to_owned));
        found
    }
}

/// What stands between the tags of one name.
fn texts(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let found = xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next());
    found.map(str::to_owned).collect()
}

/// A statement of the policy as the lab's EC2 takes it.
fn grant(statement: &Value) -> Grant {
    let actions = statement["Action"].as_array().cloned();
    let actions = actions.unwrap_or_else(|| vec![statement["Action"].clone()]);
    let actions = actions.iter().map(|one| one.as_str().unwrap().replace("ec2:", "")).collect();
    let (_, id) = statement["Resource"].as_str().unwrap().rsplit_once('/').unwrap_or(("", "*"));
    let resources = (id != "*").then(|| BTreeSet::from([id.to_owned()]));
    let tag = statement["Condition"]["StringEquals"]["aws:ResourceTag/natha:cluster"].as_str();
    let tags = tag.map(|cluster| ("natha:cluster".to_owned(), cluster.to_owned()));
    Grant { actions, resources, tags: tags.into_iter().collect() }
}

#[test]
fn a_trial_tells_its_whole_story_and_leaves_nothing() {
    let account = Account::new();
    let done = account.judged("whole");
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let report = fs::read_to_string(account.out().join("trial.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let steps = report["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, STORY);
    assert!(steps.iter().all(|step| step["ok"] == true), "{report:#}");
    let of = |step: &str, host: &str, what: &str| {
        let step = &steps[STORY.iter().position(|name| *name == step).unwrap()];
        let figure = step["hosts"][host][what].as_u64();
        figure.unwrap_or_else(|| panic!("no {what} of {host} in {step:#}"))
    };
    assert_eq!(of("steady", "host-a", "lost"), 0);
    let outage = of("takeover", "host-a", "outage_ms");
    assert!((200..5_000).contains(&outage), "host-a was without a network for {outage} ms");
    assert_eq!(of("takeover", "host-b", "lost"), 0, "the other zone has its own node");
    for step in ["hand-over", "return", "restart"] {
        for host in ["host-a", "host-b"] {
            assert_eq!(of(step, host, "broken"), 0, "connections of {host} at {step}");
            assert_eq!(of(step, host, "flows"), 8, "{step}: {host}");
        }
    }
    let role = steps[8]["detail"].as_str().unwrap();
    assert_eq!(role.matches("wrong=0").count(), 2, "{role}");
    let doctor = steps[9]["detail"].as_str().unwrap();
    assert_eq!(doctor.matches("passed=").count(), 2, "{doctor}");
    assert!(!doctor.contains("failed=") && doctor.contains("warning=key-present"), "{doctor}");
    let measure = steps[10]["detail"].as_str().unwrap();
    assert_eq!(measure.matches("exit=0 rounds=5").count(), 2, "{measure}");
    let measure = steps[11]["detail"].as_str().unwrap();
    assert_eq!(measure.matches("exit=0 rounds=5").count(), 1, "{measure}");
    let text = fs::read_to_string(account.out().join("measure-elastic-ip-node-a.txt")).unwrap();
    assert_eq!(text.lines().count(), 20, "{text}");
    for part in ["node-a", "node-b"] {
        let text = fs::read_to_string(account.out().join(format!("measure-{part}.txt"))).unwrap();
        assert_eq!(text.lines().count(), 20, "{text}");
        let text = fs::read_to_string(account.out().join(format!("doctor-{part}.txt"))).unwrap();
        assert!(text.contains("warning key-present: there is no cluster key"), "{text}");
    }
    let page = fs::read_to_string(account.out().join("trial.md")).unwrap();
    assert!(page.contains("| takeover | ok |"), "{page}");
    assert!(done.stderr.contains("nothing of the trial whole is left"), "{}", done.stderr);
    assert_eq!(account.left(), Vec::<String>::new());
}

#[test]
fn a_trial_that_is_interrupted_removes_all_that_it_made() {
    let account = Account::new();
    let cut = account.cut("node-b takes over", "SIGINT", &account.arguments("cut"));
    assert_eq!(cut.code, 130, "{}{}", cut.stdout, cut.stderr);
    assert!(cut.stderr.contains("nothing of the trial cut is left"), "{}", cut.stderr);
    assert_eq!(account.left(), Vec::<String>::new());
}

#[test]
fn a_trial_whose_session_ended_is_resumed_and_removed() {
    let account = Account::new();
    let lost = account.cut("20 seconds in which", "SIGKILL", &account.arguments("lost"));
    assert_eq!(lost.code, 137, "{}{}", lost.stdout, lost.stderr);
    assert!(account.left().len() > 10, "it had no time to remove anything");
    let listed = account.run(&[], &["--list"]);
    assert_eq!((listed.code, &*listed.stdout), (0, "lost\n"), "{}", listed.stderr);
    let again = account.run(&[], &account.arguments("lost"));
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("there is a trial lost already"), "{}", again.stderr);
    let resumed = account.cut("stops and starts node-a", "SIGKILL", &["--resume", "lost"]);
    assert_eq!(resumed.code, 137, "{}{}", resumed.stdout, resumed.stderr);
    let removed = account.run(&[], &["--remove", "lost"]);
    assert_eq!(removed.code, 0, "{}{}", removed.stdout, removed.stderr);
    assert_eq!(account.left(), Vec::<String>::new());
    let again = account.run(&[], &["--remove", "lost"]);
    assert_eq!(again.code, 0, "nothing is left already: {}", again.stderr);
}

#[test]
fn wrong_options_are_refused_before_anything_is_asked_of_aws() {
    let lab = Lab::start(&Spec::nodes(0)).unwrap();
    let script = repository().join("scripts/trial");
    let sum = "0".repeat(64);
    let package = ["--package", "https://example.test/natha.deb", "--sha256", &sum];
    let cases: [(&[&str], &str); 8] = [
        (&[], "name natha's package"),
        (&["--package", "natha.deb", "--sha256", &sum], "no http:// or https:// address"),
        (&["--package", "https://example.test/natha.deb"], "64 hexadecimal digits"),
        (&["--image", "natha"], "is not like ami-"),
        (&["--image", "ami-0123456789abcdef0", "--base", "ami-1"], "--image excludes"),
        (&["--name", "Not a name", "--image", "ami-0123456789abcdef0"], "'Not a name' is not"),
        (
            &["--set", "repair", package[0], package[1], package[2], package[3]],
            "repair is not KEY=VALUE",
        ),
        (&["--resume", "one", "--image", "ami-0123456789abcdef0"], "leave the other options out"),
    ];
    let before = lab.timeline().unwrap().calls.len();
    for (arguments, told) in cases {
        let argv: Vec<&str> =
            [script.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
        let refused = lab.exec("internet", &argv, PATIENCE).unwrap();
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(told), "{arguments:?}: {}", refused.stderr);
    }
    assert_eq!(lab.timeline().unwrap().calls.len(), before);
}
