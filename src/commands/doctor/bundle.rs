//! Writes the archive for a bug report: a tar.gz that only its owner can read.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::contents::{Contents, Part};

/// The directory in the archive.
const DIRECTORY: &str = "natha-doctor";

/// The recording in the archive.
const RECORDING: &str = "recording.jsonl.gz";

/// An archive that is being written. It is removed again unless it becomes complete.
#[derive(Debug)]
pub(super) struct Bundle {
    path: PathBuf,
    file: File,
    is_complete: bool,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if !self.is_complete {
            // Half an archive is of no use; if it cannot be removed, nothing else can be done.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Bundle {
    /// Creates the file.
    ///
    /// # Errors
    /// If it exists or cannot be created.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                anyhow!("{} exists: name another file for the archive", path.display())
            }
            _ => anyhow::Error::new(error)
                .context(format!("cannot create the archive {}", path.display())),
        })?;
        Ok(Self { path: path.to_owned(), file, is_complete: false })
    }

    /// Writes everything and returns the list of contents.
    ///
    /// # Errors
    /// If the disk fails or is full. The file is removed then.
    pub(super) fn write(mut self, contents: &Contents) -> anyhow::Result<String> {
        let list = list(contents);
        self.write_all(contents, &list)
            .with_context(|| format!("cannot write the archive {}", self.path.display()))?;
        self.is_complete = true;
        Ok(format!("{} contains:\n{list}", self.path.display()))
    }

    fn write_all(&self, Contents { parts, recording }: &Contents, list: &str) -> io::Result<()> {
        let now = self.file.metadata()?.modified()?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut archive = tar::Builder::new(GzEncoder::new(&self.file, Compression::default()));
        let mut append = |name: &str, size: u64, data: &mut dyn Read| {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(0o600);
            header.set_mtime(now);
            archive.append_data(&mut header, Path::new(DIRECTORY).join(name), data)
        };
        append("README.txt", list.len() as u64, &mut list.as_bytes())?;
        for Part { name, bytes, .. } in parts {
            append(name, bytes.len() as u64, &mut bytes.as_slice())?;
        }
        if let Some(path) = recording {
            // The monitor goes on writing: what is there now is a recording that was cut off. It
            // may be larger than the memory.
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            append(RECORDING, size, &mut file.take(size))?;
        }
        archive.into_inner()?.finish()?;
        self.file.sync_all()
    }
}

/// What the archive contains, for its reader and for the operator who gives it away.
fn list(Contents { parts, recording }: &Contents) -> String {
    let mut out = String::new();
    for Part { name, about, bytes } in parts {
        let _ = writeln!(out, "  {name:18}  {about} ({} bytes)", bytes.len());
    }
    if let Some(path) = recording {
        let about = format!("the monitor's last recording, {}", path.display());
        let _ = writeln!(out, "  {RECORDING:18}  {about}");
    }
    out.push_str(
        "It names instances, interfaces, route tables, private addresses and the targets of\n\
         probes, and quotes errors of EC2, which may name the account and the role. It has no\n\
         cluster key, no credentials and no forwarded packet.",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use flate2::read::GzDecoder;

    use super::*;

    fn contents(recording: Option<PathBuf>) -> Contents {
        let part = Part { name: "doctor.json", about: "what was found", bytes: b"{}\n".to_vec() };
        Contents { parts: vec![part], recording }
    }

    fn unpacked(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(path).unwrap()));
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            found.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        found
    }

    #[test]
    fn an_archive_has_everything_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let [path, recording] = ["a.tar.gz", "run"].map(|name| directory.path().join(name));
        fs::write(&recording, b"turns").unwrap();
        let bundle = Bundle::create(&path).unwrap();
        let summary = bundle.write(&contents(Some(recording))).unwrap();
        assert!(
            summary.contains("doctor.json") && summary.contains("no\ncluster key"),
            "{summary}"
        );
        let found = unpacked(&path);
        assert_eq!(found["natha-doctor/doctor.json"], b"{}\n");
        assert_eq!(found["natha-doctor/recording.jsonl.gz"], b"turns");
        let readme = String::from_utf8(found["natha-doctor/README.txt"].clone()).unwrap();
        assert!(summary.ends_with(&readme) && found.len() == 3);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn no_file_is_overwritten_and_half_an_archive_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar.gz");
        fs::write(&path, "precious").unwrap();
        let error = Bundle::create(&path).unwrap_err().to_string();
        assert!(error.contains("name another file"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let half = directory.path().join("b.tar.gz");
        let missing = directory.path().join("gone");
        assert!(Bundle::create(&half).unwrap().write(&contents(Some(missing))).is_err());
        assert!(!half.exists());
        drop(Bundle::create(&half).unwrap());
        assert!(!half.exists());
    }
}
