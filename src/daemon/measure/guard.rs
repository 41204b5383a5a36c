//! A second process that removes what a measurement has made, whatever becomes of the first.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::record::{Record, wait_for_lock};
use super::{address, route};
use crate::cloud::Ec2;
use crate::config::Flags;
use crate::daemon::take::find_cluster;
use crate::types::RouteTableId;

/// What the first process writes before it ends as it should.
const DONE: &[u8] = b"done\n";
/// What the second process writes once it is ready.
const READY: &[u8] = b"ready\n";
/// How often it tries to clean up, and the time between two attempts.
const ATTEMPTS: u32 = 5;
const AGAIN: Duration = Duration::from_secs(3);
/// How long it waits for another run to end, which removes the same first.
const LOCK_LIMIT: Duration = Duration::from_mins(1);

/// The process. It waits for the end of its standard input, which comes when the first process ends
/// in any way.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts it, with the flags of this process, and waits until it is ready.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("unknown which program this is")?;
        #[expect(clippy::disallowed_methods, reason = "it must outlive whatever ends this process")]
        let mut child = Command::new(program)
            .args(std::env::args_os().skip(1))
            .arg("--guard")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal reaches the whole process group: not this one.
            .process_group(0)
            .spawn()
            .context("cannot start the process that cleans up")?;
        let mut told = [0; READY.len()];
        let output = child.stdout.as_mut().context("the process that cleans up has no output")?;
        output.read_exact(&mut told).await.context("the process that cleans up did not start")?;
        Ok(Self(child))
    }

    /// Has it clean up, and waits for that.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        if let Some(mut input) = self.0.stdin.take() {
            // If it is gone, so is its status below.
            let _ = input.write_all(DONE).await;
        }
        let status = self.0.wait().await.context("the process that cleans up is gone")?;
        if !status.success() {
            bail!(
                "not everything was cleaned up: run this command again, or clean up by hand \
                 (docs/measure.md)"
            );
        }
        Ok(())
    }
}

/// What a run makes.
enum Made {
    Route(RouteTableId),
    Address(Record),
}

/// Removes what a run has made once standard input ends: the route of `table`, or without a table
/// what the record lists.
///
/// # Errors
/// If something may still be there.
pub(crate) async fn clean_up_when_stdin_ends(
    flags: &Flags,
    table: Option<RouteTableId>,
) -> anyhow::Result<()> {
    // Before the first process has changed anything: what fails then, fails early.
    let found = find_cluster(flags).await?;
    let settings = &found.discovery.settings;
    let made = if let Some(table) = table {
        Made::Route(table)
    } else {
        let record = Record::load(&settings.state_dir)?;
        Made::Address(record.context("this run has not recorded what it makes")?)
    };
    std::io::stdout().write_all(READY).context("the first process is gone")?;
    let input = spawn_blocking(|| {
        let mut input = Vec::new();
        std::io::copy(&mut std::io::stdin(), &mut input).map(|_| input)
    });
    let was_killed = input.await?.context("cannot read standard input")? != DONE;
    let _lock = wait_for_lock(&settings.state_dir, Instant::now() + LOCK_LIMIT).await?;
    if let Made::Address(record) = &made {
        let now = Record::load(&settings.state_dir)?;
        if now.as_ref().map(|now| now.run) != Some(record.run) {
            // A later run has removed what this one made.
            return Ok(());
        }
    }
    let ec2 = found.discovery.clouds.ec2();
    clean(ec2, &made).await?;
    if was_killed {
        // EC2 may still carry out the call that the first process was making.
        sleep_until(Instant::now() + settings.api.timeout).await;
        clean(ec2, &made).await?;
    }
    if let Made::Address(_) = made {
        Record::remove(&settings.state_dir)?;
    }
    Ok(())
}

/// Removes what was made. Tries several times.
async fn clean(ec2: &Ec2, made: &Made) -> anyhow::Result<()> {
    let mut attempt = 1;
    loop {
        let outcome = match made {
            Made::Route(table) => route::clean(ec2, table).await,
            Made::Address(record) => address::clean(ec2, record).await,
        };
        match outcome {
            Err(error) if attempt < ATTEMPTS => {
                tracing::warn!("cannot clean up yet: {error:#}");
                attempt += 1;
                sleep_until(Instant::now() + AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}
