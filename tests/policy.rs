//! What `natha policy` prints: that IAM knows all of it, that it is kept to what is the cluster's,
//! that it allows what natha does and nothing else, and that the documents tell the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

#[path = "policy/calls.rs"]
mod calls;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use natha::config::{Flags, PairFlags, Settings, Sources, resolve};
use natha::policy::{NameOrRef, Policy, PolicyFormat, PolicyOptions, policy};
use serde_json::{Value, json};

/// Everything that can follow a holder, each as its settings list it.
const EVERYTHING: &str = r#"
cluster = "all"
members = ["i-0123456789abcdef0", "i-0123456789abcdef1"]
notify.sns_topic = "arn:aws:sns:eu-west-1:123456789012:nat-alerts"
[[group]]
name = "zone-a"
tables = ["rtb-0123456789abcdef0"]
[[group]]
name = "rest"
[[group.resource]]
kind = "vip"
address = "10.99.0.1"
tables = ["rtb-0123456789abcdef1"]
[[group.resource]]
kind = "vip"
address = "10.99.0.2"
[[group.resource]]
kind = "private-ip"
address = "10.0.0.9"
[[group.resource]]
kind = "eip"
allocation = "eipalloc-0123456789abcdef0"
[[group.resource]]
kind = "dns"
zone = "Z0123456789ABCDEFGHIJ"
name = "db.example.com"
[[group.resource]]
kind = "dns"
zone = "Z0123456789ABCDEFGHIK"
name = "web.example.org"
"#;

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What is in a document between such a fence and its end.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let blocks = document.split(&*fence).skip(1);
    blocks.map(|block| block.split_once("\n```\n").unwrap().0).collect()
}

fn settings(file: &str) -> Settings {
    let file = Some((PathBuf::from("natha.toml"), file.to_owned()));
    resolve(&Sources { file, ..Sources::default() }).unwrap().settings
}

/// Options that every example needs: the VPC, as some tables are found by their routes.
fn options() -> PolicyOptions {
    let vpc = Some(NameOrRef::Known("vpc-0123456789abcdef0".to_owned()));
    PolicyOptions { vpc, ..PolicyOptions::default() }
}

fn made(file: &str, options: &PolicyOptions) -> Policy {
    policy(&settings(file), options).unwrap_or_else(|problems| panic!("{problems}\n{file}"))
}

/// Policies for all that can be configured, by what they are for.
fn samples() -> Vec<(String, Policy)> {
    let tagged = "cluster = \"blue\"";
    let key = Some(NameOrRef::Known("/natha/blue/key".to_owned()));
    let mut samples = vec![
        ("tags".to_owned(), made(tagged, &PolicyOptions::default())),
        ("tags in a VPC, and a key".to_owned(), made(tagged, &PolicyOptions { key, ..options() })),
        (
            "setup".to_owned(),
            made(tagged, &PolicyOptions { setup_only: true, ..PolicyOptions::default() }),
        ),
        ("everything".to_owned(), made(EVERYTHING, &options())),
        (
            "doctor".to_owned(),
            made(tagged, &PolicyOptions { doctor: true, ..PolicyOptions::default() }),
        ),
    ];
    let measure_table = Some("rtb-0123456789abcdef2".parse().unwrap());
    let measure_elastic_ip = Some("eipalloc-0123456789abcdef2".parse().unwrap());
    let measure = PolicyOptions { measure_table, measure_elastic_ip, ..options() };
    for (name, file) in [("measuring", tagged), ("measuring, all listed", EVERYTHING)] {
        samples.push((name.to_owned(), made(file, &measure)));
    }
    let measure = PolicyOptions { setup_only: true, ..measure };
    samples.push(("measuring without a monitor".to_owned(), made(tagged, &measure)));
    let pair = PairFlags {
        peer: Some("i-0123456789abcdef0".parse().unwrap()),
        peer_table: Some("rtb-0123456789abcdef0".parse().unwrap()),
        my_table: Some("rtb-0123456789abcdef1".parse().unwrap()),
    };
    let resolved = resolve(&Sources { pair, ..Sources::default() }).unwrap();
    samples.push(("pair".to_owned(), policy(&resolved.settings, &options()).unwrap()));
    for (n, block) in blocks(&document("docs/patterns.md"), "toml").into_iter().enumerate() {
        let options = PolicyOptions { setup_only: !block.contains("[[group]]"), ..options() };
        samples.push((format!("pattern {n}"), made(block, &options)));
    }
    samples
}

/// A policy in all languages, for the checker.
fn case(name: &str, policy: &Policy) -> Value {
    json!({
        "name": name,
        "json": policy.render(PolicyFormat::Json),
        "cloudformation": policy.render(PolicyFormat::CloudFormation),
        "terraform": policy.render(PolicyFormat::Terraform),
    })
}

/// The checker's complaints.
fn complaints(cases: &[Value]) -> Vec<String> {
    let interpreter = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut checker = Command::new(interpreter)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/check.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("set NATHA_PYTHON to a Python with scripts/requirements.txt");
    let input = serde_json::to_vec(cases).unwrap();
    // One that lacks a module ends before it has read everything: its own words tell more.
    let sent = checker.stdin.take().unwrap().write_all(&input);
    let output = checker.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let found: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{text}{error}");
    sent.unwrap();
    found
}

fn natha(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_natha"))
        .env_clear()
        .env("NATHA_CONFIG", "/dev/null")
        .arg("policy")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn iam_knows_every_action_resource_and_condition_and_nothing_is_left_open() {
    let samples = samples();
    assert!(samples.len() >= 12, "{} policies", samples.len());
    let cases: Vec<Value> = samples.iter().map(|(name, policy)| case(name, policy)).collect();
    assert_eq!(complaints(&cases), Vec::<String>::new());
}

#[test]
fn the_checker_finds_every_seeded_fault() {
    let policy = made(EVERYTHING, &options());
    let text = policy.render(PolicyFormat::Json);
    let any = "\"arn:aws:ec2:*:*:instance/*\"";
    let nowhere = format!("\"Resource\": {any}");
    let seeds = [
        ("ec2:ReplaceRoute", "ec2:ReplaceRout", "there is no action ec2:ReplaceRout"),
        ("ec2:StartInstances", "ec2:Start*", "there is no action ec2:Start*"),
        ("ec2:StopInstances", "iam:PassRole", "is none of ['role']"),
        ("arn:aws:ec2:*:*:route-table/*", "*", "is allowed on *, which is none of"),
        ("route-table/rtb-0123456789abcdef0", "route-tables/rtb-0", "none of ['route-table']"),
        ("\"ec2:Vpc\": \"arn", "\"ec2:InstanceID\": \"arn", "no condition key ec2:InstanceID"),
        ("\"ArnLike\"", "\"StringEquals\"", "StringEquals does not suit ec2:Vpc"),
        ("\"arn:aws:ec2:*:*:instance/i-0123456789abcdef0\"", any, "is allowed on any instance"),
        ("\"Resource\": \"*\"", &nowhere, "cannot be kept to arn:aws:ec2:*:*:instance/*"),
        ("Z0123456789ABCDEFGHIJ", "Z0123456789ABCDEFGHI*", "is allowed on any hostedzone"),
        ("\"Sid\": \"Repair\"", "\"Sid\": \"Read\"", "Sid `Read`"),
    ];
    let seeded = |(n, (right, wrong, _)): (usize, &(&str, &str, &str))| {
        let seeded = text.replace(right, wrong);
        assert_ne!(seeded, text, "{right} is not in the policy");
        let mut case = case(&format!("seed {n}"), &policy);
        case["json"] = seeded.into();
        case
    };
    let mut cases: Vec<Value> = seeds.iter().enumerate().map(seeded).collect();
    let mut templates = case("templates", &policy);
    let [cloudformation, terraform] =
        [PolicyFormat::CloudFormation, PolicyFormat::Terraform].map(|format| policy.render(format));
    templates["terraform"] = terraform.replace("web.example.org", "*").into();
    templates["cloudformation"] = cloudformation.replace("${AWS::Region}", "${Region}").into();
    cases.push(templates);

    let found = complaints(&cases);
    let is_found = |case: &str, complaint: &str| {
        found.iter().any(|line| line.starts_with(&format!("{case}: ")) && line.contains(complaint))
    };
    for (n, (_, _, complaint)) in seeds.iter().enumerate() {
        assert!(is_found(&format!("seed {n}"), complaint), "{complaint}: {found:#?}");
    }
    for language in ["cloudformation", "terraform"] {
        let complaint = format!("{language} and JSON do not say the same");
        assert!(is_found("templates", &complaint), "{language}: {found:#?}");
    }
}

#[test]
fn what_is_called_is_allowed_and_what_is_not_called_is_not() {
    let called = calls::of_the_source();
    let mut allowed: BTreeSet<&str> =
        samples().iter().flat_map(|(_, policy)| policy.actions()).collect();
    // The one call that is not the program's: `fetch-key` of the image makes it, by the AWS CLI.
    assert!(document("ami/rootfs/usr/lib/natha/fetch-key").contains("aws ssm get-parameter"));
    assert!(allowed.remove("ssm:GetParameter"));
    let allowed: BTreeSet<String> = allowed.into_iter().map(str::to_owned).collect();
    assert_eq!(called, allowed);
}

#[test]
fn the_security_page_shows_what_is_printed() {
    let page = document("docs/security.md");
    let shown = blocks(&page, "json");
    let [shown] = shown[..] else { panic!("{} JSON documents", shown.len()) };
    let printed = natha(&["--cluster", "blue"]);
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), format!("{shown}\n"));
    assert_eq!(printed.status.code(), Some(0));
    assert!(page.contains("\nnatha policy --cluster blue"), "the command is not shown");
}

#[test]
fn what_only_the_doctor_reads_is_allowed_only_where_that_is_asked_for() {
    let action = "ec2:DescribeSecurityGroups";
    let printed = |arguments: &[&str]| String::from_utf8(natha(arguments).stdout).unwrap();
    assert!(!printed(&["--cluster", "blue"]).contains(action));
    assert!(printed(&["--cluster", "blue", "--doctor"]).contains(action));
    // A node that forwards nothing reads no source/dest check. The doctor reads the tags of the
    // interface that an Elastic IP moves to.
    let file = "cluster = \"blue\"\n[[group]]\nname = \"web\"\n\
                [[group.resource]]\nkind = \"eip\"\nallocation = \"eipalloc-0123456789abcdef0\"\n";
    for doctor in [false, true] {
        let options = PolicyOptions { doctor, ..PolicyOptions::default() };
        let actions = made(file, &options).actions();
        assert_eq!(actions.contains(&"ec2:DescribeNetworkInterfaces"), doctor, "{actions:?}");
    }
}

#[test]
fn what_only_a_measurement_does_is_allowed_only_where_that_is_asked_for() {
    let printed = |arguments: &[&str]| String::from_utf8(natha(arguments).stdout).unwrap();
    let usual = printed(&["--cluster", "blue"]);
    let (table, id) = ("rtb-0123456789abcdef0", "eipalloc-0123456789abcdef0");
    for (flag, id, actions) in [
        ("--measure-table", table, &["ec2:DeleteRoute"][..]),
        (
            "--measure-elastic-ip",
            id,
            &["ec2:DisassociateAddress", "ec2:UnassignPrivateIpAddresses"],
        ),
    ] {
        let measuring = printed(&["--cluster", "blue", flag, id]);
        for part in actions.iter().chain([&id]) {
            assert!(!usual.contains(part) && measuring.contains(part), "{flag}: {part}");
        }
        let refused = natha(&["--cluster", "blue", flag, "everything"]);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{flag}");
    }
}

/// Settings need not list the node that has them.
#[test]
fn a_node_that_is_not_listed_may_receive_elastic_ips() {
    let of_peer = "members = [\"i-0123456789abcdef0\"]\n[[group]]\nname = \"web\"\n\
                   [[group.resource]]\nkind = \"eip\"\n\
                   allocation = \"eipalloc-0123456789abcdef0\"\n";
    let policy = made(&format!("cluster = \"blue\"\n{of_peer}"), &options());
    let printed: Value = serde_json::from_str(&policy.render(PolicyFormat::Json)).unwrap();
    let statements = printed["Statement"].as_array().unwrap();
    let tagged = statements.iter().find(|one| one["Sid"] == "MoveElasticIpsToTaggedInstances");
    let tagged = tagged.unwrap();
    assert_eq!(tagged["Resource"], "arn:aws:ec2:*:*:instance/*");
    assert_eq!(tagged["Condition"]["StringEquals"]["aws:ResourceTag/natha:cluster"], "blue");
    let problems = natha::policy::policy(&settings(of_peer), &options()).unwrap_err();
    assert!(problems.to_string().contains("list every node"), "{problems}");
}

/// The actions that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.starts_with("ec2:") || word.starts_with("route53:")).collect()
}

#[test]
fn each_pattern_tells_what_its_policy_allows() {
    let document = document("docs/patterns.md");
    let (start, rest) = document.split_once("\n## NAT\n").unwrap();
    let common = named(start);
    let mut sections = 0;
    for section in rest.split("\n## ") {
        let Some((_, policy_text)) = section.split_once("**Policy.**") else { continue };
        let policy_text = policy_text.split("**Costs.**").next().unwrap();
        if policy_text.contains("As for a virtual IP") {
            continue;
        }
        let policy = made(blocks(section, "toml")[0], &options());
        let allowed: BTreeSet<&str> = policy.actions().into_iter().collect();
        let documented = &common | &named(policy_text);
        assert_eq!(documented, allowed, "{section}");
        sections += 1;
    }
    assert!(sections >= 4, "{sections} patterns tell of their policy");
}

#[test]
fn what_cannot_be_kept_to_the_cluster_is_an_error_and_nothing_is_printed() {
    for (arguments, code, parts) in [
        (&[][..], 1, &["cluster: it is not known which", "--cluster NAME", "--config FILE"][..]),
        (&["--setup-only"], 1, &["network interfaces", "--vpc", "--cluster"]),
        (&["--cluster", "a*${b}"], 1, &["cluster `a*${b}`", "letters, digits"]),
        (&["--cluster", ""], 2, &["is empty"]),
        (&["--cluster", "a", "--region", "eu west"], 1, &["region `eu west`", "eu-west-1"]),
        (&["--cluster", "a", "--account", "12"], 2, &["12 digits"]),
        (&["--cluster", "a", "--partition", "aws:x"], 2, &["aws-cn"]),
        (&["--cluster", "a", "--key-parameter", "a b"], 2, &["/natha/blue/key"]),
        (&["--cluster", "a", "--cluster-ref", "A"], 2, &["cannot be used with '--cluster"]),
        (&["--cluster-ref", "A"], 2, &["--cluster-ref needs --format"]),
        (&["--format", "cloudformation", "--cluster-ref", "A-B"], 2, &["`A-B`", "a parameter"]),
        (&["--format", "terraform", "--cluster-ref", "var.a}\""], 2, &["var.cluster"]),
        (&["--set", "foo"], 2, &["--set foo", "KEY=VALUE"]),
        (&["--set", "heartbeat.port=0"], 2, &["heartbeat.port", "1 to 65535"]),
        (&["--cluster", "a", "--log-level", "foo=bar=baz"], 2, &["--log-level", "NATHA_LOG"]),
        (&["--format", "yaml"], 2, &["possible values: json, cloudformation, terraform"]),
    ] {
        let output = natha(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(code == 2 || error.lines().count() == 1, "one fault is one line: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: no `{part}` in {error}");
        }
    }
    let vip = blocks(&document("docs/patterns.md"), "toml")[0].to_owned();
    let problems = policy(&settings(&vip), &PolicyOptions::default()).unwrap_err().to_string();
    assert!(problems.contains("virtual IP 10.0.0.2") && problems.contains("--vpc"), "{problems}");
}

#[test]
fn two_flags_that_exclude_each_other_are_named_without_a_usage_that_has_one_of_them() {
    let output = natha(&["--format", "terraform", "--cluster", "a", "--cluster-ref", "var.a"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("cannot be used with") && !error.contains("Usage:"), "{error}");
}

#[test]
fn a_region_that_is_not_known_is_a_warning() {
    for (region, part) in [("eu-wst-1", "did you mean `eu-west-1`?"), ("eu-west-1", "")] {
        let output = natha(&["--cluster", "a", "--region", region]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{error}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(&format!(":{region}:")));
        assert!(error.contains(part) && error.is_empty() == part.is_empty(), "{error}");
    }
}

#[test]
fn the_key_s_parameter_is_the_one_that_the_image_fetches() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.ssm");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_natha"));
        command.env_clear().env("NATHA_CONFIG", "/dev/null").env("NATHA_KEY_SSM", &file);
        command.args(["policy", "--cluster", "blue", "--region", "cn-north-1"]).output().unwrap()
    };
    let missing = run();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("key.ssm"));
    fs::write(&file, "/natha/blue/key\n").unwrap();
    let printed = String::from_utf8(run().stdout).unwrap();
    let wanted = "arn:aws-cn:ssm:cn-north-1:*:parameter/natha/blue/key";
    assert!(printed.contains(wanted), "{printed}");
    fs::write(&file, "key\n").unwrap();
    let wrong = run();
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(1), 0));
}

#[test]
fn a_template_refers_to_what_it_has() {
    let flags = Flags::default();
    let settings = resolve(&Sources { flags, ..Sources::default() }).unwrap().settings;
    let reference = |text: &str| Some(NameOrRef::Ref(text.to_owned()));
    let tables = vec![NameOrRef::Ref("TableA".to_owned()), NameOrRef::Ref("TableB".to_owned())];
    let (cluster, key) = (reference("Cluster"), reference("Key"));
    let topic = reference("Topic");
    let options = PolicyOptions {
        cluster,
        vpc: reference("Net.VpcId"),
        tables,
        key,
        topic,
        ..PolicyOptions::default()
    };
    let text = policy(&settings, &options).unwrap().render(PolicyFormat::CloudFormation);
    let arn = "!Sub \"arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:";
    for part in [
        "aws:ResourceTag/natha:cluster:\n            - !Ref Cluster\n",
        &format!("{arn}route-table/${{TableA}}\"\n        - {arn}route-table/${{TableB}}\"\n"),
        &format!("{arn}vpc/${{Net.VpcId}}\"\n"),
        ":parameter${Key}\"\n",
        "- sns:Publish\n      Resource:\n        - !Ref Topic\n",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let options = PolicyOptions { cluster: reference("var.cluster"), ..PolicyOptions::default() };
    let text = policy(&settings, &options).unwrap().render(PolicyFormat::Terraform);
    assert_eq!(text.matches("values   = [var.cluster]").count(), 7, "{text}");
}
