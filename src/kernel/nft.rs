//! Loads and reads nft tables through the `nft` program.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use super::run::{Program, RunError};
use crate::plan::{
    EgressTable, Listing, NftTable, OtherChain, Passing, RelayCounts, RelayTable, TableName,
    TableSpec, TableState, VipTable,
};

/// A transaction takes about 20 ms, longer on a busy host.
const LIMIT: Duration = Duration::from_secs(10);

/// Why nft failed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program could not be run, or failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its output is not JSON.
    #[error("`nft {command}` printed something that is not JSON")]
    Parse {
        /// The command.
        command: String,
        /// Where it broke.
        #[source]
        source: serde_json::Error,
    },
    /// The kernel accepts the table only without its flowtable.
    #[error(
        "this kernel has no nft flowtables (modules nf_flow_table_inet and nft_flow_offload): boot \
             a kernel that has them, or leave `host.flowtable` off. Nothing was changed"
    )]
    NoFlowtables(#[source] Box<RunError>),
    /// The table is gone after it was loaded.
    #[error("nft loaded the table `ip {0}`, but it is not there: another program removes it")]
    Vanished(&'static str),
}

/// The `nft` program.
#[derive(Debug, Clone)]
pub(crate) struct Nft {
    program: Program,
}

impl Nft {
    pub(crate) fn find() -> Result<Self, RunError> {
        Ok(Self { program: Program::find("nft", "nftables")? })
    }

    /// What the program says of its version.
    pub(crate) async fn version(&self) -> Result<String, NftError> {
        let printed = self.program.run(&["--version"], b"", LIMIT).await?;
        Ok(String::from_utf8_lossy(&printed).trim().to_owned())
    }

    /// natha's tables as text, by name. One that is absent is left out.
    pub(crate) async fn printed(&self) -> Result<Vec<(String, String)>, NftError> {
        let mut found = Vec::new();
        for name in [TableSpec::NAME, VipTable::NAME, EgressTable::NAME, RelayTable::NAME] {
            match self.program.run(&["list", "table", "ip", name.as_str()], b"", LIMIT).await {
                Ok(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    found.push((name.as_str().to_owned(), text));
                }
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// The table that `natha setup` loads.
    pub(crate) async fn table(&self) -> Result<TableState, NftError> {
        self.state(TableSpec::NAME).await
    }

    /// One of natha's tables.
    async fn state(&self, name: TableName) -> Result<TableState, NftError> {
        match self.list(&["table", "ip", name.as_str()]).await {
            Ok(listing) => Ok(TableState::Present(Listing::new(&listing))),
            Err(NftError::Run(error)) if is_absence(&error) => Ok(TableState::Absent),
            Err(error) => Err(error),
        }
    }

    /// Whether the table is exactly as made from `spec`, or absent if `spec` is empty.
    pub(crate) async fn has<T: NftTable>(&self, spec: &T) -> Result<bool, NftError> {
        Ok(match self.state(T::NAME).await? {
            TableState::Absent => spec.is_empty(),
            TableState::Present(listing) => !spec.is_empty() && listing.is(&spec.digest()),
        })
    }

    /// What natha's tables have counted; nothing of one that is absent. One run of nft lists the
    /// counters of all.
    pub(crate) async fn passing(&self) -> Result<Passing, NftError> {
        Ok(Passing::of(&self.list(&["counters"]).await?))
    }

    /// What the table `ip natha_relay` has counted; nothing if it is absent.
    pub(crate) async fn copies(&self) -> Result<RelayCounts, NftError> {
        Ok(RelayCounts::of(&self.list(&["counters"]).await?))
    }

    /// Other programs' chains at the forward hook.
    pub(crate) async fn others(&self) -> Result<Vec<OtherChain>, NftError> {
        let mut found = Vec::new();
        for (family, table, name) in OtherChain::at_forward(&self.list(&["chains"]).await?) {
            let listing = self.list(&["table", &family, &table]).await?;
            found.push(OtherChain::new(family, table, name, &listing));
        }
        Ok(found)
    }

    /// Makes a table be as made from `spec`. Returns a sentence about how it was before; none if it
    /// was right.
    pub(crate) async fn ensure<T: NftTable>(
        &self,
        spec: &T,
    ) -> Result<Option<&'static str>, NftError> {
        let found = match self.state(T::NAME).await? {
            TableState::Absent if spec.is_empty() => return Ok(None),
            TableState::Absent => "it was absent",
            TableState::Present(_) if spec.is_empty() => "it should be absent",
            TableState::Present(listing) if listing.is(&spec.digest()) => return Ok(None),
            TableState::Present(listing) if listing.intact() => "it was an earlier one of natha's",
            TableState::Present(_) => "it was changed by another program",
        };
        self.replace(spec).await?;
        Ok(Some(found))
    }

    /// Makes and seals a table, unless there is one.
    pub(crate) async fn create<T: NftTable>(&self, spec: &T) -> Result<(), NftError> {
        match self.load(&spec.render_new()).await {
            Err(NftError::Run(error)) if is_presence(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.seal(spec).await,
        }
    }

    /// The landing addresses to which the kernel translates private hosts now.
    pub(crate) async fn landings(&self) -> Result<BTreeSet<Ipv4Addr>, NftError> {
        match self.list(&["table", "ip", EgressTable::NAME.as_str()]).await {
            Ok(listing) => Ok(EgressTable::translated(&listing)),
            Err(NftError::Run(error)) if is_absence(&error) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Replaces one of natha's tables in one transaction and then seals it with its digest; removes
    /// the table if `spec` is empty. A transaction that fails changes nothing.
    pub(crate) async fn replace<T: NftTable>(&self, spec: &T) -> Result<(), NftError> {
        self.load(&spec.render()).await?;
        self.seal(spec).await
    }

    /// Stores the digests of a table that was just loaded from `spec` in it.
    async fn seal<T: NftTable>(&self, spec: &T) -> Result<(), NftError> {
        match self.state(T::NAME).await? {
            TableState::Absent if spec.is_empty() => Ok(()),
            TableState::Absent => Err(NftError::Vanished(T::NAME.as_str())),
            TableState::Present(listing) => self.load(&spec.render_seal(&listing.digest)).await,
        }
    }

    /// Ends the resets of the table `ip natha_egress`, if the kernel has it. The table then differs
    /// from its seal, and the monitor loads it anew.
    pub(crate) async fn stop_resets(&self) -> Result<(), NftError> {
        match self.load(&EgressTable::without_resets()).await {
            Err(NftError::Run(error)) if is_absence(&error) => Ok(()),
            done => done,
        }
    }

    /// Fails with [`NftError::NoFlowtables`] if the kernel would accept the table only without its
    /// flowtable. Changes nothing.
    pub(crate) async fn check_flowtable(&self, spec: &TableSpec) -> Result<(), NftError> {
        if !spec.flowtable {
            return Ok(());
        }
        let Err(refused) = self.check(spec).await else { return Ok(()) };
        // Any other fault of the table shows when it is loaded.
        match self.check(&TableSpec { flowtable: false, ..spec.clone() }).await {
            Ok(()) => Err(NftError::NoFlowtables(Box::new(refused))),
            Err(_) => Ok(()),
        }
    }

    /// Whether the kernel accepts the table. Loads nothing.
    pub(crate) async fn check<T: NftTable>(&self, spec: &T) -> Result<(), RunError> {
        self.program.run(&["-c", "-j", "-f", "-"], spec.render().as_bytes(), LIMIT).await.map(drop)
    }

    /// Removes the table that `natha setup` loads, if it exists.
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

/// Whether nft says that what it was to create exists (`EEXIST`).
fn is_presence(error: &RunError) -> bool {
    matches!(error, RunError::Failed { stderr, .. } if stderr.contains("File exists"))
}

/// Whether nft says that what it was to list does not exist (`ENOENT`). Its messages are in
/// English, because the runner sets the locale.
fn is_absence(error: &RunError) -> bool {
    matches!(error, RunError::Failed { stderr, .. } if stderr.contains("No such file or directory"))
}
