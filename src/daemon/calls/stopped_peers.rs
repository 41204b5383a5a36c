//! The file with the peers that this node has stopped and not yet seen again. If the monitor dies
//! between the stop and the start of a peer, the next one reads the file and starts the peer.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::kernel::durable;
use crate::types::InstanceId;

#[derive(Debug, Clone)]
pub(crate) struct StoppedPeersFile {
    path: PathBuf,
}

impl StoppedPeersFile {
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("stopped.json") }
    }

    /// The saved peers; none if there is no file.
    ///
    /// # Errors
    /// If the file exists but cannot be read or parsed.
    pub(crate) fn load(&self) -> anyhow::Result<BTreeSet<InstanceId>> {
        let shown = self.path.display();
        match durable::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{shown} is damaged: inspect it, then remove it")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// Saves atomically. The content is on the disk when this returns.
    pub(crate) fn save(&self, stopped: &BTreeSet<InstanceId>) -> anyhow::Result<()> {
        let directory = self.path.parent().context("the state directory has no path")?;
        let write = || -> std::io::Result<()> {
            durable::make_directory(directory)?;
            durable::replace(&self.path, &serde_json::to_vec(stopped)?)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_kept_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = StoppedPeersFile::in_directory(&directory.path().join("made"));
        assert_eq!(file.load().unwrap(), BTreeSet::new());
        let stopped = BTreeSet::from(["i-0123abcd".parse().unwrap()]);
        file.save(&stopped).unwrap();
        assert_eq!(file.load().unwrap(), stopped);
        file.save(&BTreeSet::new()).unwrap();
        assert_eq!(file.load().unwrap(), BTreeSet::new());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("stopped.json"), "[").unwrap();
        let error = StoppedPeersFile::in_directory(directory.path()).load().unwrap_err();
        assert!(error.to_string().contains("stopped.json is damaged"));
    }
}
