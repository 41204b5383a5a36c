//! Texts of which a part may be known only where a template is used.

use super::Places;

/// A name: known, or what a template calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The name itself.
    Known(String),
    /// How a template refers to it: a parameter's name in CloudFormation (or `Resource.Attribute`),
    /// an expression such as `var.cluster` in Terraform.
    Ref(String),
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Text(String),
    /// The partition, the region, the account of whoever uses the template.
    Partition,
    /// See there.
    Region,
    /// See there.
    Account,
    /// What a template refers to.
    Ref(String),
}

/// A text in a policy: an ARN, or a value of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub(super) Vec<Part>);

impl From<&Name> for Part {
    fn from(name: &Name) -> Self {
        match name {
            Name::Known(text) => Self::Text(text.clone()),
            Name::Ref(name) => Self::Ref(name.clone()),
        }
    }
}

impl Text {
    /// A text that is known.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self(vec![Part::Text(text.into())])
    }

    /// A name and nothing else.
    pub(super) fn name(name: &Name) -> Self {
        Self(vec![name.into()])
    }

    /// `arn:PARTITION:SERVICE:REGION:ACCOUNT:KIND` and the name. Route 53 has neither regions nor
    /// accounts in its ARNs.
    pub(super) fn arn(places: &Places, service: &str, kind: &str, name: &Name) -> Self {
        let part = |known: &Option<String>, unknown: Part| {
            known.as_ref().map_or(unknown, |text| Part::Text(text.clone()))
        };
        let of_region = || places.region.as_deref().map(partition_of);
        let partition = places.partition.clone().or_else(of_region);
        let mut parts = vec![
            Part::Text("arn:".to_owned()),
            part(&partition, Part::Partition),
            Part::Text(format!(":{service}:")),
        ];
        if service == "route53" {
            parts.push(Part::Text("::".to_owned()));
        } else {
            parts.push(part(&places.region, Part::Region));
            parts.push(Part::Text(":".to_owned()));
            parts.push(part(&places.account, Part::Account));
            parts.push(Part::Text(":".to_owned()));
        }
        parts.extend([Part::Text(kind.to_owned()), name.into()]);
        Self(merged(parts))
    }

    /// The text with each part as `write` writes it.
    pub(super) fn written(&self, write: impl Fn(&Part) -> String) -> String {
        self.0.iter().map(write).collect()
    }

    /// The text, where all of it is known.
    pub(super) fn known(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// The partition of a region (AWS general reference, "ARN format", and the SDKs' endpoint data).
fn partition_of(region: &str) -> String {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let found = PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition).to_owned()
}

/// Neighbouring texts made one.
fn merged(parts: Vec<Part>) -> Vec<Part> {
    let mut merged: Vec<Part> = Vec::new();
    for part in parts {
        match (merged.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (_, part) => merged.push(part),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_tells_its_partition() {
        for (region, partition) in [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-northwest-1", "aws-cn"),
            ("us-gov-east-1", "aws-us-gov"),
            ("us-iso-west-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("us-isof-south-1", "aws-iso-f"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition_of(region), partition, "{region}");
        }
    }

    #[test]
    fn what_is_known_of_an_arn_is_one_text() {
        let name = Name::Known("rtb-1".to_owned());
        let place = |text: &str| Some(text.to_owned());
        let mut places =
            Places { region: place("cn-north-1"), account: place("1"), partition: None };
        let arn = |places: &Places| Text::arn(places, "ec2", "route-table/", &name);
        assert_eq!(arn(&places).known(), Some("arn:aws-cn:ec2:cn-north-1:1:route-table/rtb-1"));
        places.partition = place("aws-x");
        assert_eq!(arn(&places).known(), Some("arn:aws-x:ec2:cn-north-1:1:route-table/rtb-1"));
        places.account = None;
        assert_eq!(arn(&places).known(), None);
        let zone = Text::arn(&places, "route53", "hostedzone/", &Name::Known("Z1".to_owned()));
        assert_eq!(zone.known(), Some("arn:aws-x:route53:::hostedzone/Z1"));
    }
}
