//! What this process may do, and giving it up.

use std::{fs, io};

/// `CAP_NET_ADMIN`, by its number in `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

/// Whether this process has `CAP_NET_ADMIN`. True if that cannot be read: a change that is not
/// allowed then fails.
#[must_use]
pub(crate) fn may_change_the_network() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return true };
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective.is_none_or(|mask| mask >> CAP_NET_ADMIN & 1 == 1)
}

/// Takes from the calling thread, and from the programs that it starts, the capabilities that the
/// service manager gave this process (ambient ones, capabilities(7)), and every way to gain some
/// (`PR_SET_NO_NEW_PRIVS`, prctl(2)). The thread itself keeps what it has. Other threads are not
/// concerned.
///
/// # Errors
/// If the kernel refuses. The programs must then not be started.
pub(crate) fn renounce() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_renounces_for_itself_alone() {
        let status = || fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = |status: &str, name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap().trim().to_owned()
        };
        let before = line(&status(), "NoNewPrivs:");
        let within = std::thread::spawn(move || {
            renounce().unwrap();
            status()
        });
        let within = within.join().unwrap();
        assert_eq!(line(&within, "NoNewPrivs:"), "1");
        assert_eq!(line(&within, "CapAmb:"), "0000000000000000");
        assert_eq!(line(&status(), "NoNewPrivs:"), before);
    }
}
