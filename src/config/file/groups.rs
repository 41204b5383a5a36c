//! The groups of the settings file. First every table of a group is checked for unknown, missing
//! and contradictory keys; then serde reads the values and gives the line of the first wrong one.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::lines::{FileText, text_of};
use crate::config::group::GroupSetting;
use crate::config::group_keys::{CHECK, GROUP, IfAbsent, KINDS, KeySet, PROBES};
use crate::config::group_modes::Local;
use crate::config::problem::{LocatedGroup, Origin, Problem, nearest};
use crate::types::printable;

/// The name of a resource's table before its keys' names.
const RESOURCE: &str = "group.resource.";

/// Reads one `[[group]]`.
pub(super) fn read(
    file: &FileText<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<LocatedGroup, Vec<Problem>> {
    let mut problems = Vec::new();
    let tables = tables(file, value, &mut problems);
    for table in &tables {
        table.check_keys(&mut problems);
    }
    if let Some(group) = tables.first() {
        check_group(group, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let from = ValueDeserializer::from(for_serde(value.clone()));
    match GroupSetting::deserialize(from) {
        Ok(setting) => {
            let origin = file.origin(value.span().start);
            Ok(LocatedGroup { setting: completed(setting, &tables[0]), origin })
        }
        Err(error) => Err(vec![located(&error, file, &tables)]),
    }
}

/// A group or a table in it.
struct Table<'a, 'i> {
    file: &'a FileText<'a>,
    /// Its name before its keys' names.
    prefix: &'static str,
    known: &'static KeySet,
    /// Names of tables that it may contain.
    inner: &'static [&'static str],
    items: &'a DeTable<'i>,
    origin: Origin,
}

/// The group and the tables in it. The first one is the group.
fn tables<'a, 'i>(
    file: &'a FileText<'a>,
    value: &'a Spanned<DeValue<'i>>,
    problems: &mut Vec<Problem>,
) -> Vec<Table<'a, 'i>> {
    let not_a_table = |name: &str, at: &Spanned<DeValue<'_>>, write: &str| {
        let subject = format!("{name} ({})", file.origin(at.span().start));
        Problem::new(subject, "is not a table", format!("write {write} and its keys"))
    };
    let table = |prefix, known, inner, items, at: &Spanned<DeValue<'_>>| {
        let origin = file.origin(at.span().start);
        Table { file, prefix, known, inner, items, origin }
    };
    let Some(of_group) = value.get_ref().as_table() else {
        problems.push(not_a_table("group", value, GROUP.table));
        return Vec::new();
    };
    let mut found = vec![table("group.", &GROUP, &["resource", "check"], of_group, value)];
    match of_group.get("resource").map(|resources| (resources, resources.get_ref().as_array())) {
        None => {}
        Some((_, Some(resources))) => {
            for resource in resources {
                let Some(of_resource) = resource.get_ref().as_table() else {
                    problems.push(not_a_table("group.resource", resource, "[[group.resource]]"));
                    continue;
                };
                let origin = file.origin(resource.span().start);
                match kind(file, of_resource, &origin) {
                    Ok(known) => {
                        found.push(table(RESOURCE, known, &[], of_resource, resource));
                    }
                    Err(problem) => problems.push(problem),
                }
            }
        }
        Some((_, None)) => {
            let remedy = "write [[group.resource]] and its keys";
            problems.push(found[0].problem("resource", "is not a list of tables", remedy));
        }
    }
    if let Some(check) = of_group.get("check") {
        match check.get_ref().as_table() {
            Some(of_check) => found.push(table("group.check.", &CHECK, &[], of_check, check)),
            None => problems.push(not_a_table("group.check", check, CHECK.table)),
        }
    }
    found
}

/// The keys that a resource may have, by its kind.
fn kind(
    file: &FileText<'_>,
    table: &DeTable<'_>,
    origin: &Origin,
) -> Result<&'static KeySet, Problem> {
    let names = KINDS.map(|(name, _)| name);
    let any = format!("it may be: {}", names.join(", "));
    let Some((key, value)) = table.get_key_value("kind") else {
        return Err(Problem::new(format!("group.resource.kind ({origin})"), "is missing", any));
    };
    let text = text_of(value.get_ref()).unwrap_or_default();
    if let Some((_, known)) = KINDS.iter().find(|(name, _)| *name == text) {
        return Ok(known);
    }
    let remedy = match nearest(&text, names, 0.8) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => any,
    };
    let origin = file.origin(key.span().start);
    Err(Problem::new(format!("group.resource.kind ({origin})"), "unknown kind", remedy))
}

impl Table<'_, '_> {
    fn has(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }

    fn is_empty_list(&self, name: &str) -> bool {
        let list = self.items.get(name).and_then(|value| value.get_ref().as_array());
        list.is_some_and(|list| list.is_empty())
    }

    /// A problem of a key, which need not be there.
    fn problem(&self, name: &str, what: &str, remedy: &str) -> Problem {
        let key = self.items.get_key_value(name).map(|(key, _)| key.span().start);
        let origin = key.map_or_else(|| self.origin.clone(), |at| self.file.origin(at));
        Problem::new(format!("{}{} ({origin})", self.prefix, printable(name)), what, remedy)
    }

    /// Unknown keys, and required ones that are missing.
    fn check_keys(&self, problems: &mut Vec<Problem>) {
        let names = || self.known.keys.iter().map(|key| key.name).chain(self.inner.iter().copied());
        for key in self.items.keys() {
            let name: &str = key.get_ref();
            if names().all(|known| known != name) {
                let near = nearest(name, names(), 0.0).unwrap_or_default();
                let what = format!("is not a key of {}", self.known.table);
                problems.push(self.problem(name, &what, &format!("did you mean `{near}`?")));
            }
        }
        for key in self.known.keys {
            if key.if_absent == IfAbsent::Required && !self.has(key.name) {
                problems.push(self.problem(key.name, "is missing", "add it"));
            }
        }
        if self.known.table == CHECK.table {
            self.check_probe(problems);
        }
        if self.prefix == RESOURCE
            && self.known.find("tables").is_some()
            && self.is_empty_list("tables")
        {
            let remedy = "remove it to use every table that has the route, or list some";
            problems.push(self.problem("tables", "is empty", remedy));
        }
    }

    /// A check needs exactly one probe.
    fn check_probe(&self, problems: &mut Vec<Problem>) {
        let given: Vec<&str> = PROBES.into_iter().filter(|name| self.has(name)).collect();
        let what = match given.len() {
            0 => "has no probe".to_owned(),
            1 => return,
            _ => format!("has several probes: {}", given.join(", ")),
        };
        let remedy = format!("use exactly one of {}", PROBES.join(", "));
        problems.push(Problem::new(format!("group.check ({})", self.origin), what, remedy));
    }
}

/// Keys of a group that need or exclude each other.
fn check_group(group: &Table<'_, '_>, problems: &mut Vec<Problem>) {
    if group.has("home") && group.has("prefer") {
        let remedy = "remove `home`: the first node of `prefer` is the home";
        problems.push(group.problem("prefer", "cannot be combined with `home`", remedy));
    }
    if !group.has("tables") && !group.has("resource") {
        let remedy = "list its route tables, or what it moves as [[group.resource]]";
        problems.push(group.problem("tables", "is missing, and there are no resources", remedy));
    }
    if group.has("cidr") && !group.has("tables") {
        let what = "applies to `tables`, which is missing";
        problems.push(group.problem("cidr", what, "remove it"));
    }
}

/// What follows from the presence of keys.
fn completed(mut group: GroupSetting, table: &Table<'_, '_>) -> GroupSetting {
    if group.home.is_none() && !group.prefer.is_empty() {
        group.home = Some(group.prefer.remove(0));
    }
    if !table.has("local") {
        // Where natha follows, other software has put the address on the host already.
        let carries = group.has_addresses() && !group.follows();
        group.local = if carries { Local::Lo } else { Local::Off };
    }
    group
}

/// A group in the form of serde's enums: `{ kind = "vip", … }` becomes `{ vip = { … } }`, and the
/// probe of a check `{ tcp = 80, … }` becomes `{ probe = { tcp = 80 }, … }`. An internally tagged
/// enum would need no such change, but serde buffers it, and the lines of its keys are lost.
fn for_serde(mut group: Spanned<DeValue<'_>>) -> Spanned<DeValue<'_>> {
    let DeValue::Table(table) = group.get_mut() else { return group };
    if let Some(DeValue::Array(resources)) = table.get_mut("resource").map(Spanned::get_mut) {
        for resource in resources.iter_mut() {
            let span = resource.span();
            let DeValue::Table(keys) = resource.get_mut() else { continue };
            let Some(kind) = keys.remove("kind") else { continue };
            let at = kind.span();
            let DeValue::String(name) = kind.into_inner() else { continue };
            let keys = DeValue::Table(std::mem::take(keys));
            let tagged = (Spanned::new(at, name), Spanned::new(span.clone(), keys));
            *resource = Spanned::new(span, DeValue::Table([tagged].into_iter().collect()));
        }
    }
    if let Some((key, mut value)) = table.remove_entry("check") {
        let at = value.span();
        if let DeValue::Table(keys) = value.get_mut()
            && let Some(probe) = PROBES.into_iter().find_map(|name| keys.remove_entry(name))
        {
            let span = probe.0.span().start..probe.1.span().end;
            let probe = DeValue::Table([probe].into_iter().collect());
            keys.insert(Spanned::new(at, "probe".into()), Spanned::new(span, probe));
        }
        table.insert(key, value);
    }
    group
}

/// What serde says is wrong, at the key whose value it is.
fn located(error: &Error, file: &FileText<'_>, tables: &[Table<'_, '_>]) -> Problem {
    let at = error.span().map_or(0, |span| span.start);
    for table in tables {
        for (name, value) in table.items {
            let Some(key) = table.known.find(name.get_ref()) else { continue };
            if (name.span().start..value.span().end).contains(&at) {
                let (what, remedy) = key.range.explain(error.message());
                return table.problem(key.name, &what, &remedy);
            }
        }
    }
    let subject = format!("group ({})", file.origin(at));
    Problem::new(subject, error.message(), "see docs/config.md for the keys of groups")
}

#[cfg(test)]
mod tests;
