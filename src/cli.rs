//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    adopt, config, doctor, drain, handover, history, latch, measure, monitor, notify, policy,
    release, replay, setup, status, take, teardown, turns, undrain, version,
};
use crate::config::{Flags, Problems, load, load_socket};
use crate::logging::{self, LogFormat};

/// Runtime worker threads, not counting the event loop's own thread. With two, one can be busy with
/// TLS while the other answers `natha status`.
const WORKERS: usize = 2;

/// The heading of the flags of every command in `--help`. `-h` only names them.
const GLOBAL: &str = "Global options";

const AFTER_HELP: &str = "\
Examples:
  natha setup                      make this host a NAT
  natha monitor                    watch the peers and take over when one fails
  natha status                     show nodes, groups and recent changes
  natha doctor                     check this node and its cluster, with a remedy for each fault
  natha history --since 24h        show the changes of the last day, newest last
  natha handover eu-west-1a        hand a group over to the best available peer
  natha drain                      hand everything over before this host shuts down
  natha adopt                      show which route tables point to another NAT
  natha latch --reason \"…\"         leave everything as it is, on all nodes
  natha take web                   take over a group, as from a keepalived notify script
  natha release web                remove a group's addresses once another node has it
  natha notify test                send a test notice to hook, webhook and SNS topic
  natha config                     show the settings in force and the source of each
  natha policy --cluster blue      print the IAM policy for the nodes' role
  natha monitor --record run.jsonl.gz also record every input to its decisions
  natha replay run.jsonl.gz           replay and explain those decisions
  natha monitor --peer i-… --peer-table rtb-… --my-table rtb-…
                                   a two-node cluster without tags

Settings come from flags, NATHA_* variables, /etc/natha/natha.toml, instance tags (natha:…) and
defaults, in that order.

Exit codes:
  0  success
  1  error; see stderr for cause and remedy
  2  wrong usage
  3  completed, but something needs attention";

/// NAT instances on AWS that cover for each other.
#[derive(Debug, Parser)]
#[command(name = "natha", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// The verb to run.
    #[command(subcommand)]
    pub(crate) verb: Verb,

    /// Flags common to all verbs.
    #[command(flatten)]
    pub(crate) flags: Flags,

    /// Logging flags, also common to all verbs.
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Flags that control logging.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArgs {
    /// Log format
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "NATHA_LOG_FORMAT",
        hide_env_values = true
    )]
    pub(crate) log_format: LogFormat,

    /// Log level: error, warn, info, debug, trace, or a filter such as info,natha=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        value_parser = logging::level,
        default_value = "info",
        env = "NATHA_LOG",
        hide_env_values = true
    )]
    pub(crate) log_level: String,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make this host a NAT: sysctls, translation, forwarding, source/dest check
    Setup(setup::Args),
    /// Watch the peers, take over when one fails, repair it, hand its groups back
    Monitor(monitor::Args),
    /// Show the state of the monitor on this host
    Status(status::Args),
    /// Check this node and its cluster, and say how to fix what is wrong; changes nothing
    Doctor(doctor::Args),
    /// Show past changes with their reasons and durations, or one of them as a page
    History(history::Args),
    /// Hand a group over from this node to another one, without interruption
    Handover(handover::Args),
    /// Hand over everything that this node holds, and take nothing more
    Drain(drain::Args),
    /// Take part again after a drain
    Undrain(undrain::Args),
    /// Hand everything over and reboot this host; --when-safe: one node after the other
    Reboot(turns::RebootArgs),
    /// Run a command while this node holds nothing, one node of the cluster after the other
    WhenSafe(turns::WhenSafeArgs),
    /// Leave everything in the cluster as it is, until `unlatch`
    Latch(latch::Args),
    /// End the latch of this node, or of a node that is dead
    Unlatch(latch::UnlatchArgs),
    /// Move route tables from another NAT to this node, one after the other
    Adopt(adopt::AdoptArgs),
    /// Point adopted route tables back to their old targets
    Retire(adopt::RetireArgs),
    /// Measure how long EC2 takes to move a route or an Elastic IP
    Measure(measure::Args),
    /// Take over a group once, by hand or from a keepalived notify script
    Take(take::Args),
    /// Remove a group's addresses from this host once another node has it
    Release(release::Args),
    /// Test the notices that natha sends to people and programs
    Notify(notify::Args),
    /// Show the settings in force with the source of each, and check them
    Config(config::Args),
    /// Print the minimal IAM policy for the nodes' role
    Policy(Box<policy::Args>),
    /// Replay and explain the decisions of a recorded monitor run
    Replay(replay::Args),
    /// Undo what `setup` changed
    Teardown(teardown::Args),
    /// Print the version of natha and of its formats
    Version(version::Args),
}

/// The definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    let command = Cli::command().mut_args(|argument| {
        if argument.is_global_set() {
            argument.help_heading(GLOBAL).hide_short_help(true)
        } else {
            argument
        }
    });
    let global = command.get_arguments().filter(|argument| argument.is_global_set());
    let names: Vec<String> =
        global.filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect();
    shortened(command, &format!("{GLOBAL}, explained by --help: {}", names.join(" ")))
}

/// A command whose `-h` ends with one line on the global options, where `--help` explains these and
/// has examples.
fn shortened(command: clap::Command, note: &str) -> clap::Command {
    let long = command.get_after_help().cloned().unwrap_or_default();
    command
        .after_long_help(long)
        .after_help(note.to_owned())
        .mut_subcommands(|verb| shortened(verb, note))
}

/// Reads the command line. Ends the program if it is wrong, and after help that it asks for.
#[must_use]
pub fn parse() -> Cli {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|mut error| {
        if error.kind() == ErrorKind::ArgumentConflict {
            // It would show one of the two flags as if it were needed.
            error.remove(ContextKind::Usage);
        }
        error.exit()
    })
}

/// Runs the verb and returns the exit code that `natha --help` documents.
///
/// # Errors
/// Those of the verb's own `run`.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let (format, level) = (cli.log.log_format, &*cli.log.log_level);
    match &cli.verb {
        Verb::Monitor(_) => logging::start_queued(format, level)?,
        _ => logging::start(format, level)?,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("natha-work")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(dispatch(cli));
    logging::flush();
    // A pending name lookup or a hung call must not delay the exit.
    runtime.shutdown_background();
    code
}

/// Whether an error is wrong usage, which has an exit code of its own.
#[must_use]
pub fn is_wrong_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Problems>().is_some_and(Problems::is_wrong_usage)
}

async fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let local = || Ok::<_, anyhow::Error>(load(&cli.flags, None)?.settings);
    match &cli.verb {
        Verb::Setup(args) => setup::run(args.clone(), &cli.flags).await,
        Verb::Teardown(args) => teardown::run(args.clone(), &local()?).await,
        Verb::Monitor(args) => Box::pin(monitor::run(args, &cli.flags)).await,
        Verb::Status(args) => status::run(args, &socket_of(&cli.flags).await?).await,
        Verb::Doctor(args) => doctor::run(args, &cli.flags).await,
        Verb::Handover(args) => handover::run(args, &socket_of(&cli.flags).await?).await,
        Verb::Drain(args) => drain::run(args, &socket_of(&cli.flags).await?).await,
        Verb::Undrain(_) => undrain::run(&socket_of(&cli.flags).await?).await,
        Verb::Reboot(args) => turns::reboot(args, &socket_of(&cli.flags).await?).await,
        Verb::WhenSafe(args) => turns::when_safe(args, &socket_of(&cli.flags).await?).await,
        Verb::Latch(args) => latch::run(args, &socket_of(&cli.flags).await?).await,
        Verb::Unlatch(_) => latch::run_unlatch(&socket_of(&cli.flags).await?).await,
        Verb::Adopt(args) => adopt::run(args, &cli.flags, &socket_of(&cli.flags).await?).await,
        Verb::Retire(args) => adopt::run_retire(args, &cli.flags).await,
        Verb::Measure(args) => measure::run(args, &cli.flags, &socket_of(&cli.flags).await?).await,
        Verb::Take(args) => take::run(args, &cli.flags).await,
        Verb::Release(args) => release::run(args, &cli.flags).await,
        Verb::History(args) => history::run(args, &cli.flags),
        Verb::Notify(args) => notify::run(args, &cli.flags).await,
        Verb::Config(args) => config::run(args, &cli.flags).await,
        Verb::Policy(args) => policy::run(args, &cli.flags),
        Verb::Replay(args) => replay::run(args),
        Verb::Version(args) => version::run(args),
    }
}

/// The socket of the monitor on this host. It is one of the cluster that the flags name, if they
/// name one.
async fn socket_of(flags: &Flags) -> anyhow::Result<PathBuf> {
    let socket = socket(flags)?;
    if let Some(cluster) = &flags.cluster {
        status::expect_cluster(&socket, cluster).await?;
    }
    Ok(socket)
}

/// The socket of the monitor on this host, whatever its cluster.
fn socket(flags: &Flags) -> anyhow::Result<PathBuf> {
    let (socket, problems) = load_socket(flags)?;
    if let Some(problems) = problems {
        let shown = socket.display();
        tracing::warn!("the settings of this host are wrong; asking at {shown}: {problems}");
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    /// The headings of a help text, each with the flags below it.
    fn flags_of(help: &str) -> Vec<(String, Vec<String>)> {
        let mut found: Vec<(String, Vec<String>)> = Vec::new();
        for line in help.lines() {
            let flag = line.split_whitespace().find(|word| word.starts_with("--"));
            if let Some(heading) = line.strip_suffix(':').filter(|text| !text.starts_with(' ')) {
                found.push((heading.to_owned(), Vec::new()));
            } else if let (Some((_, flags)), Some(flag), true) =
                (found.last_mut(), flag, line.trim_start().starts_with('-'))
            {
                flags.push(flag.to_owned());
            }
        }
        found
    }

    #[test]
    fn each_verb_has_its_own_options_apart_from_the_global_ones() {
        let mut command = command().term_width(100);
        command.build();
        let global: Vec<String> = flags_of(&command.render_long_help().to_string())
            .into_iter()
            .find_map(|(heading, flags)| (heading == GLOBAL).then_some(flags))
            .unwrap();
        assert_eq!(global.len(), 7, "{global:?}");
        let verbs = command.get_subcommands_mut().filter(|verb| verb.get_name() != "help");
        let mut count = 0;
        for verb in verbs {
            count += 1;
            let name = verb.get_name().to_owned();
            let (long, short) =
                (verb.render_long_help().to_string(), verb.render_help().to_string());
            for (heading, flags) in flags_of(&long) {
                let are_global = flags.iter().any(|flag| global.contains(flag));
                assert_eq!(heading == GLOBAL, are_global, "{name}: {heading}: {flags:?}");
            }
            let of_short = flags_of(&short);
            assert!(of_short.iter().all(|(heading, _)| heading != GLOBAL), "{name}: {short}");
            assert_eq!(short.matches("--endpoint-url").count(), 1, "{name}: {short}");
            assert!(!short.contains("Examples:"), "{name}: {short}");
        }
        assert!(count >= 20, "{count}");
    }

    #[test]
    fn the_help_is_as_reviewed() {
        let help = command().term_width(100).render_long_help();
        insta::with_settings!({
            snapshot_path => "../tests/golden",
            prepend_module_to_snapshot => false,
        }, { insta::assert_snapshot!("help", help) });
    }
}
