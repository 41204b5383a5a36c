//! Instances: a root disk, a network and processes of their own, and power.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use self::init::Boot;

pub mod container;
pub mod init;
pub mod machine;
pub mod processes;
pub(crate) mod taps;
pub mod vm;

/// What keeps an image from booting here.
#[must_use]
pub fn faults(image: &Path) -> Vec<String> {
    if vm::is_disk(image) { vm::faults(image) } else { container::faults(image) }
}

/// Settings of an image's systemd: the environment that the lab gives to its services.
fn managers_settings(boot: &Boot) -> String {
    let words = boot.environment.iter().map(|(key, value)| format!("\"{key}={value}\""));
    let words: Vec<String> = words.collect();
    format!("[Manager]\nDefaultEnvironment={}\n", words.join(" "))
}

/// Puts a program there.
fn put_program(path: &Path, script: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
