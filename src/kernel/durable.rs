//! Files that are whole whenever the host dies.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file as a whole. What it holds is on the disk when this returns; where it fails, the
/// file is as it was before.
///
/// # Errors
/// What the system says, where one of the steps fails.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    // The name is on the disk only when the directory is.
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
