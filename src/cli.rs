//! The command line.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::commands::{handover, monitor, policy, release, replay, setup, status, take, teardown};
use crate::config::{Flags, PairFlags, load};
use crate::logging::{self, Format};

/// Threads of the runtime besides the loop's own: one may be busy with TLS while the other one
/// answers.
const WORKERS: usize = 2;

const AFTER_HELP: &str = "\
Examples:
  natha setup                      make this host a NAT
  natha monitor                    watch the peers and keep the subnets served
  natha status                     show nodes, groups and the last changes
  natha handover eu-west-1a        give a group to the best fit peer
  natha take web                   take a group, as a notify script of keepalived does
  natha release web                take a group's addresses off this host once it is elsewhere
  natha policy --cluster blue      print the IAM policy for the nodes' role
  natha monitor --record run.jsonl also write down everything it decides from
  natha replay run.jsonl           repeat and explain those decisions
  natha monitor --peer i-… --peer-table rtb-… --my-table rtb-…
                                   a cluster of two without tags

Settings come from flags, then NATHA_* variables, /etc/natha/natha.toml, tags of the instance
(natha:…), and defaults.

Exit codes:
  0  all well
  1  an error; standard error tells what, and what to do
  2  wrong usage
  3  done, but something is not as it should be";

/// NAT instances on AWS that cover for each other.
#[derive(Debug, Parser)]
#[command(name = "natha", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,

    /// Flags that every verb takes.
    #[command(flatten)]
    pub flags: Flags,

    /// How log lines are written.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Flags about logging.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "NATHA_LOG_FORMAT",
        hide_env_values = true
    )]
    pub log_format: Format,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,natha=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        env = "NATHA_LOG",
        hide_env_values = true
    )]
    pub log_level: String,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make this host a NAT: sysctls, translation, forwarding, source/dest check
    Setup(setup::Args),
    /// Watch the peers, move routes when one fails, repair it, hand back
    Monitor(monitor::Args),
    /// Show what the monitor on this host knows and does
    Status(status::Args),
    /// Give a group that this node holds to another node, without a gap
    Handover(handover::Args),
    /// Take a group for this node, once: for people and for keepalived's notify scripts
    Take(take::Args),
    /// Take a group's addresses off this host once another node has it
    Release(release::Args),
    /// Print the least that the nodes' role must be allowed, as an IAM policy
    Policy(policy::Args),
    /// Repeat and explain the decisions of a recorded monitor
    Replay(replay::Args),
    /// Undo what `setup` changed
    Teardown(teardown::Args),
}

/// Does what the command line asks for.
///
/// # Errors
/// The verb's own; see there.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    logging::start(cli.log.log_format, &cli.log.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("natha-work")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(dispatch(cli));
    // Whatever is still under way (a name look-up, a hung call) must not hold the exit up.
    runtime.shutdown_background();
    code
}

async fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let local = || Ok::<_, anyhow::Error>(load(&cli.flags, &PairFlags::default(), None)?.settings);
    match &cli.verb {
        Verb::Setup(args) => setup::run(args.clone(), &cli.flags).await,
        Verb::Teardown(args) => teardown::run(args.clone(), &local()?).await,
        Verb::Monitor(args) => monitor::run(args, &cli.flags).await,
        Verb::Status(args) => status::run(args, &local()?.socket).await,
        Verb::Handover(args) => handover::run(args, &local()?.socket).await,
        Verb::Take(args) => take::run(args, &cli.flags).await,
        Verb::Release(args) => release::run(args, &cli.flags).await,
        Verb::Policy(args) => policy::run(args, &cli.flags),
        Verb::Replay(args) => replay::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_is_as_reviewed() {
        let help = Cli::command().term_width(100).render_long_help();
        insta::with_settings!({
            snapshot_path => "../tests/golden",
            prepend_module_to_snapshot => false,
        }, { insta::assert_snapshot!("help", help) });
    }
}
