//! `natha policy`: the IAM policy for these settings, without asking anybody.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::error::ErrorKind as Usage;

use super::print;
use crate::config::{Flags, PairFlags, load};
use crate::policy::{Format, Name, Places, Told, policy};
use crate::types::VpcId;

/// The file that names the SSM parameter with the cluster's key, as the image's `fetch-key` has it,
/// and the variable that names another one.
const KEY_FILE: &str = "/etc/natha/key.ssm";
const KEY_FILE_ENV: &str = "NATHA_KEY_SSM";

const AFTER_HELP: &str = "\
Examples:
  natha policy --cluster blue      for a NAT whose members and tables have the tag
  natha policy --cluster blue --region eu-west-1 --account 123456789012
  natha policy --config web.toml --vpc vpc-0123456789abcdef0
  natha policy --format cloudformation --cluster-ref Cluster
  natha policy --format terraform --cluster-ref var.cluster --vpc-ref var.vpc_id > policy.tf

Neither AWS nor the instance metadata is asked, and settings in tags do not count. Where an instance
or a table is listed by its id, the policy names it; what is found by the tag natha:cluster is
allowed under that condition. A cluster of two given by --peer is allowed what this node does: the
other one needs its own.";

/// Flags of `natha policy`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The language of the output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// The partition, such as aws-cn [default: the region's, else aws, or the template's own]
    #[arg(long, value_name = "PARTITION", value_parser = partition)]
    pub partition: Option<String>,

    /// The account's 12 digits [default: any, or the template's own]
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub account: Option<String>,

    /// Allow nothing outside of this VPC, as far as IAM can tell
    #[arg(long, value_name = "VPC")]
    pub vpc: Option<VpcId>,

    /// The SSM parameter with the cluster's key [default: the one that /etc/natha/key.ssm names]
    #[arg(long, value_name = "NAME", value_parser = parameter)]
    pub key_parameter: Option<String>,

    /// Only what `natha setup` and `natha teardown` need
    #[arg(long)]
    pub setup_only: bool,

    /// The cluster, as a template refers to it: Cluster, or var.cluster
    #[arg(long, value_name = "REFERENCE", conflicts_with = "cluster")]
    pub cluster_ref: Option<String>,

    /// The VPC, as a template refers to it
    #[arg(long, value_name = "REFERENCE", conflicts_with = "vpc")]
    pub vpc_ref: Option<String>,

    /// A route table, as a template refers to it, in place of those with the tag; may be repeated
    #[arg(long, value_name = "REFERENCE")]
    pub table_ref: Vec<String>,

    /// The SSM parameter with the key, as a template refers to it
    #[arg(long, value_name = "REFERENCE", conflicts_with = "key_parameter")]
    pub key_parameter_ref: Option<String>,

    /// A cluster of two without tags.
    #[command(flatten)]
    pub pair: PairFlags,
}

fn partition(text: &str) -> Result<String, String> {
    let wanted = text == "aws" || text.starts_with("aws-");
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if wanted && plain { Ok(text.to_owned()) } else { Err("write one such as aws-cn".to_owned()) }
}

fn account(text: &str) -> Result<String, String> {
    let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { Ok(text.to_owned()) } else { Err("an account has 12 digits".to_owned()) }
}

/// What the image's `fetch-key` takes for a parameter's name.
fn parameter(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('/').unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./-".contains(&b);
    if !inner.is_empty() && inner.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("write a parameter's name such as /natha/blue/key".to_owned())
    }
}

/// Runs it. 0: the policy is printed.
///
/// # Errors
/// Where the settings are wrong, or do not tell what the policy is to be kept to; nothing is
/// printed then.
pub fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    if let Err(problem) = check_refs(args) {
        problem.exit();
    }
    let settings = load(flags, &args.pair, None)?.settings;
    let key = key(args)?;
    let known = |text: &VpcId| Name::Known(text.to_string());
    let reference = |text: &Option<String>| text.clone().map(Name::Ref);
    let told = Told {
        cluster: reference(&args.cluster_ref),
        vpc: reference(&args.vpc_ref).or_else(|| args.vpc.as_ref().map(known)),
        tables: args.table_ref.iter().cloned().map(Name::Ref).collect(),
        key,
        setup_only: args.setup_only,
        places: Places {
            partition: args.partition.clone(),
            region: settings.api.region.clone(),
            account: args.account.clone(),
        },
    };
    print(&policy(&settings, &told)?.render(args.format))?;
    Ok(ExitCode::SUCCESS)
}

/// References that the format cannot hold, as wrong usage.
fn check_refs(args: &Args) -> Result<(), clap::Error> {
    let single = [
        ("--cluster-ref", &args.cluster_ref),
        ("--vpc-ref", &args.vpc_ref),
        ("--key-parameter-ref", &args.key_parameter_ref),
    ];
    let single = single.into_iter().filter_map(|(flag, text)| Some((flag, text.as_ref()?)));
    let tables = args.table_ref.iter().map(|text| ("--table-ref", text));
    for (flag, text) in single.chain(tables) {
        let wanted = match args.format {
            Format::Json => {
                let text = format!("{flag} is for templates: --format cloudformation or terraform");
                return Err(clap::Error::raw(Usage::ArgumentConflict, text + "\n"));
            }
            Format::CloudFormation => "a parameter such as Cluster, or Resource.Attribute",
            Format::Terraform => "an expression such as var.cluster or aws_vpc.main[0].id",
        };
        if !args.format.takes_ref(text) {
            let text = format!("{flag} `{text}` is no reference: write {wanted}\n");
            return Err(clap::Error::raw(Usage::ValueValidation, text));
        }
    }
    Ok(())
}

/// The SSM parameter with the cluster's key: as told, else as the host's own file names it.
fn key(args: &Args) -> anyhow::Result<Option<Name>> {
    if let Some(reference) = &args.key_parameter_ref {
        return Ok(Some(Name::Ref(reference.clone())));
    }
    if let Some(name) = &args.key_parameter {
        return Ok(Some(Name::Known(name.clone())));
    }
    let named = std::env::var_os(KEY_FILE_ENV);
    let path = named.as_deref().map_or(Path::new(KEY_FILE), Path::new);
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("cannot read {shown}, which names the SSM parameter with the cluster's key")
            });
        }
    };
    match parameter(text.trim()) {
        Ok(name) => Ok(Some(Name::Known(name))),
        Err(remedy) => bail!("{shown} holds \"{}\": {remedy}", text.trim().escape_default()),
    }
}
