//! What must outlive the monitor: which peers it has stopped and not yet seen again. A file, so
//! that a monitor that dies between the stop and the start is followed by one that starts them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::kernel::durable;
use crate::types::InstanceId;

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct StoppedPeersFile {
    path: PathBuf,
}

impl StoppedPeersFile {
    /// In this directory.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("stopped.json") }
    }

    /// What was kept last; nothing where there is no file.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or makes no sense.
    pub(crate) fn load(&self) -> anyhow::Result<BTreeSet<InstanceId>> {
        let shown = self.path.display();
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{shown} is damaged: remove it after a look inside")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// Keeps this, whole or not at all, and on the disk when it returns.
    pub(crate) fn save(&self, stopped: &BTreeSet<InstanceId>) -> anyhow::Result<()> {
        let directory = self.path.parent().context("the state directory has no name")?;
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(directory)?;
            durable::replace(&self.path, &serde_json::to_vec(stopped)?)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
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
