//! The text form of settings.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::types::{
    AllocationId, DnsName, GroupName, HostedZoneId, IdError, InstanceId, NatGatewayId, RouteTableId,
};

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Range {
    /// A duration from the first to the second, both in milliseconds.
    Millis(u64, u64),
    /// A whole number from the first to the second.
    Number(u32, u32),
    /// Anything of its type, in words.
    Words(&'static str),
}

impl Range {
    /// The range in words.
    pub(super) fn text(self) -> String {
        match self {
            Self::Millis(min, max) => format!("{} to {}", millis(min), millis(max)),
            Self::Number(min, max) => format!("{min} to {max}"),
            Self::Words(words) => words.to_owned(),
        }
    }

    /// What is wrong with a text that [`Value::read`] refuses, and what to write instead.
    pub(super) fn explain(self, fault: &str) -> (String, String) {
        match fault.split_once('\n') {
            Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
            None => (fault.to_owned(), format!("it may be: {}", self.text())),
        }
    }
}

fn millis(ms: u64) -> String {
    Duration::from_millis(ms).show()
}

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Reads it. The error says what is wrong with the text and, on a second line, what to write
    /// instead. It leaves that out where the range says it: see [`Range::explain`].
    fn read(text: &str, range: Range) -> Result<Self, String>;

    /// Writes it as it would be read; empty where it is not set.
    fn show(&self) -> String;
}

impl Value for Duration {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        let value = humantime::parse_duration(text).map_err(|_| no_duration(text, range))?;
        match range {
            Range::Millis(min, _) if value < Self::from_millis(min) => Err("is too short".into()),
            Range::Millis(_, max) if value > Self::from_millis(max) => Err("is too long".into()),
            _ => Ok(value),
        }
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

/// Why a text is no duration. For a number, it proposes the first unit that fits the range.
fn no_duration(text: &str, range: Range) -> String {
    if text.parse::<u64>().is_err() {
        return "is not a duration\nwrite one such as 100ms, 5s or 2h 4m".to_owned();
    }
    let with_unit = ["ms", "s", "m", "h"].map(|unit| format!("{text}{unit}"));
    match with_unit.iter().find(|text| Duration::read(text, range).is_ok()) {
        Some(fits) => format!("has no unit\nwrite {fits}, for example"),
        None => "has no unit".to_owned(),
    }
}

impl Value for u32 {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        let value = text.parse().map_err(|_| "is not a whole number".to_owned())?;
        match range {
            Range::Number(min, _) if value < min => Err("is too small".into()),
            Range::Number(_, max) if value > max => Err("is too large".into()),
            _ => Ok(value),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u16 {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        let value = u32::read(text, range)?;
        Self::try_from(value).map_err(|_| "is too large".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u8 {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        let value = u32::read(text, range)?;
        Self::try_from(value).map_err(|_| "is too large".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is not a boolean\nwrite true or false".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty\nwrite a value, or remove the setting".to_owned());
        }
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        let path = Self::from(text);
        if path.is_absolute() {
            return Ok(path);
        }
        Err("is not an absolute path\nwrite one that begins with /".to_owned())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Ipv4Addr {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("`{text}` is not an IPv4 address\nwrite one such as 10.0.0.10"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Ipv4Net {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        let net: Self = text.parse().map_err(|_| {
            format!("`{text}` is not an IPv4 network\nwrite one such as 10.0.0.0/16")
        })?;
        if net.trunc() == net {
            Ok(net)
        } else {
            Err(format!("`{text}` has host bits set\nwrite {}", net.trunc()))
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Why a text is no id, in the form of [`Value::read`].
fn no_id(error: &IdError) -> String {
    let text = error.to_string();
    // What is quoted may be anything, so it is cut off first.
    let Some((quoted, wanted)) = text.rsplit_once("` is not ") else { return text };
    let such = wanted.split_once(" such as ").map(|(kind, form)| (kind, "one such as ", form));
    match such.or_else(|| wanted.split_once(": ").map(|(kind, form)| (kind, "", form))) {
        Some((kind, such, form)) => format!("{quoted}` is not {kind}\nwrite {such}{form}"),
        None => text,
    }
}

macro_rules! value_of_id {
    ($($name:ident),+) => {$(
        impl Value for $name {
            fn read(text: &str, _: Range) -> Result<Self, String> {
                text.parse().map_err(|error| no_id(&error))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

value_of_id!(AllocationId, GroupName, InstanceId, NatGatewayId, RouteTableId);

impl Value for HostedZoneId {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        // As the API and the console write it.
        let id = text.strip_prefix("/hostedzone/").unwrap_or(text);
        id.parse().map_err(|error| no_id(&error))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for DnsName {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        name.parse().map_err(|error| no_id(&error))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        T::read(text, range).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(Value::show).unwrap_or_default()
    }
}

impl<T: Value + PartialEq> Value for Vec<T> {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        let mut values = Self::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let value = T::read(part, range)?;
            if values.contains(&value) {
                return Err(format!("lists `{part}` twice"));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn show(&self) -> String {
        self.iter().map(Value::show).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_unit_is_no_duration() {
        let read = |text, range| Duration::read(text, range).unwrap_err();
        let error = read("90", Range::Millis(20, 10_000));
        assert_eq!(error, "has no unit\nwrite 90ms, for example");
        assert_eq!(
            read("90", Range::Millis(60_000, 600_000)),
            "has no unit\nwrite 90s, for example"
        );
        assert_eq!(read("90", Range::Millis(1, 10)), "has no unit");
        assert!(read("soon", Range::Millis(1, 10)).contains("write one such as 100ms"));
    }

    #[test]
    fn a_refusal_says_once_what_to_write() {
        let range = Range::Words("a thing");
        let split = |what: &str, remedy: &str| (what.to_owned(), remedy.to_owned());
        assert_eq!(
            range.explain("is not a thing\nwrite one"),
            split("is not a thing", "write one")
        );
        assert_eq!(range.explain("is too old"), split("is too old", "it may be: a thing"));
        let id = InstanceId::read("x", range).unwrap_err();
        assert_eq!(id, "`x` is not an instance id\nwrite one such as i-0123456789abcdef0");
        let name = GroupName::read("a such as b; c", range).unwrap_err();
        let (what, remedy) = range.explain(&name);
        assert_eq!(what, "`a such as b; c` is not a group name");
        assert_eq!(remedy, "write 1 to 64 of a-z A-Z 0-9 . _ -");
    }

    #[test]
    fn ranges_include_their_ends() {
        let range = Range::Millis(20, 10_000);
        assert!(Duration::read("20ms", range).is_ok());
        assert!(Duration::read("10s", range).is_ok());
        assert!(Duration::read("19ms", range).is_err());
        assert!(Duration::read("10s 1ms", range).is_err());
    }

    #[test]
    fn lists_name_what_they_hold_twice() {
        let error = Vec::<Ipv4Net>::read("10.0.0.0/8, 10.0.0.0/8", Range::Words("")).unwrap_err();
        assert!(error.contains("`10.0.0.0/8` twice"), "{error}");
    }
}
