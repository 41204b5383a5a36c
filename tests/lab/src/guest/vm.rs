//! An instance whose root disk is that of a virtual machine: QEMU boots it with its own kernel,
//! inside the instance, and cloud-init in there reads the user data.
//!
//! As for a [container](super::container), the instance's first process stays the lab's. The
//! instance's interface becomes a port of a bridge, with the machine's tap as the other one: the
//! machine has the interface's hardware address, and gets its network address by DHCP. The
//! processor is emulated, so that no `/dev/kvm` is needed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::container::INSIDE;
use super::init::{Boot, NATHA, bind};
use crate::net::fabric::device;
use crate::net::resolver::RESOLVER;

/// Where the machine's pipes are inside the instance, and what QEMU boots.
const HOME: &str = "run/machine";
/// The programs that it takes, and the Debian packages they are in.
const TOOLS: [(&str, &str); 3] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("debugfs", "e2fsprogs"),
    ("busybox", "busybox-static"),
];
/// Its service that runs what the lab asks for, and the program of that.
const AGENT: [(&str, &str); 3] = [
    ("/etc/systemd/system/lab-agent.service", include_str!("vm/lab-agent.service")),
    ("/etc/systemd/system/sysinit.target.d/lab.conf", "[Unit]\nWants=lab-agent.service\n"),
    ("/etc/lab-agent", include_str!("vm/lab-agent")),
];

/// Whether an image is a disk, and not a directory.
#[must_use]
pub fn is_disk(image: &Path) -> bool {
    image.is_file()
}

/// What keeps a disk from booting here.
#[must_use]
pub fn faults(disk: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for part in ["vmlinuz", "initrd"].map(|part| beside(disk, part)) {
        if !part.is_file() {
            let shown = part.display();
            faults.push(format!("{shown} is missing: `scripts/image --disk` makes it"));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (tool, package) in TOOLS {
        if !std::env::split_paths(&path).any(|at| at.join(tool).is_file()) {
            faults.push(format!("`{tool}` is not on the PATH: on Debian it is in {package}"));
        }
    }
    if !Path::new("/dev/net/tun").exists() {
        faults.push("there is no /dev/net/tun: `modprobe tun`".to_owned());
    }
    faults
}

/// What lies beside the disk under its name.
fn beside(disk: &Path, part: &str) -> PathBuf {
    PathBuf::from(format!("{}.{part}", disk.display()))
}

/// Puts what QEMU needs into the instance's file system at `root`, and what the lab adds to the
/// machine's own: the environment of its services, and the agent.
///
/// # Errors
/// When something cannot be bound or written.
pub fn insert(boot: &Boot, image: &Path, root: &Path) -> Result<()> {
    let home = root.join(HOME);
    bind(image, &home.join("image"))?;
    for part in ["vmlinuz", "initrd"] {
        bind(&beside(image, part), &home.join(part))?;
    }
    for pipe in ["agent.in", "agent.out", "monitor.in", "monitor.out"] {
        mkfifo(&home.join(pipe), Mode::S_IRUSR | Mode::S_IWUSR)?;
    }
    bind(Path::new("/dev/net/tun"), &root.join("dev/net/tun"))?;
    let environment = super::managers_settings(boot);
    let files = [("/etc/systemd/system.conf.d/lab.conf", environment.as_str())];
    let mut commands = String::new();
    for (number, (path, text)) in files.into_iter().chain(AGENT).enumerate() {
        fs::write(home.join(format!("file{number}")), text)?;
        if let Some(directory) = path.strip_suffix("/lab.conf") {
            let _ = writeln!(commands, "mkdir {directory}");
        }
        let _ = writeln!(commands, "write file{number} {path}");
    }
    fs::write(home.join("changes"), commands)?;
    let uuid = uuid(&boot.home);
    let settings = format!("link={}\nresolver={RESOLVER}\nuuid={uuid}\n", device(0));
    fs::write(home.join("settings"), settings)?;
    let natha = format!("#!/bin/sh\nexec /{INSIDE} /usr/bin/natha \"$@\"\n");
    for (path, script) in [(INSIDE, include_str!("vm/inside")), (NATHA, &natha)] {
        super::put_program(&root.join(path), script)?;
    }
    Ok(())
}

/// The script that boots the machine. It ends the instance when the machine has powered off.
pub const SCRIPT: &str = include_str!("vm/boot");

/// The id of the instance's hardware. EC2's begin so, by which cloud-init knows where it is; and
/// systemd makes the machine's id of it, so that no two instances may have the same.
fn uuid(home: &Path) -> String {
    let id = home.file_name().map(|name| name.to_string_lossy().replace("i-", ""));
    let digits = format!("{:0<17}", id.unwrap_or_default());
    let (head, tail) = (&digits[..5], &digits[9..17]);
    format!("ec2{head}-{}-4000-8000-0000{tail}", &digits[5..9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_its_kernel_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("natha.raw");
        fs::write(&disk, "").unwrap();
        assert!(is_disk(&disk) && !is_disk(directory.path()));
        let told = faults(&disk).join("\n");
        for part in ["natha.raw.vmlinuz is missing", "natha.raw.initrd is missing"] {
            assert!(told.contains(part), "{told}");
        }
        for part in ["vmlinuz", "initrd"] {
            fs::write(beside(&disk, part), "").unwrap();
        }
        assert!(!faults(&disk).join("\n").contains("is missing"));
    }

    #[test]
    fn hardware_ids_are_ec2s_and_each_instances_own() {
        let of = |id: &str| uuid(&Path::new("/disks").join(id));
        assert_eq!(of("i-0123456789abcdef0"), "ec201234-5678-4000-8000-00009abcdef0");
        assert_ne!(of("i-0123456789abcdef0"), of("i-0123456789abcdef1"));
    }
}
