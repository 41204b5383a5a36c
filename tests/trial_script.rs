//! What `scripts/trial` says and makes, without a lab: the permissions that its page names, the
//! policy of the role, and the price that it finds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use natha::config::{Flags, Sources, resolve};
use natha::policy::{PolicyFormat, PolicyOptions, policy};

/// The files that call AWS as the operator.
const SCRIPTS: [&str; 5] = ["aws", "make", "remove", "report", "story"];
/// How the AWS CLI's names of calls begin.
const VERBS: [&str; 17] = [
    "add",
    "allocate",
    "associate",
    "attach",
    "authorize",
    "create",
    "delete",
    "describe",
    "detach",
    "disassociate",
    "get",
    "list",
    "put",
    "release",
    "remove",
    "run",
    "terminate",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The permission of a call of the AWS CLI, such as `create-vpc`.
fn permission(call: &str) -> String {
    let service = match call {
        "get-parameter" => "ssm",
        "get-products" => "pricing",
        iam if iam.contains("role") || iam.contains("profile") => "iam",
        _ => "ec2",
    };
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    let action: String = call.split('-').map(capital).collect();
    format!("{service}:{action}")
}

/// The calls in a script, comments left out.
fn calls(script: &str) -> BTreeSet<String> {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_lowercase() && c != '-'));
    let is_call = |word: &&str| {
        let verb = word.split_once('-').filter(|(_, rest)| !rest.is_empty());
        verb.is_some_and(|(verb, _)| VERBS.contains(&verb))
    };
    words.filter(is_call).map(permission).collect()
}

#[test]
fn the_page_names_the_permissions_that_the_script_needs() {
    let needed: BTreeSet<String> = SCRIPTS
        .iter()
        .flat_map(|name| calls(&read(&format!("scripts/trial.d/{name}.sh"))))
        .collect();
    let page = read("docs/trial.md");
    let (_, section) = page.split_once("\n## Permissions\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let quoted = section.split('`').skip(1).step_by(2);
    let services = ["ec2:", "iam:", "ssm:", "pricing:"];
    let named = quoted.filter(|word| services.iter().any(|service| word.starts_with(service)));
    let mut named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert!(named.remove("iam:PassRole"), "what RunInstances needs for the profile");
    // A call that creates something with `--tags` needs these too.
    for action in ["iam:TagRole", "iam:TagInstanceProfile"] {
        assert!(named.remove(action), "{action}");
    }
    assert_eq!(named, needed);
}

#[test]
fn a_call_is_found_in_a_script() {
    let found =
        calls("# create-nothing\n  soon ec2 create-vpc --tags x\necho get-role natha-trial");
    let expected = ["ec2:CreateVpc", "iam:GetRole"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn the_role_has_the_policy_that_natha_prints() {
    let cluster = Some("blue".to_owned());
    let flags = Flags { cluster, ..Flags::default() };
    let settings = resolve(&Sources { flags, ..Sources::default() }).unwrap().settings;
    let printed =
        policy(&settings, &PolicyOptions { doctor: true, ..PolicyOptions::default() }).unwrap();
    let made = read("scripts/trial.d/policy.json").replace("@CLUSTER@", "blue");
    assert_eq!(made, printed.render(PolicyFormat::Json));
}

/// What `price` of the script prints when AWS's price list answers this.
fn price(answer: &str) -> String {
    let script = "source scripts/trial.d/aws.sh; source scripts/trial.d/make.sh
        region=eu-west-1; call() { printf '%s\\n' \"$ANSWER\"; }
        price AmazonEC2 instanceType=t4g.nano -- '\"t4g.nano\"'";
    let done = Command::new("bash")
        .args(["-c", script])
        .env("ANSWER", answer)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_price_is_that_of_an_hour_on_demand() {
    // The form of an entry of the price list (Price List Query API, GetProducts).
    let entry = r#"{"product":{"attributes":{"instanceType":"t4g.nano"}},"terms":{"Reserved":
        {"A":{"priceDimensions":{"B":{"pricePerUnit":{"USD":"9.9"}}}}},"OnDemand":{"A":
        {"priceDimensions":{"B":{"unit":"Hrs","pricePerUnit":{"USD":"0.0046000000"}}}}}}}"#;
    assert_eq!(price(entry), "0.0046000000");
    for nothing in ["", "None", r#"{"terms":{"OnDemand":{}}}"#] {
        assert_eq!(price(nothing), "", "{nothing}");
    }
}
