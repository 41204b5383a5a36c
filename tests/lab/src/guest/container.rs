//! An instance whose root disk is an image: its own init boots as a container, inside the
//! instance, and cloud-init in there reads the user data.
//!
//! The instance's first process stays the lab's: with it goes everything inside, so that power
//! works as for every other instance. Its network is the instance's.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::init::{Boot, NATHA};
use crate::net::resolver::RESOLVER;

/// Where the image's root disk is inside the instance.
const ROOT: &str = "run/machine";
/// Runs a program inside the image.
pub(super) const INSIDE: &str = "usr/local/bin/inside";
/// The interface has its address already, as by DHCP.
const CLOUD: &str = "network: {config: disabled}\n";
/// A container has no firmware by which cloud-init would know that it is on EC2, and ask for
/// tokens. It gets the other sign of that, which instances under Xen have.
const HARDWARE: &str = "[Unit]
DefaultDependencies=no
Before=sysinit.target cloud-init-local.service
[Service]
Type=oneshot
ExecStart=/bin/mount -o remount,rw /sys
ExecStart=/bin/mkdir /sys/hypervisor
ExecStart=/bin/sh -c 'echo ec2e1916-9099-7caf-fd21-012345abcdef >/sys/hypervisor/uuid'
ExecStart=/bin/mount -o remount,ro /sys
";
/// How often a control group that is in use is tried, every 10 ms.
const SWEEPS: usize = 200;

/// What keeps an image from booting here.
#[must_use]
pub fn faults(image: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let init = fs::symlink_metadata(image.join("sbin/init"));
    if init.is_err() || !image.is_absolute() {
        let shown = image.display();
        faults.push(format!("{shown} is no image: give the full path of a root file system"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|at| at.join("systemd-nspawn").is_file()) {
        let package = "on Debian it is in the package systemd-container";
        faults.push(format!("`systemd-nspawn` is not on the PATH: {package}"));
    }
    faults
}

/// Puts the image's root disk into the instance's file system at `root`, with what the lab adds.
///
/// # Errors
/// When it cannot be mounted or written to.
pub fn insert(boot: &Boot, image: &Path, root: &Path) -> Result<()> {
    let disk = boot.home.join("image");
    let work = boot.home.join(format!("image-work-{}", boot.boot));
    let at = root.join(ROOT);
    for directory in [&disk, &work, &at] {
        fs::create_dir_all(directory)?;
    }
    let (lower, upper, work) = (image.display(), disk.display(), work.display());
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    mount(Some("overlay"), &at, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .with_context(|| format!("cannot mount the image {lower}"))?;
    for (path, text) in [
        ("etc/cloud/cloud.cfg.d/99-lab.cfg", CLOUD.to_owned()),
        ("etc/systemd/system/lab-hardware.service", HARDWARE.to_owned()),
        (
            "etc/systemd/system/sysinit.target.d/lab.conf",
            "[Unit]\nWants=lab-hardware.service\n".to_owned(),
        ),
        ("etc/resolv.conf", format!("nameserver {RESOLVER}\n")),
        ("etc/systemd/system.conf.d/lab.conf", super::managers_settings(boot)),
    ] {
        let path = at.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&at))?;
        // What the image has there may be a link.
        drop(fs::remove_file(&path));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Nobody answers it here, and cloud-init would wait for that.
    drop(fs::remove_file(at.join("sbin/dhclient")));
    for (path, program) in [(INSIDE, ""), (NATHA, "/usr/bin/natha ")] {
        let script = format!(
            "#!/bin/sh\nread -r nspawn </run/machine.pid\n\
             read -r first _ <\"/proc/$nspawn/task/$nspawn/children\"\n\
             exec nsenter --target \"$first\" --all -- {program}\"$@\"\n"
        );
        super::put_program(&root.join(path), &script)?;
    }
    Ok(())
}

/// The script that boots the image. It ends the instance when the image has powered off, and boots
/// it again when the image reboots.
#[must_use]
pub fn script(boot: &Boot) -> String {
    // A control group of its own, or two images would be in one. It is the root of what the
    // image sees.
    let group = group(&boot.home).join(format!("{}-{}", boot.hostname, boot.boot));
    format!(
        "#!/bin/sh
set -e
# The stop of the instance is for systemd-nspawn, which shuts the image down.
trap : TERM
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p '/sys/fs/cgroup/{group}'
# The first process too: systemd-nspawn takes its group for the root.
for each in 1 $$; do echo $each >'/sys/fs/cgroup/{group}/cgroup.procs'; done
umount /sys/fs/cgroup
# As udev makes it: for every user.
mknod -m 666 /run/tun c 10 200
set +e
unshare --cgroup sh -c '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    echo $$ >/run/machine.pid
    export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
    exec systemd-nspawn --boot --directory=/{ROOT} --network-namespace-path=/proc/self/ns/net \\
        --register=no --keep-unit --capability=CAP_NET_ADMIN,CAP_IPC_LOCK --resolv-conf=off \\
        --bind=/run/tun:/dev/net/tun \\
        --timezone=off --link-journal=no --console=pipe --machine={name} --hostname={name}
' &
image=$!
while kill -0 $image 2>/dev/null; do wait $image; status=$?; done
# With --keep-unit, systemd-nspawn does not boot the image again, but ends with 133.
case $status in
    133) kill -USR1 1 ;;
    *) kill -TERM 1 ;;
esac
",
        group = group.display(),
        name = boot.hostname,
    )
}

/// The lab's control group: the name of the lab's directory, which is above its instances'.
fn group(home: &Path) -> PathBuf {
    let mut names = home.components().map(|part| part.as_os_str().to_string_lossy());
    let lab = names.find(|name| name.starts_with(crate::launch::PREFIX));
    PathBuf::from(lab.map_or_else(|| "natha-lab".to_owned(), std::borrow::Cow::into_owned))
}

/// Removes the control groups that the images of a lab have left: the kernel does not do that by
/// itself. What is still in use after a while stays.
pub fn sweep(lab: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(at) = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4)).flatten()
    }) else {
        return;
    };
    let Some(name) = lab.file_name() else { return };
    let group = Path::new(at).join(name);
    // A process that was killed is in its group until the kernel is done with it.
    for _ in 0..SWEEPS {
        remove(&group);
        if !group.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn remove(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    drop(fs::remove_dir(group));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_an_init_is_no_image() {
        let directory = tempfile::tempdir().unwrap();
        let told = faults(directory.path()).join("\n");
        assert!(told.contains(&*directory.path().to_string_lossy()), "{told}");
        fs::create_dir(directory.path().join("sbin")).unwrap();
        fs::write(directory.path().join("sbin/init"), "").unwrap();
        let told = faults(directory.path()).join("\n");
        assert!(!told.contains("is no image"), "{told}");
        assert!(faults(Path::new("relative")).join("\n").contains("is no image"));
    }

    #[test]
    fn a_labs_control_group_is_named_after_its_directory() {
        let home = Path::new("/tmp/natha-lab-AbCdEf/disks/i-0123456789abcdef0");
        assert_eq!(group(home), Path::new("natha-lab-AbCdEf"));
    }
}
