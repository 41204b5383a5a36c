//! The minimal IAM policy for the nodes' role. Pure: settings in, statements out, rendered as text
//! in one of three languages.
//!
//! Each operation that `cloud` sends is granted exactly under the settings that make natha send it.
//! `tests/policy.rs` compares the two.

mod cloudformation;
mod json;
mod regions;
mod scope;
mod statements;
mod terraform;
mod text;

pub use regions::unknown_region;
pub use statements::policy;
pub use text::{NameOrRef, Text};

use crate::types::{AllocationId, RouteTableId};

/// Input to the policy that is not in the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyOptions {
    /// Overrides the cluster of the settings.
    pub cluster: Option<NameOrRef>,
    /// Limits route tables and network interfaces to this VPC.
    pub vpc: Option<NameOrRef>,
    /// Route tables to allow instead of those with the cluster's tag.
    pub tables: Vec<NameOrRef>,
    /// The SSM parameter with the cluster key, including the leading slash.
    pub key: Option<NameOrRef>,
    /// The SNS topic for notices, instead of that of the settings.
    pub topic: Option<NameOrRef>,
    /// Allow only what `natha setup` and `natha teardown` need.
    pub setup_only: bool,
    /// Also allow what only `natha doctor` reads.
    pub doctor: bool,
    /// Also allow what only `natha measure` does with a route of its own in this table.
    pub measure_table: Option<RouteTableId>,
    /// Also allow what only `natha measure` does with this Elastic IP.
    pub measure_elastic_ip: Option<AllocationId>,
    /// Partition, region and account of all ARNs.
    pub arns: ArnScope,
}

/// The parts that all ARNs share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArnScope {
    /// The partition, such as `aws-cn`. `None`: the region's; if that is unknown too, `aws` in JSON
    /// and the partition of the deployment in templates.
    pub partition: Option<String>,
    /// The region. `None`: any in JSON, the region of the deployment in templates.
    pub region: Option<String>,
    /// The account. `None`: any in JSON, the account of the deployment in templates.
    pub account: Option<String>,
}

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// All with the effect `Allow`.
    pub statements: Vec<Statement>,
}

/// Allows some actions on some resources, under conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Statement id: letters and digits, unique in the policy.
    pub sid: String,
    /// Actions such as `ec2:ReplaceRoute`.
    pub actions: Vec<&'static str>,
    /// ARNs of the resources.
    pub resources: Vec<Text>,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
}

/// A condition: the key must have one of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// IAM condition operator, such as `StringEquals`.
    pub operator: &'static str,
    /// IAM condition key, such as `ec2:Vpc`.
    pub key: &'static str,
    /// Accepted values; any one of them is enough.
    pub values: Vec<Text>,
}

/// Output language of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum PolicyFormat {
    /// A policy document for the console, the AWS CLI and the API
    #[default]
    Json,
    /// YAML with `PolicyDocument`, for a CloudFormation template
    #[value(name = "cloudformation")]
    CloudFormation,
    /// The data source `aws_iam_policy_document.natha` and those it needs, for Terraform
    Terraform,
}

impl PolicyFormat {
    /// Whether this text is a reference in this language: a parameter's name or a resource's
    /// attribute in CloudFormation, a chain of names and indexes in Terraform.
    #[must_use]
    pub fn takes_ref(self, text: &str) -> bool {
        let name = |part: &str, more: &[u8]| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(plain)
        };
        match self {
            Self::Json => false,
            // These could name an attribute, but are almost certainly meant for Terraform.
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
    /// The policy as text, ending with a line break.
    #[must_use]
    pub fn render(&self, format: PolicyFormat) -> String {
        match format {
            PolicyFormat::Json => json::render(self),
            PolicyFormat::CloudFormation => cloudformation::render(self),
            PolicyFormat::Terraform => terraform::render(self),
        }
    }

    /// Every action that some statement allows, sorted and without duplicates.
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
        let (cloudformation, terraform) = (PolicyFormat::CloudFormation, PolicyFormat::Terraform);
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
            (PolicyFormat::Json, "Cluster", false),
        ] {
            assert_eq!(format.takes_ref(text), is, "{format:?}: {text}");
        }
    }
}
