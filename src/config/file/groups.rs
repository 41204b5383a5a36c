//! The groups of the settings file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::fields::{Fields, Noted};
use super::{File, text_of};
use crate::config::group::{Check, GroupSetting, Home, Local, ResourceSetting, ServiceProbe};
use crate::config::group_keys::{CHECK, GROUP, KINDS, KeySet, PROBES};
use crate::config::layers::{Layer, Placed};
use crate::config::problem::{Problem, nearest};

/// Takes in one `[[group]]`.
pub(super) fn read(file: &File<'_>, value: &Spanned<DeValue<'_>>, layer: &mut Layer) {
    let mut problems = Vec::new();
    let fields = fields(file, "group", &GROUP, value, &mut problems);
    if let Some(mut fields) = fields {
        let origin = fields.origin.clone();
        if let Ok(setting) = group(&mut fields) {
            layer.groups.push(Placed { setting, origin });
        }
    }
    layer.problems.append(&mut problems);
}

/// The keys of a table; none where it is no table, which is noted.
fn fields<'a, 'i>(
    file: &'a File<'a>,
    name: &str,
    known: &'static KeySet,
    value: &'a Spanned<DeValue<'i>>,
    problems: &'a mut Vec<Problem>,
) -> Option<Fields<'a, 'i>> {
    let origin = file.origin(value.span().start);
    let prefix = match name {
        "group" => "group.",
        "group.check" => "group.check.",
        _ => "group.resource.",
    };
    let Some(table) = value.get_ref().as_table() else {
        let subject = format!("{name} ({origin})");
        let remedy = format!("write {} and its keys", known.table);
        problems.push(Problem::new(subject, "is not a table", remedy));
        return None;
    };
    Some(Fields { file, prefix, known, table, origin, problems })
}

fn group(fields: &mut Fields<'_, '_>) -> Result<GroupSetting, Noted> {
    fields.note_unknown(&["resource", "check"]);
    let name = fields.required("name");
    let preferred = preferred(fields);
    let tables = fields.list("tables");
    let cidr = fields.or_default("cidr");
    let hand_back = fields.optional("hand_back");
    let hold = fields.optional("hold");
    let local = fields.optional("local");
    let resources = resources(fields);
    let check = check(fields);
    if !fields.has("tables") && !fields.has("resource") {
        let remedy = "list its route tables, or write what it moves as [[group.resource]]";
        return Err(fields.note("tables", "is missing, and there is no resource either", remedy));
    }
    if fields.has("cidr") && !fields.has("tables") {
        fields.note("cidr", "is about `tables`, and there are none", "remove it");
    }
    let (home, prefer) = preferred?;
    let mut setting = GroupSetting {
        home,
        prefer,
        resources: resources?,
        check: check?,
        hand_back: hand_back?,
        hold: hold?,
        ..GroupSetting::of_tables(name?, None, tables?, cidr?)
    };
    setting.local = local?.unwrap_or(default_local(&setting));
    Ok(setting)
}

/// What holds where `local` is not set.
fn default_local(group: &GroupSetting) -> Local {
    // Where somebody else decides who holds the address, it is there already.
    if group.has_addresses() && !group.follows() { Local::Lo } else { Local::Off }
}

/// The home, and who is preferred after it.
fn preferred(fields: &mut Fields<'_, '_>) -> Result<(Option<Home>, Vec<Home>), Noted> {
    let home = fields.optional("home");
    let prefer = fields.list::<Home>("prefer");
    if fields.has("home") && fields.has("prefer") {
        let remedy = "leave `home` out: the first one of `prefer` is the home";
        return Err(fields.note("prefer", "is given beside `home`", remedy));
    }
    let mut prefer = prefer?.into_iter();
    match home? {
        Some(home) => Ok((Some(home), Vec::new())),
        None => Ok((prefer.next(), prefer.collect())),
    }
}

fn resources(fields: &mut Fields<'_, '_>) -> Result<Vec<ResourceSetting>, Noted> {
    let Some((value, _)) = fields.value("resource") else { return Ok(Vec::new()) };
    let DeValue::Array(values) = value else {
        let remedy = "write [[group.resource]] and its keys";
        return Err(fields.note("resource", "is not a list of tables", remedy));
    };
    let mut found = Ok(Vec::new());
    for value in values {
        match (resource(fields.file, value, fields.problems), &mut found) {
            (Ok(resource), Ok(all)) => all.push(resource),
            (Ok(_), Err(_)) => {}
            (Err(noted), _) => found = Err(noted),
        }
    }
    found
}

fn resource(
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Vec<Problem>,
) -> Result<ResourceSetting, Noted> {
    let Some(known) = kind(file, value, problems)? else { return Err(Noted) };
    let mut fields = fields(file, "group.resource", known, value, problems).ok_or(Noted)?;
    fields.note_unknown(&[]);
    let fields = &mut fields;
    match known.keys[0].range.text().as_str() {
        "vip" => {
            let (address, tables) = (fields.required("address"), fields.list("tables"));
            if let Ok([]) = tables.as_deref()
                && fields.has("tables")
            {
                let remedy = "leave it out for every table that has the route, or list some";
                return Err(fields.note("tables", "is empty", remedy));
            }
            Ok(ResourceSetting::Vip { address: address?, tables: tables? })
        }
        "private-ip" => Ok(ResourceSetting::PrivateIp { address: fields.required("address")? }),
        "eip" => {
            let (allocation, on) = (fields.required("allocation"), fields.optional("on"));
            Ok(ResourceSetting::Eip { allocation: allocation?, on: on? })
        }
        _ => {
            let (zone, name) = (fields.required("zone"), fields.required("name"));
            let (ttl, public) = (fields.or_default("ttl"), fields.or_default("public"));
            Ok(ResourceSetting::Dns { zone: zone?, name: name?, ttl: ttl?, public: public? })
        }
    }
}

/// The keys that a resource has by its kind.
fn kind(
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Vec<Problem>,
) -> Result<Option<&'static KeySet>, Noted> {
    let (_, any) = KINDS[0];
    let mut fields = fields(file, "group.resource", any, value, problems).ok_or(Noted)?;
    let names = KINDS.map(|(name, _)| name);
    let remedy = format!("it may be: {}", names.join(", "));
    let Some((value, _)) = fields.value("kind") else {
        return Err(fields.note("kind", "is missing", &remedy));
    };
    let text = text_of(value).unwrap_or_default();
    if let Some((_, known)) = KINDS.iter().find(|(name, _)| *name == text) {
        return Ok(Some(known));
    }
    let remedy = match nearest(&text, names, 0.8) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => remedy,
    };
    Err(fields.note("kind", "there is no such kind", &remedy))
}

fn check(fields: &mut Fields<'_, '_>) -> Result<Option<Check>, Noted> {
    let item = fields.table.iter().find(|(key, _)| key.get_ref() == "check");
    let Some((_, value)) = item else { return Ok(None) };
    let fields = self::fields(fields.file, "group.check", &CHECK, value, fields.problems);
    let mut fields = fields.ok_or(Noted)?;
    let fields = &mut fields;
    fields.note_unknown(&[]);
    let probe = probe(fields);
    let (interval, timeout) = (fields.or_default("interval"), fields.or_default("timeout"));
    let (fall, rise) = (fields.or_default("fall"), fields.or_default("rise"));
    let (probe, interval, timeout) = (probe?, interval?, timeout?);
    Ok(Some(Check { probe, interval, timeout, fall: fall?, rise: rise? }))
}

fn probe(fields: &mut Fields<'_, '_>) -> Result<ServiceProbe, Noted> {
    let given: Vec<&str> = PROBES.into_iter().filter(|name| fields.has(name)).collect();
    let [name] = given[..] else {
        let what = match given.len() {
            0 => "it is not said what is asked".to_owned(),
            _ => format!("{} are given", given.join(" and ")),
        };
        let subject = format!("group.check ({})", fields.origin);
        let remedy = format!("give exactly one of {}", PROBES.join(", "));
        fields.problems.push(Problem::new(subject, what, remedy));
        return Err(Noted);
    };
    let texts = fields.texts(name)?;
    let probe = match (name, texts.as_slice()) {
        ("tcp", [text]) => tcp(text),
        ("http", [text]) => http(text),
        ("exec", texts) => exec(texts),
        ("address", [text]) if text == "true" => Ok(ServiceProbe::Address),
        _ => Err("has no such value".to_owned()),
    };
    probe.map_err(|what| {
        let range = CHECK.find(name).map(|key| key.range.text()).unwrap_or_default();
        fields.note(name, &what, &format!("it may be: {range}"))
    })
}

/// A port of this host, or an address and a port.
fn tcp(text: &str) -> Result<ServiceProbe, String> {
    let port = text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = port.or_else(|_| text.parse::<SocketAddr>());
    match address {
        Ok(address) if address.port() > 0 => Ok(ServiceProbe::Tcp(address)),
        _ => Err(format!("`{text}` is neither a port nor an address and a port")),
    }
}

/// A URL whose host is an address. No name is resolved: a resolver that is down would look like a
/// service that is down.
fn http(text: &str) -> Result<ServiceProbe, String> {
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(format!(
            "`{text}` does not begin with http:// (for https, let `exec` run a program such as \
             curl)"
        ));
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let host = host
        .strip_prefix("localhost")
        .map_or_else(|| host.to_owned(), |port| format!("{}{port}", Ipv4Addr::LOCALHOST));
    let address = host
        .parse::<SocketAddr>()
        .ok()
        .or_else(|| Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, 80)))
        .filter(|address| address.port() > 0)
        .ok_or_else(|| format!("`{text}` has no address and port behind http://"))?;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{text}` has spaces or letters that a path cannot have"));
    }
    Ok(ServiceProbe::Http(address, path.to_owned()))
}

/// A program and its arguments.
fn exec(texts: &[String]) -> Result<ServiceProbe, String> {
    let [program, arguments @ ..] = texts else { return Err("is empty".to_owned()) };
    if !Path::new(program).is_absolute() {
        return Err(format!("`{program}` is not an absolute path"));
    }
    Ok(ServiceProbe::Exec(PathBuf::from(program), arguments.to_vec()))
}

#[cfg(test)]
mod tests;
