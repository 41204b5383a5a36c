//! Texts with parts that are known only when a template is deployed.

use super::ArnScope;

/// A name, or a template's reference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrRef {
    /// The name itself.
    Known(String),
    /// A reference: a parameter's name in CloudFormation (or `Resource.Attribute`),
    /// an expression such as `var.cluster` in Terraform.
    Ref(String),
}

/// Part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// The partition that the template is deployed in.
    Partition,
    /// The region that the template is deployed in.
    Region,
    /// The account that the template is deployed in.
    Account,
    /// A template reference.
    Ref(String),
}

/// A text in a policy: an ARN, or a value of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub(super) Vec<Part>);

impl From<&NameOrRef> for Part {
    fn from(name: &NameOrRef) -> Self {
        match name {
            NameOrRef::Known(text) => Self::Text(text.clone()),
            NameOrRef::Ref(name) => Self::Ref(name.clone()),
        }
    }
}

impl Text {
    /// A literal text.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self(vec![Part::Text(text.into())])
    }

    /// A text of only this name.
    pub(super) fn name(name: &NameOrRef) -> Self {
        Self(vec![name.into()])
    }

    /// `arn:PARTITION:SERVICE:REGION:ACCOUNT:KIND` followed by the name. Route 53's ARNs have no
    /// region and no account.
    pub(super) fn arn(scope: &ArnScope, service: &str, kind: &str, name: &NameOrRef) -> Self {
        let part = |known: &Option<String>, unknown: Part| {
            known.as_ref().map_or(unknown, |text| Part::Text(text.clone()))
        };
        let of_region = || scope.region.as_deref().map(partition_of);
        let partition = scope.partition.clone().or_else(of_region);
        let mut parts = vec![
            Part::Text("arn:".to_owned()),
            part(&partition, Part::Partition),
            Part::Text(format!(":{service}:")),
        ];
        if service == "route53" {
            parts.push(Part::Text("::".to_owned()));
        } else {
            parts.push(part(&scope.region, Part::Region));
            parts.push(Part::Text(":".to_owned()));
            parts.push(part(&scope.account, Part::Account));
            parts.push(Part::Text(":".to_owned()));
        }
        parts.extend([Part::Text(kind.to_owned()), name.into()]);
        Self(merged(parts))
    }

    /// The text with each part rendered by `write`.
    pub(super) fn written(&self, write: impl Fn(&Part) -> String) -> String {
        self.0.iter().map(write).collect()
    }

    /// The text, if it is entirely literal.
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

/// Joins adjacent literal parts.
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
    fn a_region_determines_its_partition() {
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
    fn the_known_parts_of_an_arn_are_one_text() {
        let name = NameOrRef::Known("rtb-1".to_owned());
        let place = |text: &str| Some(text.to_owned());
        let mut scope =
            ArnScope { region: place("cn-north-1"), account: place("1"), partition: None };
        let arn = |scope: &ArnScope| Text::arn(scope, "ec2", "route-table/", &name);
        assert_eq!(arn(&scope).known(), Some("arn:aws-cn:ec2:cn-north-1:1:route-table/rtb-1"));
        scope.partition = place("aws-x");
        assert_eq!(arn(&scope).known(), Some("arn:aws-x:ec2:cn-north-1:1:route-table/rtb-1"));
        scope.account = None;
        assert_eq!(arn(&scope).known(), None);
        let zone = Text::arn(&scope, "route53", "hostedzone/", &NameOrRef::Known("Z1".to_owned()));
        assert_eq!(zone.known(), Some("arn:aws-x:route53:::hostedzone/Z1"));
    }
}
