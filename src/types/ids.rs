//! Identifiers, validated once where they enter the program.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {wanted}", shown(text))]
pub struct IdError {
    text: String,
    wanted: &'static str,
}

/// Maximum length of an external text in messages, in characters.
const SHOWN: usize = 80;

/// Escapes an external text for display: control characters, which could command a terminal, and
/// bidirectional marks, which could reorder the text around it.
pub(crate) fn printable(text: &str) -> String {
    let escaped = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if escaped(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Like [`printable`], but shortened to [`SHOWN`] characters.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

/// Whether `text` is `prefix` and 8 or 17 lower-case hexadecimal digits: the two lengths that EC2
/// has used (8 until 2016, 17 since).
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
    /// An EC2 instance. Also identifies a node of the cluster.
    InstanceId,
    "an instance id such as i-0123456789abcdef0",
    |text| is_resource_id(text, "i-")
);
text_id!(
    /// An elastic network interface. Routes always point to an interface, never to an instance: EC2
    /// rejects an instance with several interfaces.
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
    /// A subnet of a VPC.
    SubnetId,
    "a subnet id such as subnet-0123456789abcdef0",
    |text| is_resource_id(text, "subnet-")
);
text_id!(
    /// A virtual private cloud.
    VpcId,
    "a VPC id such as vpc-0123456789abcdef0",
    |text| is_resource_id(text, "vpc-")
);
text_id!(
    /// A NAT gateway.
    NatGatewayId,
    "a NAT gateway id such as nat-0123456789abcdef0",
    |text| is_resource_id(text, "nat-")
);
text_id!(
    /// The allocation of an Elastic IP.
    AllocationId,
    "an allocation id such as eipalloc-0123456789abcdef0",
    |text| is_resource_id(text, "eipalloc-")
);
text_id!(
    /// A Route 53 hosted zone.
    HostedZoneId,
    "a hosted zone id such as Z0123456789ABCDEFGHIJ",
    |text| text.starts_with('Z')
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
);
text_id!(
    /// A DNS name in lower case, without a final dot (RFC 1035, section 2.3.1; `_` is allowed as in
    /// RFC 8552).
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
    /// The name of a group, whose resources move together.
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
    fn external_text_is_escaped_and_shortened() {
        assert_eq!(printable("nat's \"é\""), "nat's \"é\"");
        assert_eq!(printable("a\u{1b}[2J\n\u{202e}b"), "a\\u{1b}[2J\\u{a}\\u{202e}b");
        assert_eq!(shown(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert_eq!(shown(&"é".repeat(SHOWN + 1)), "é".repeat(SHOWN) + "…");
        let shown = InstanceId::try_from("i-\u{1b}".repeat(100_000)).unwrap_err().to_string();
        assert!(!shown.contains('\u{1b}') && shown.len() < 500, "{shown}");
    }

    #[test]
    fn both_lengths_of_instance_ids_are_accepted() {
        assert!("i-0123abcd".parse::<InstanceId>().is_ok());
        assert!("i-0123456789abcdef0".parse::<InstanceId>().is_ok());
    }

    #[test]
    fn the_error_names_the_invalid_id() {
        for text in ["", "i-", "i-xyz", "eni-0123abcd", "i-0123ABCD", "i-0123abcd0"] {
            let error = text.parse::<InstanceId>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}` is not an instance id")));
        }
    }
}
