//! Loading and reading nft tables, through the `nft` program.

use std::time::Duration;

use serde_json::Value;

use super::run::{Program, RunError};
use crate::plan::{Listing, NftTable, OtherChain, TableName, TableSpec, TableState};

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
    /// The kernel takes the table without its flowtable only.
    #[error(
        "this kernel has no nft flowtables (modules nf_flow_table_inet and nft_flow_offload), \
             which `flowtable` asks for: boot one that has them, or leave `flowtable` off. Nothing \
             was changed"
    )]
    NoFlowtables(#[source] Box<RunError>),
    /// The table is not there after it was loaded.
    #[error("nft loaded the table `ip {0}`, but it is not there: another program removes it")]
    Vanished(&'static str),
}

/// The `nft` program.
#[derive(Debug, Clone)]
pub(crate) struct Nft {
    program: Program,
}

impl Nft {
    /// Finds the program.
    pub(crate) fn find() -> Result<Self, RunError> {
        Ok(Self { program: Program::find("nft", "nftables")? })
    }

    /// The table of natha's own that setup loads.
    pub(crate) async fn table(&self) -> Result<TableState, NftError> {
        self.state(TableSpec::NAME).await
    }

    /// One of natha's own tables.
    async fn state(&self, name: TableName) -> Result<TableState, NftError> {
        let tables = self.list(&["tables", "ip"]).await?;
        let objects = tables["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        if !objects.iter().any(|object| object["table"]["name"] == name.as_str()) {
            return Ok(TableState::Absent);
        }
        let listing = self.list(&["table", "ip", name.as_str()]).await?;
        Ok(TableState::Present(Listing::new(&listing)))
    }

    /// Whether a table is there as it was made from `spec`, or absent where that is empty.
    pub(crate) async fn has<T: NftTable>(&self, spec: &T) -> Result<bool, NftError> {
        Ok(match self.state(T::NAME).await? {
            TableState::Absent => spec.is_empty(),
            TableState::Present(listing) => !spec.is_empty() && listing.is(&spec.digest()),
        })
    }

    /// Other programs' chains at the forward hook.
    pub(crate) async fn others(&self) -> Result<Vec<OtherChain>, NftError> {
        let mut found = Vec::new();
        for (family, table, name) in OtherChain::at_forward(&self.list(&["chains"]).await?) {
            let listing = self.list(&["chain", &family, &table, &name]).await?;
            found.push(OtherChain::new(family, table, name, &listing));
        }
        Ok(found)
    }

    /// Replaces one of natha's tables in one transaction, and then seals it; removes it where
    /// `spec` is empty.
    ///
    /// # Errors
    /// Where nft fails. A transaction that fails changes nothing.
    pub(crate) async fn replace<T: NftTable>(&self, spec: &T) -> Result<(), NftError> {
        self.load(&spec.render()).await?;
        match self.state(T::NAME).await? {
            TableState::Absent if spec.is_empty() => Ok(()),
            TableState::Absent => Err(NftError::Vanished(T::NAME.as_str())),
            TableState::Present(listing) => self.load(&spec.render_seal(&listing.digest)).await,
        }
    }

    /// Whether the kernel would take the table with its flowtable: where it would take the table
    /// without one only, this is an error. Nothing is changed.
    ///
    /// # Errors
    /// Where it has no flowtables: with what is missing.
    pub(crate) async fn check_flowtable(&self, spec: &TableSpec) -> Result<(), NftError> {
        if !spec.flowtable {
            return Ok(());
        }
        let Err(refused) = self.check(spec).await else { return Ok(()) };
        // What else is wrong with the table is for the one who loads it to find.
        match self.check(&TableSpec { flowtable: false, ..spec.clone() }).await {
            Ok(()) => Err(NftError::NoFlowtables(Box::new(refused))),
            Err(_) => Ok(()),
        }
    }

    async fn check(&self, spec: &TableSpec) -> Result<(), RunError> {
        self.program.run(&["-c", "-j", "-f", "-"], spec.render().as_bytes(), LIMIT).await.map(drop)
    }

    /// Removes the table that setup loads, if it is there.
    pub(crate) async fn remove(&self) -> Result<(), NftError> {
        self.load(&TableSpec::NAME.removal()).await
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
