//! The two files of the history: lines are appended to one, which replaces the other when it is
//! full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::kernel::durable;

/// The files in a state directory, the older one first.
pub(crate) fn files(state_dir: &Path) -> [PathBuf; 2] {
    ["history.1.jsonl", "history.jsonl"].map(|name| state_dir.join(name))
}

/// The files, as they are written.
#[derive(Debug)]
pub(super) struct HistoryFile {
    older: PathBuf,
    newer: PathBuf,
    /// The size, in bytes, that one of them may reach.
    limit: u64,
}

impl HistoryFile {
    /// The files in `state_dir`, of `limit` bytes together. Nothing is opened yet.
    pub(super) fn new(state_dir: &Path, limit: u64) -> Self {
        let [older, newer] = files(state_dir);
        Self { older, newer, limit: limit / 2 }
    }

    /// Appends whole lines, and waits until they are on the disk. `first` is written before them if
    /// they begin a file. No file stays open in between: an operator can remount the file system.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn append(&self, first: &str, lines: &str) -> io::Result<()> {
        let (mut file, mut size) = self.open_newer()?;
        let adds = lines.len() as u64;
        if size > 0 && size + adds > self.limit {
            drop(file);
            fs::rename(&self.newer, &self.older)?;
            (file, size) = self.open_newer()?;
        }
        if size == 0 {
            file.write_all(first.as_bytes())?;
        }
        file.write_all(lines.as_bytes())?;
        file.sync_data()
    }

    /// Opens the newer file, and its size. A last line that a crash has cut short is ended, so that
    /// it spoils no other.
    fn open_newer(&self) -> io::Result<(File, u64)> {
        if let Some(directory) = self.newer.parent() {
            durable::make_directory(directory)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&self.newer)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
        let size = file.seek(SeekFrom::End(0))?;
        if size == 0 {
            return Ok((file, 0));
        }
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last == *b"\n" {
            return Ok((file, size));
        }
        file.write_all(b"\n")?;
        Ok((file, size + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path) -> [String; 2] {
        files(directory).map(|path| fs::read_to_string(path).unwrap_or_default())
    }

    #[test]
    fn lines_outlive_a_restart_and_a_torn_one_spoils_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("made");
        let file = HistoryFile::new(&state, 1 << 20);
        file.append("run\n", "one\n").unwrap();
        let [_, newer] = files(&state);
        let torn = fs::read_to_string(&newer).unwrap() + "tor";
        fs::write(&newer, torn).unwrap();
        let next = HistoryFile::new(&state, 1 << 20);
        next.append("run\n", "two\n").unwrap();
        next.append("run\n", "three\n").unwrap();
        assert_eq!(read(&state), ["", "run\none\ntor\ntwo\nthree\n"]);
    }

    #[test]
    fn a_full_file_replaces_the_older_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = HistoryFile::new(directory.path(), 40);
        for n in 0..7 {
            file.append("run\n", &format!("line {n}\n")).unwrap();
            let sizes = read(directory.path()).map(|text| text.len());
            assert!(sizes.iter().all(|size| *size <= 20), "{sizes:?}");
        }
        assert_eq!(read(directory.path()), ["run\nline 4\nline 5\n", "run\nline 6\n"]);
    }

    #[test]
    fn a_link_is_not_followed_and_a_failure_is_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let [_, newer] = files(directory.path());
        std::os::unix::fs::symlink("/dev/null", &newer).unwrap();
        let file = HistoryFile::new(directory.path(), 1 << 20);
        assert!(file.append("run\n", "one\n").is_err());
        fs::remove_file(&newer).unwrap();
        file.append("run\n", "two\n").unwrap();
        assert_eq!(read(directory.path()), ["", "run\ntwo\n"]);
    }
}
