//! The report of a setup.

use crate::commands::report::{Row, RowResult, SetupReport};
use crate::plan::{HostPlan, Item, ItemState};

/// The row of an item. `differs` is its result if it differs from the plan.
pub(super) fn row(item: &Item, differs: RowResult) -> Row {
    let outcome = match item.standing {
        ItemState::Right => RowResult::Right,
        ItemState::Differs => differs,
        ItemState::NotSettable => RowResult::NotSettable,
        ItemState::Stuck => RowResult::Failed,
    };
    // If a larger value is acceptable, the current one stays.
    let after = match item.standing {
        ItemState::Differs => Some(item.wanted.clone()),
        _ => item.found.clone(),
    };
    Row { what: item.subject.to_string(), before: item.found.clone(), after, outcome }
}

/// A warning for the items that cannot be set in this network namespace.
pub(super) fn not_settable(items: &[Item]) -> Option<String> {
    let list: Vec<String> = items
        .iter()
        .filter(|item| item.standing == ItemState::NotSettable)
        .map(ToString::to_string)
        .collect();
    (!list.is_empty()).then(|| {
        format!(
            "{}; it cannot be set from inside this network namespace. Set it on the host: without \
             it, this host tracks fewer connections than its memory allows",
            list.join("; ")
        )
    })
}

/// What the host does once it is as planned, in a sentence without a full stop.
fn purpose(plan: &HostPlan) -> String {
    fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
        items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
    }
    let HostPlan { table, addresses, unchecked, .. } = plan;
    let mut purposes = Vec::new();
    if table.nat {
        purposes.push(format!("translates {} through `{}`", list(&table.sources), table.uplink));
    }
    if table.protect.is_some() {
        purposes.push("is closed to private hosts (`host.protect`)".to_owned());
    }
    let accepted = list(addresses.iter().chain(&table.accept));
    if !accepted.is_empty() {
        purposes.push(format!("accepts packets for {accepted}"));
    }
    if !table.nat && !unchecked.is_empty() {
        purposes.push("receives packets for virtual IPs from the VPC".to_owned());
    }
    if purposes.is_empty() {
        return "This host is not a NAT and needs nothing for its groups".to_owned();
    }
    format!("This host {}", purposes.join(" and "))
}

/// What a setup found and did.
pub(super) struct Outcome<'a> {
    /// The items as found.
    pub(super) items: &'a [Item],
    /// The changed ones, each as it was right before its change.
    pub(super) shown: &'a [Item],
    /// Those that differ from the plan at the end.
    pub(super) left: &'a [Item],
    /// What the metadata service or EC2 did not answer or refused.
    pub(super) problems: &'a [String],
}

impl Outcome<'_> {
    /// Combines the items as found, as changed and as read back.
    pub(super) fn report(&self, plan: &HostPlan, mut warnings: Vec<String>) -> SetupReport {
        let rows: Vec<Row> = self.items.iter().map(|item| self.row(item)).collect();
        let settled: Vec<Item> = self.items.iter().chain(self.shown).cloned().collect();
        warnings.extend(not_settable(&settled));
        let what = purpose(plan);
        let changed = rows.iter().filter(|row| row.outcome == RowResult::Changed).count();
        let (result, summary) = if !self.problems.is_empty() {
            warnings.splice(0..0, self.problems.iter().cloned());
            let text = format!(
                "{what}, as far as this host decides. Not everything is known or done in EC2: run \
                 setup again, as the systemd unit does."
            );
            ("incomplete", text)
        } else if !self.left.is_empty() {
            let list = self.left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let text = format!("Set up, but still not as planned: {list}. Run setup again.");
            ("not-as-planned", text)
        } else if changed == 0 {
            ("nothing-to-do", format!("Nothing to do. {what}."))
        } else {
            ("changed", format!("{what}. Changed: {changed}. Undo with `natha teardown`."))
        };
        SetupReport { result, summary, rows, groups: Vec::new(), warnings }
    }

    fn row(&self, item: &Item) -> Row {
        let of_item = |list: &[Item]| list.iter().find(|one| one.subject == item.subject).cloned();
        let before = of_item(self.shown).unwrap_or_else(|| item.clone());
        match of_item(self.left) {
            None => row(&before, RowResult::Changed),
            Some(bad) => Row { before: before.found, ..row(&bad, RowResult::Failed) },
        }
    }
}
