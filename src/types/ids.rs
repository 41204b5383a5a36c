//! Identifiers, checked once where they enter the program.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {wanted}", shown(text))]
pub struct IdError {
    text: String,
    wanted: &'static str,
}

/// The longest text of somebody else's that is shown, in characters.
const SHOWN: usize = 80;

/// A text of somebody else's for people: without what would command a terminal, or turn around
/// what stands beside it.
pub(crate) fn printable(text: &str) -> String {
    let commands = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if commands(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same, and not too long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

/// Whether `text` is `prefix` and 8 or 17 lower-case hexadecimal digits, the two lengths EC2 has
/// given out (8 until 2016, 17 since).
fn is_resource_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        matches!(digits.len(), 8 | 17)
            && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    text.len() <= 253 && text.split('.').all(label)
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(IdError { text, wanted: $wanted }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An EC2 instance, and thereby a node of the cluster.
    InstanceId,
    "an instance id such as i-0123456789abcdef0",
    |text| is_resource_id(text, "i-")
);
text_id!(
    /// An elastic network interface. Routes are always addressed by it, never by instance: EC2
    /// refuses an instance that has several.
    NetworkInterfaceId,
    "a network interface id such as eni-0123456789abcdef0",
    |text| is_resource_id(text, "eni-")
);
text_id!(
    /// A VPC route table.
    RouteTableId,
    "a route table id such as rtb-0123456789abcdef0",
    |text| is_resource_id(text, "rtb-")
);
text_id!(
    /// A subnet.
    SubnetId,
    "a subnet id such as subnet-0123456789abcdef0",
    |text| is_resource_id(text, "subnet-")
);
text_id!(
    /// A VPC.
    VpcId,
    "a VPC id such as vpc-0123456789abcdef0",
    |text| is_resource_id(text, "vpc-")
);
text_id!(
    /// An Elastic IP's allocation.
    AllocationId,
    "an allocation id such as eipalloc-0123456789abcdef0",
    |text| is_resource_id(text, "eipalloc-")
);
text_id!(
    /// A hosted zone of Route 53.
    HostedZoneId,
    "a hosted zone id such as Z0123456789ABCDEFGHIJ",
    |text| text.starts_with('Z')
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
);
text_id!(
    /// A DNS name in lower case, without the dot at its end (RFC 1035, section 2.3.1; `_` is
    /// allowed as in RFC 8552).
    DnsName,
    "a DNS name in lower case such as db.example.com",
    is_dns_name
);
text_id!(
    /// An availability zone by name, such as `eu-west-1a`.
    Zone,
    "an availability zone such as eu-west-1a",
    |text| !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text_id!(
    /// A group of resources that move together.
    GroupName,
    "a group name: 1 to 64 of a-z A-Z 0-9 . _ -",
    |text| !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_shown_without_its_commands_and_in_short() {
        assert_eq!(printable("nat's \"é\""), "nat's \"é\"");
        assert_eq!(printable("a\u{1b}[2J\n\u{202e}b"), "a\\u{1b}[2J\\u{a}\\u{202e}b");
        assert_eq!(shown(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert_eq!(shown(&"é".repeat(SHOWN + 1)), "é".repeat(SHOWN) + "…");
        let told = InstanceId::try_from("i-\u{1b}".repeat(100_000)).unwrap_err().to_string();
        assert!(!told.contains('\u{1b}') && told.len() < 500, "{told}");
    }

    #[test]
    fn both_lengths_of_instance_ids_are_accepted() {
        assert!("i-0123abcd".parse::<InstanceId>().is_ok());
        assert!("i-0123456789abcdef0".parse::<InstanceId>().is_ok());
    }

    #[test]
    fn what_is_not_an_id_is_named_in_the_error() {
        for text in ["", "i-", "i-xyz", "eni-0123abcd", "i-0123ABCD", "i-0123abcd0"] {
            let error = text.parse::<InstanceId>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}` is not an instance id")));
        }
    }
}
