//! A second process that deletes the scratch route, whatever becomes of the first.

use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;

use super::scratch;
use crate::config::Flags;
use crate::daemon::take::find_cluster;
use crate::types::{CloudFaultKind, RouteTableId};

/// The process. It waits for the end of its standard input, which comes when the first process ends
/// in any way.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts it, with the flags of this process.
    pub(super) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("unknown which program this is")?;
        #[expect(clippy::disallowed_methods, reason = "it must outlive whatever ends this process")]
        let child = Command::new(program)
            .args(std::env::args_os().skip(1))
            .arg("--guard")
            .stdin(Stdio::piped())
            // Ctrl-C in a terminal reaches the whole process group: not this one.
            .process_group(0)
            .spawn()
            .context("cannot start the process that cleans up")?;
        Ok(Self(child))
    }

    /// Has it delete the route, and waits for that.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait().await.context("the process that cleans up is gone")?;
        if !status.success() {
            bail!(
                "the scratch route was not deleted: run this command again, or delete it by hand"
            );
        }
        Ok(())
    }
}

/// Deletes the scratch route of a table once standard input ends.
///
/// # Errors
/// If it may still be there.
pub(crate) async fn clean_up_when_stdin_ends(
    flags: &Flags,
    table: &RouteTableId,
) -> anyhow::Result<()> {
    // Before the first process has changed anything: what fails then, fails early.
    let found = find_cluster(flags).await?;
    spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await?
        .context("cannot read standard input")?;
    let ec2 = found.discovery.clouds.ec2();
    match ec2.delete_route(table, scratch()).await {
        Err(fault) if fault.kind != CloudFaultKind::NotFound => Err(fault.into()),
        _ => Ok(()),
    }
}
