//! Renders a policy document as part of a CloudFormation template, in YAML.

use super::text::Part;
use super::{Policy, Statement, Text};

/// The key `PolicyDocument` with its content, not indented.
pub(super) fn render(policy: &Policy) -> String {
    let mut lines = Lines::default();
    lines.add(0, "PolicyDocument:");
    lines.add(1, "Version: \"2012-10-17\"");
    lines.add(1, "Statement:");
    for statement in &policy.statements {
        one(statement, &mut lines);
    }
    lines.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, level: usize, text: &str) {
        self.0.extend(["  ".repeat(level).as_str(), text, "\n"]);
    }

    /// Adds a key with a list.
    fn list(&mut self, level: usize, key: &str, items: impl IntoIterator<Item = String>) {
        self.add(level, &format!("{key}:"));
        for item in items {
            self.add(level + 1, &format!("- {item}"));
        }
    }
}

fn one(statement: &Statement, lines: &mut Lines) {
    lines.add(2, &format!("- Sid: {}", statement.sid));
    lines.add(3, "Effect: Allow");
    lines.list(3, "Action", statement.actions.iter().map(|action| (*action).to_owned()));
    lines.list(3, "Resource", statement.resources.iter().map(value));
    if statement.conditions.is_empty() {
        return;
    }
    lines.add(3, "Condition:");
    let mut operators: Vec<&str> = statement.conditions.iter().map(|one| one.operator).collect();
    operators.sort_unstable();
    operators.dedup();
    for operator in operators {
        lines.add(4, &format!("{operator}:"));
        for condition in statement.conditions.iter().filter(|one| one.operator == operator) {
            lines.list(5, condition.key, condition.values.iter().map(value));
        }
    }
}

/// A text as YAML: quoted, and with `!Sub` or `!Ref` if it contains references.
fn value(text: &Text) -> String {
    if let Some(known) = text.known() {
        return format!("\"{known}\"");
    }
    match text.0.as_slice() {
        [Part::Ref(name)] if !name.contains('.') => format!("!Ref {name}"),
        _ => format!("!Sub \"{}\"", text.written(reference)),
    }
}

fn reference(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Partition => "${AWS::Partition}".to_owned(),
        Part::Region => "${AWS::Region}".to_owned(),
        Part::Account => "${AWS::AccountId}".to_owned(),
        Part::Ref(name) => format!("${{{name}}}"),
    }
}
