//! Files that survive a crash of the host: whole and on the disk, or unchanged.
//!
//! Their directory may belong to the service's user while root writes there. So no link is
//! followed: with one, that user could make root write to any file. And what root creates there
//! gets the directory's owner, who reads and replaces it later.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// For the service's user to write, and for its group to read, whatever root's umask.
const MODE: u32 = 0o640;

/// Replaces a file atomically. The new content is on the disk when this returns; on an error the
/// file is unchanged.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    // What a crash, or another user, has left there.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    give_to_owner(&file, path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_directory_of(path)
}

/// Reads a file that is no link.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let no_link = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().read(true).custom_flags(no_link).open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a directory with its parents, if it is not there.
///
/// # Errors
/// If that fails, it is a link, or every user may write to it.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let found = fs::symlink_metadata(path)?;
    let refused = |why: &str| Err(io::Error::new(ErrorKind::PermissionDenied, why));
    if found.is_symlink() {
        return refused("it is a link; remove it, or set `state_dir` to where it leads");
    }
    if found.permissions().mode() & 0o002 != 0 {
        return refused("every user can write to it; chmod o-w it");
    }
    Ok(())
}

/// Removes a file; the removal is on the disk when this returns.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_directory_of(path)
}

/// Gives a file that root has opened to the owner of its directory.
pub(super) fn give_to_owner(file: &File, path: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (directory, own) = (fs::metadata(directory_of(path))?, file.metadata()?);
    if (directory.uid(), directory.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    fchown(file, Some(directory.uid()), Some(directory.gid()))
}

/// Renames and removals are on the disk only once their directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::kernel::lock::FileLock;

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [victim, file] = ["victim", "file.json"].map(|name| directory.path().join(name));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, file.with_extension("new")).unwrap();
        symlink(&victim, &file).unwrap();
        assert!(read(&file).is_err());
        replace(&file, b"ours").unwrap();
        assert_eq!(read(&file).unwrap(), b"ours");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    /// As after `sudo natha setup`, for the service that runs later.
    #[test]
    fn what_root_creates_belongs_to_the_owner_of_its_directory() {
        const SERVICE: u32 = 54_321;
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(directory.path(), Some(SERVICE), Some(SERVICE)).unwrap();
        let [file, lock] = ["file.json", "lock"].map(|name| directory.path().join(name));
        fs::write(&lock, "").unwrap();
        replace(&file, b"ours").unwrap();
        FileLock::try_acquire(&lock).unwrap().expect("nobody holds it");
        for path in [&file, &lock] {
            let found = fs::metadata(path).unwrap();
            assert_eq!((found.uid(), found.gid()), (SERVICE, SERVICE), "{}", path.display());
        }
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn a_directory_that_is_a_link_or_open_to_all_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [real, link] = ["real/deep", "link"].map(|name| directory.path().join(name));
        make_directory(&real).unwrap();
        make_directory(&real).unwrap();
        symlink(&real, &link).unwrap();
        assert!(make_directory(&link).unwrap_err().to_string().contains("link"));
        fs::set_permissions(&real, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(make_directory(&real).unwrap_err().to_string().contains("chmod"));
    }
}
