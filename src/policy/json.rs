//! Renders a policy document as JSON for IAM.

use std::collections::BTreeMap;

use serde::Serialize;

use super::text::Part;
use super::{Condition, Policy, Statement, Text};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    statement: Vec<StatementJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatementJson<'a> {
    sid: &'a str,
    effect: &'static str,
    action: OneOrMore,
    resource: OneOrMore,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<&'static str, OneOrMore>>,
}

/// A list, written as a plain string if it has one element.
#[derive(Serialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl FromIterator<String> for OneOrMore {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut texts: Vec<String> = texts.into_iter().collect();
        if texts.len() == 1 { Self::One(texts.remove(0)) } else { Self::More(texts) }
    }
}

pub(super) fn render(policy: &Policy) -> String {
    let document = Document {
        version: "2012-10-17",
        statement: policy.statements.iter().map(to_json).collect(),
    };
    // Strings in lists and in maps with string keys always serialize.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn to_json(statement: &Statement) -> StatementJson<'_> {
    let mut condition: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for Condition { operator, key, values } in &statement.conditions {
        condition.entry(*operator).or_default().insert(*key, values.iter().map(plain).collect());
    }
    StatementJson {
        sid: &statement.sid,
        effect: "Allow",
        action: statement.actions.iter().map(|action| (*action).to_owned()).collect(),
        resource: statement.resources.iter().map(plain).collect(),
        condition,
    }
}

/// Unknown parts become `*`, except the partition: IAM accepts only the policy's own partition.
fn plain(text: &Text) -> String {
    text.written(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Partition => "aws".to_owned(),
        Part::Region | Part::Account => "*".to_owned(),
        Part::Ref(name) => format!("${{{name}}}"),
    })
}
