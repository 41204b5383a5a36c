//! The operations of AWS that the program calls, read from its source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each as IAM names it. A client is a field of that name, and its methods are the operations.
pub(crate) fn of_the_source() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cloud");
    let mut calls = BTreeSet::new();
    for entry in fs::read_dir(directory).expect("the clients") {
        let path = entry.expect("the clients").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The instance metadata service is on the host, and asks IAM nothing.
        if !path.is_file() || name.ends_with("tests.rs") || name == "imds.rs" {
            continue;
        }
        let service = if name == "route53.rs" { "route53" } else { "ec2" };
        let text = fs::read_to_string(&path).expect("a source file");
        if name == "sns.rs" {
            // Its one operation is a field of a form.
            let (_, rest) = text.split_once("(\"Action\", \"").expect("an action");
            let (operation, _) = rest.split_once('"').expect("an action");
            calls.insert(format!("sns:{operation}"));
            continue;
        }
        calls.extend(operations(&text).map(|operation| format!("{service}:{operation}")));
    }
    assert!(calls.len() > 10, "the clients are elsewhere: {calls:?}");
    calls
}

fn operations(source: &str) -> impl Iterator<Item = String> {
    let code: String = source.split_whitespace().collect();
    let after: Vec<String> = code.split("self.client.").skip(1).map(str::to_owned).collect();
    after.into_iter().map(|rest| {
        let end = rest.find('(').expect("a call");
        let words = rest[..end].split('_');
        words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
    })
}

#[test]
fn operations_are_found_across_lines() {
    let source = "self\n    .client\n    .describe_vpcs().x(); self.client.get_change().id(&id)";
    assert_eq!(operations(source).collect::<Vec<_>>(), ["DescribeVpcs", "GetChange"]);
}
