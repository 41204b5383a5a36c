//! Loading and reading nft tables, through the `nft` program.

use std::time::Duration;

use serde_json::Value;

use super::run::{Program, RunError};
use crate::plan::{Listing, OtherChain, TableSpec, TableState};

/// A transaction takes some 20 ms; a busy host may need more, a stuck one is given up.
const LIMIT: Duration = Duration::from_secs(10);

/// Why nft could not do it.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program could not be run, or failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What it printed is no JSON.
    #[error("`nft {command}` printed something that is not JSON")]
    Parse {
        /// The command.
        command: String,
        /// Where it broke.
        #[source]
        source: serde_json::Error,
    },
    /// The table is not there after it was loaded.
    #[error("nft loaded the table `ip natha`, but it is not there: another program removes it")]
    Vanished,
}

/// The `nft` program.
#[derive(Debug, Clone)]
pub struct Nft {
    program: Program,
}

impl Nft {
    /// Finds the program.
    ///
    /// # Errors
    /// Where it is not installed.
    pub fn find() -> Result<Self, RunError> {
        Ok(Self { program: Program::find("nft", "nftables")? })
    }

    /// Natha's own table.
    ///
    /// # Errors
    /// Where nft fails.
    pub async fn table(&self) -> Result<TableState, NftError> {
        let tables = self.list(&["tables", "ip"]).await?;
        let objects = tables["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        if !objects.iter().any(|object| object["table"]["name"] == "natha") {
            return Ok(TableState::Absent);
        }
        let listing = self.list(&["table", "ip", "natha"]).await?;
        Ok(TableState::Present(Listing::new(&listing)))
    }

    /// Other programs' chains at the forward hook.
    ///
    /// # Errors
    /// Where nft fails.
    pub async fn others(&self) -> Result<Vec<OtherChain>, NftError> {
        let mut found = Vec::new();
        for (family, table, name) in OtherChain::at_forward(&self.list(&["chains"]).await?) {
            let listing = self.list(&["chain", &family, &table, &name]).await?;
            found.push(OtherChain::new(family, table, name, &listing));
        }
        Ok(found)
    }

    /// Replaces natha's table in one transaction, and then seals it.
    ///
    /// # Errors
    /// Where nft fails. A transaction that fails changes nothing.
    pub async fn replace(&self, spec: &TableSpec) -> Result<(), NftError> {
        self.load(&spec.render()).await?;
        match self.table().await? {
            TableState::Absent => Err(NftError::Vanished),
            TableState::Present(listing) => self.load(&spec.render_seal(&listing.digest)).await,
        }
    }

    /// Removes natha's table, if it is there.
    ///
    /// # Errors
    /// Where nft fails.
    pub async fn remove(&self) -> Result<(), NftError> {
        self.load(TableSpec::REMOVAL).await
    }

    async fn load(&self, commands: &str) -> Result<(), NftError> {
        self.program.run(&["-j", "-f", "-"], commands.as_bytes(), LIMIT).await?;
        Ok(())
    }

    async fn list(&self, what: &[&str]) -> Result<Value, NftError> {
        let args = [&["-j", "list"], what].concat();
        let printed = self.program.run(&args, b"", LIMIT).await?;
        serde_json::from_slice(&printed)
            .map_err(|source| NftError::Parse { command: args.join(" "), source })
    }
}
