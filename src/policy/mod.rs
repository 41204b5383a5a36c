//! What the nodes' role must be allowed, and nothing besides. Pure: settings in, statements out,
//! and from these a text in one of three languages.
//!
//! Every operation that `cloud` sends is granted here under the settings that make natha send it,
//! and nowhere else; `tests/policy.rs` compares the two.

mod cloudformation;
mod json;
mod scope;
mod statements;
mod terraform;
mod text;

pub use statements::policy;
pub use text::{Name, Text};

/// What the settings do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The cluster, in place of the one of the settings.
    pub cluster: Option<Name>,
    /// The VPC that route tables and network interfaces must be in.
    pub vpc: Option<Name>,
    /// Route tables, in place of those with the cluster's tag.
    pub tables: Vec<Name>,
    /// The SSM parameter that holds the cluster's key, with the slash that it begins with.
    pub key: Option<Name>,
    /// Whether only `natha setup` and `natha teardown` are to work.
    pub setup_only: bool,
    /// Where everything is.
    pub places: Places,
}

/// What is the same in every ARN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The partition, such as `aws-cn`; none: the region's; where that is not known either, `aws`
    /// in JSON, else where the template is used.
    pub partition: Option<String>,
    /// The region; none: any in JSON, else where the template is used.
    pub region: Option<String>,
    /// The account; none: any in JSON, else where the template is used.
    pub account: Option<String>,
}

/// A policy: all that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What is allowed, each for a reason of its own.
    pub statements: Vec<Statement>,
}

/// Some actions on some resources under some conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its name: letters and digits, unique in the policy.
    pub sid: String,
    /// The actions, such as `ec2:ReplaceRoute`.
    pub actions: Vec<&'static str>,
    /// The ARNs that they are allowed on.
    pub resources: Vec<Text>,
    /// What must hold as well, all of it.
    pub conditions: Vec<Condition>,
}

/// A condition: the key has one of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// How they are compared.
    pub operator: &'static str,
    /// The condition key.
    pub key: &'static str,
    /// The values.
    pub values: Vec<Text>,
}

/// A language that policies are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A policy document, for the console, the AWS CLI and the API
    #[default]
    Json,
    /// YAML with `PolicyDocument`, for a template of CloudFormation
    #[value(name = "cloudformation")]
    CloudFormation,
    /// A data source `aws_iam_policy_document.natha` and what it needs, for Terraform
    Terraform,
}

impl Format {
    /// Whether a template in this language can refer to something by this text: a parameter's name
    /// or a resource's attribute in CloudFormation, a chain of names and indexes in Terraform.
    #[must_use]
    pub fn takes_ref(self, text: &str) -> bool {
        let name = |part: &str, more: &[u8]| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(plain)
        };
        match self {
            Self::Json => false,
            // What could name an attribute is meant for Terraform all the same, if it begins so.
            Self::CloudFormation => {
                !["var.", "local.", "module.", "data."].iter().any(|of| text.starts_with(of))
                    && text.split('.').all(|part| name(part, b""))
            }
            Self::Terraform => {
                text.contains('.') && text.split('.').all(|part| name(part, b"_-[]"))
            }
        }
    }
}

impl Policy {
    /// The policy in a language, ending with a line break.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Json => json::render(self),
            Format::CloudFormation => cloudformation::render(self),
            Format::Terraform => terraform::render(self),
        }
    }

    /// Every action that is allowed somewhere, in order and once.
    #[must_use]
    pub fn actions(&self) -> Vec<&'static str> {
        let mut all: Vec<&str> =
            self.statements.iter().flat_map(|one| one.actions.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_one_of_its_language() {
        let (cloudformation, terraform) = (Format::CloudFormation, Format::Terraform);
        for (format, text, is) in [
            (cloudformation, "Cluster", true),
            (cloudformation, "Network.Outputs.VpcId", true),
            (cloudformation, "AWS::Region", false),
            (cloudformation, "Cluster Name", false),
            (cloudformation, "Cluster.", false),
            (cloudformation, "9a", false),
            (cloudformation, "var.cluster", false),
            (cloudformation, "Variable.cluster", true),
            (terraform, "var.cluster", true),
            (terraform, "aws_vpc.main[0].id", true),
            (terraform, "cluster", false),
            (terraform, "var.a b", false),
            (terraform, "var.a}\"", false),
            (Format::Json, "Cluster", false),
        ] {
            assert_eq!(format.takes_ref(text), is, "{format:?}: {text}");
        }
    }
}
