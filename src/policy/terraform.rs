//! Renders a policy document for Terraform, in the layout of `terraform fmt`.

use std::fmt::Write as _;

use super::text::Part;
use super::{Condition, Policy, Statement, Text};

/// The parts whose values come from data sources of the AWS provider.
const SOURCES: [(Part, &str); 3] = [
    (Part::Partition, "aws_partition"),
    (Part::Region, "aws_region"),
    (Part::Account, "aws_caller_identity"),
];

/// The data sources that the document uses, and the document.
pub(super) fn render(policy: &Policy) -> String {
    let mut text = String::new();
    for (part, source) in SOURCES {
        if texts(policy).any(|text| text.0.contains(&part)) {
            let _ = writeln!(text, "data \"{source}\" \"current\" {{}}\n");
        }
    }
    text.push_str("data \"aws_iam_policy_document\" \"natha\" {\n");
    let statements: Vec<String> = policy.statements.iter().map(one).collect();
    text.push_str(&statements.join("\n"));
    text + "}\n"
}

fn texts(policy: &Policy) -> impl Iterator<Item = &Text> {
    policy.statements.iter().flat_map(|statement| {
        let values = statement.conditions.iter().flat_map(|condition| &condition.values);
        statement.resources.iter().chain(values)
    })
}

fn one(statement: &Statement) -> String {
    // Lists always span several lines, so that `terraform fmt` aligns nothing.
    let mut text = format!("  statement {{\n    sid = \"{}\"\n", statement.sid);
    list(&mut text, "actions", statement.actions.iter().map(|action| format!("\"{action}\"")));
    list(&mut text, "resources", statement.resources.iter().map(expression));
    for Condition { operator, key, values } in &statement.conditions {
        let _ = write!(
            text,
            "\n    condition {{\n      test     = \"{operator}\"\n      variable = \"{key}\"\n"
        );
        let values: Vec<String> = values.iter().map(expression).collect();
        let _ = write!(text, "      values   = [{}]\n    }}\n", values.join(", "));
    }
    text + "  }\n"
}

fn list(text: &mut String, name: &str, items: impl Iterator<Item = String>) {
    let _ = writeln!(text, "    {name} = [");
    for item in items {
        let _ = writeln!(text, "      {item},");
    }
    text.push_str("    ]\n");
}

/// A text as an expression: a single reference needs no quotes.
fn expression(text: &Text) -> String {
    match text.0.as_slice() {
        [part @ Part::Ref(_)] => reference(part),
        _ => format!("\"{}\"", text.written(interpolated)),
    }
}

fn interpolated(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        _ => format!("${{{}}}", reference(part)),
    }
}

fn reference(part: &Part) -> String {
    match part {
        Part::Text(text) | Part::Ref(text) => text.clone(),
        Part::Partition => "data.aws_partition.current.partition".to_owned(),
        // Only `id` has the region's name in all versions of the provider.
        Part::Region => "data.aws_region.current.id".to_owned(),
        Part::Account => "data.aws_caller_identity.current.account_id".to_owned(),
    }
}
