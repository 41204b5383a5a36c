//! `natha policy`: prints the IAM policy for the settings. Makes no network calls.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::error::ErrorKind as Usage;

use super::print;
use crate::config::{Flags, PairFlags, load_with_pair};
use crate::policy::{ArnScope, NameOrRef, PolicyFormat, PolicyOptions, policy, unknown_region};
use crate::types::{AllocationId, RouteTableId, VpcId};

/// The file with the name of the SSM parameter that holds the cluster key, and the environment
/// variable that overrides its path. The image's `fetch-key` uses the same two.
const KEY_FILE: &str = "/etc/natha/key.ssm";
const KEY_FILE_ENV: &str = "NATHA_KEY_SSM";

const AFTER_HELP: &str = "\
Examples:
  natha policy --cluster blue      for NATs whose members and tables are tagged
  natha policy --cluster blue --region eu-west-1 --account 123456789012
  natha policy --config web.toml --vpc vpc-0123456789abcdef0
  natha policy --format cloudformation --cluster-ref Cluster
  natha policy --format terraform --cluster-ref var.cluster --vpc-ref var.vpc_id > policy.tf

This reads neither AWS nor the instance metadata, so settings in tags are not included. The policy
names instances and tables that are listed by id, and allows those found by the tag natha:cluster on
condition of that tag. With --peer, the policy covers only what this node does: the other node needs
one of its own.";

/// Flags of `natha policy`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Output language
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: PolicyFormat,

    /// The partition, such as aws-cn [default: the region's, else aws or the template's own]
    #[arg(long, value_name = "PARTITION", value_parser = partition)]
    pub(crate) partition: Option<String>,

    /// The account, 12 digits [default: any, or the template's own]
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub(crate) account: Option<String>,

    /// Limit the policy to this VPC wherever IAM has a condition for it
    #[arg(long, value_name = "VPC")]
    pub(crate) vpc: Option<VpcId>,

    /// The SSM parameter with the cluster key [default: the one named in /etc/natha/key.ssm]
    #[arg(long, value_name = "NAME", value_parser = parameter)]
    pub(crate) key_parameter: Option<String>,

    /// Allow only what `natha setup` and `natha teardown` need
    #[arg(long)]
    pub(crate) setup_only: bool,

    /// Also allow what only `natha doctor` reads: security groups, NAT gateways, network interfaces
    #[arg(long)]
    pub(crate) doctor: bool,

    /// Also allow what `natha measure --table TABLE` does
    #[arg(long, value_name = "TABLE")]
    pub(crate) measure_table: Option<RouteTableId>,

    /// Also allow what `natha measure --elastic-ip ALLOCATION` does
    #[arg(long, value_name = "ALLOCATION")]
    pub(crate) measure_elastic_ip: Option<AllocationId>,

    /// A template reference to the cluster's name: Cluster, or var.cluster
    #[arg(long, value_name = "REFERENCE", conflicts_with = "cluster")]
    pub(crate) cluster_ref: Option<String>,

    /// A template reference to the VPC
    #[arg(long, value_name = "REFERENCE", conflicts_with = "vpc")]
    pub(crate) vpc_ref: Option<String>,

    /// A template reference to a route table, instead of the tagged ones; may be repeated
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) table_ref: Vec<String>,

    /// A template reference to the SSM parameter with the cluster key
    #[arg(long, value_name = "REFERENCE", conflicts_with = "key_parameter")]
    pub(crate) key_parameter_ref: Option<String>,

    /// A template reference to the SNS topic for notices [default: `notify.sns_topic`]
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) sns_topic_ref: Option<String>,

    /// A two-node cluster without tags.
    #[command(flatten)]
    pub(crate) pair: PairFlags,
}

fn partition(text: &str) -> Result<String, String> {
    let wanted = text == "aws" || text.starts_with("aws-");
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if wanted && plain {
        Ok(text.to_owned())
    } else {
        Err("use a partition such as aws-cn".to_owned())
    }
}

fn account(text: &str) -> Result<String, String> {
    let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { Ok(text.to_owned()) } else { Err("an account id has 12 digits".to_owned()) }
}

/// Accepts the same parameter names as the image's `fetch-key`.
fn parameter(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('/').unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./-".contains(&b);
    if !inner.is_empty() && inner.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("use a parameter name such as /natha/blue/key".to_owned())
    }
}

/// Prints the policy.
///
/// # Errors
/// If the settings are invalid, or do not identify the resources to limit the policy to. Nothing is
/// printed then.
pub(crate) fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    if let Err(problem) = check_refs(args) {
        problem.exit();
    }
    let settings = load_with_pair(flags, &args.pair, None)?.settings;
    let key = key(args)?;
    let known = |text: &VpcId| NameOrRef::Known(text.to_string());
    let reference = |text: &Option<String>| text.clone().map(NameOrRef::Ref);
    let options = PolicyOptions {
        cluster: reference(&args.cluster_ref),
        vpc: reference(&args.vpc_ref).or_else(|| args.vpc.as_ref().map(known)),
        tables: args.table_ref.iter().cloned().map(NameOrRef::Ref).collect(),
        key,
        topic: reference(&args.sns_topic_ref),
        setup_only: args.setup_only,
        doctor: args.doctor,
        measure_table: args.measure_table.clone(),
        measure_elastic_ip: args.measure_elastic_ip.clone(),
        arns: ArnScope {
            partition: args.partition.clone(),
            region: settings.api.region.clone(),
            account: args.account.clone(),
        },
    };
    print(&policy(&settings, &options)?.render(args.format))?;
    if let Some(warning) = settings.api.region.as_deref().and_then(unknown_region) {
        tracing::warn!("{warning}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Rejects references that the output language does not support, as wrong usage.
fn check_refs(args: &Args) -> Result<(), clap::Error> {
    let single = [
        ("--cluster-ref", &args.cluster_ref),
        ("--vpc-ref", &args.vpc_ref),
        ("--key-parameter-ref", &args.key_parameter_ref),
        ("--sns-topic-ref", &args.sns_topic_ref),
    ];
    let single = single.into_iter().filter_map(|(flag, text)| Some((flag, text.as_ref()?)));
    let tables = args.table_ref.iter().map(|text| ("--table-ref", text));
    for (flag, text) in single.chain(tables) {
        let wanted = match args.format {
            PolicyFormat::Json => {
                let text = format!("{flag} needs --format cloudformation or --format terraform");
                return Err(clap::Error::raw(Usage::ArgumentConflict, text + "\n"));
            }
            PolicyFormat::CloudFormation => "a parameter such as Cluster, or Resource.Attribute",
            PolicyFormat::Terraform => "an expression such as var.cluster or aws_vpc.main[0].id",
        };
        if !args.format.takes_ref(text) {
            let text = format!("{flag}: `{text}` is not a reference: use {wanted}\n");
            return Err(clap::Error::raw(Usage::ValueValidation, text));
        }
    }
    Ok(())
}

/// The SSM parameter with the cluster key: from the flags, else from the file on this host.
fn key(args: &Args) -> anyhow::Result<Option<NameOrRef>> {
    if let Some(reference) = &args.key_parameter_ref {
        return Ok(Some(NameOrRef::Ref(reference.clone())));
    }
    if let Some(name) = &args.key_parameter {
        return Ok(Some(NameOrRef::Known(name.clone())));
    }
    let named = std::env::var_os(KEY_FILE_ENV);
    let path = named.as_deref().map_or(Path::new(KEY_FILE), Path::new);
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("cannot read {shown}, which names the SSM parameter with the cluster key")
            });
        }
    };
    match parameter(text.trim()) {
        Ok(name) => Ok(Some(NameOrRef::Known(name))),
        Err(remedy) => bail!("{shown} contains \"{}\": {remedy}", text.trim().escape_default()),
    }
}
