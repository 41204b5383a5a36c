//! Reads and writes sysctls through `/proc/sys`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::plan::{Item, ItemState, Reading, Sysctl, SysctlKey, diff_sysctl};

/// Why a sysctl could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// It could not be read.
    #[error("cannot read the sysctl {key}")]
    Read {
        key: SysctlKey,
        #[source]
        source: std::io::Error,
    },
    /// It could not be written.
    #[error("cannot set the sysctl {key} to {value}")]
    Write {
        key: SysctlKey,
        value: u64,
        #[source]
        source: std::io::Error,
    },
    /// Its value is not a number.
    #[error("the sysctl {key} is `{text}`, which is not a number")]
    NotANumber { key: SysctlKey, text: String },
    /// It was written but has another value afterwards.
    #[error(
        "the sysctl {key} was set to {value} and reads {found}: the kernel or another \
             program changes it"
    )]
    Kept {
        key: SysctlKey,
        /// The value that was written.
        value: u64,
        /// The value that was read afterwards.
        found: u64,
    },
}

fn path(key: &SysctlKey) -> PathBuf {
    Path::new("/proc/sys").join(key.path())
}

/// Reads a sysctl; none if it does not exist.
///
/// # Errors
/// If it exists but cannot be read as a number.
pub(crate) fn read(key: &SysctlKey) -> Result<Option<Reading>, SysctlError> {
    let path = path(key);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SysctlError::Read { key: key.clone(), source }),
    };
    let text = text.trim();
    let value = text
        .parse()
        .map_err(|_| SysctlError::NotANumber { key: key.clone(), text: text.to_owned() })?;
    // The file's mode is not enough: /proc/sys may be mounted read-only in a container. And
    // access(2) would ignore the capabilities of a user other than root, hence AT_EACCESS.
    let settable = faccessat(AT_FDCWD, &path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
    Ok(Some(Reading { value, settable }))
}

/// Sets a sysctl and reads it back.
///
/// # Errors
/// If it cannot be set, or has another value afterwards.
pub(crate) fn write(key: &SysctlKey, value: u64) -> Result<(), SysctlError> {
    let failed = |source| SysctlError::Write { key: key.clone(), value, source };
    fs::write(path(key), value.to_string()).map_err(failed)?;
    match read(key)? {
        Some(reading) if reading.value == value => Ok(()),
        Some(reading) => Err(SysctlError::Kept { key: key.clone(), value, found: reading.value }),
        None => Err(failed(ErrorKind::NotFound.into())),
    }
}

/// Sets those of an interface's sysctls that have another value than they should. Returns how they
/// were; nothing where the interface is gone.
///
/// udev applies the files of sysctl.d to each interface some time after it has appeared
/// (99-systemd.rules), and so after natha has set these sysctls.
///
/// # Errors
/// If one cannot be read or set.
pub(crate) fn hold(wanted: &[Sysctl]) -> Result<Vec<Item>, SysctlError> {
    let mut changed = Vec::new();
    for sysctl in wanted {
        let Some(reading) = read(&sysctl.key)? else { continue };
        let item = diff_sysctl(sysctl, Some(&reading));
        if item.standing != ItemState::Right {
            write(&sysctl.key, sysctl.want.value())?;
            changed.push(item);
        }
    }
    Ok(changed)
}
