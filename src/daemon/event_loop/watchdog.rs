//! Feeds the service manager's watchdog from the loop itself. A log that is full or a notifier that
//! waits must not end a loop that turns.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The watchdog of the service manager that started this program.
#[derive(Debug)]
pub(crate) struct Watchdog {
    socket: UnixDatagram,
    manager: SocketAddr,
    /// How often it wants to be fed.
    pub(super) every: Duration,
}

impl Watchdog {
    /// The watchdog that the environment names; none if there is none or it cannot be reached.
    pub(crate) fn from_environment() -> Option<Self> {
        let every = sd_notify::watchdog_enabled()? / 2;
        Self::at(&std::env::var_os("NOTIFY_SOCKET")?, every)
    }

    /// The watchdog at this socket: a path, or an abstract name after `@`.
    fn at(name: &OsStr, every: Duration) -> Option<Self> {
        let manager = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name).ok()?,
            None => SocketAddr::from_pathname(name).ok()?,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, manager, every })
    }

    /// Says that the loop turns; false if the service manager has no room now. Never waits.
    pub(super) fn feed(&self) -> bool {
        self.socket.send_to_addr(b"WATCHDOG=1", &self.manager).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_that_does_not_read_delays_nothing_and_is_fed_again_when_it_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let watchdog = Watchdog::at(path.as_os_str(), Duration::from_secs(1)).unwrap();
        let fed = (0..100_000).take_while(|_| watchdog.feed()).count();
        assert!(fed > 0 && fed < 100_000, "{fed}: the socket is full, and nothing waited");
        let mut text = [0; 64];
        for _ in 0..fed {
            let length = manager.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"WATCHDOG=1");
        }
        assert!(watchdog.feed());
    }

    #[test]
    fn an_abstract_name_is_understood() {
        let name = format!("natha-watchdog-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let watchdog = Watchdog::at(OsStr::new(&format!("@{name}")), Duration::ZERO).unwrap();
        assert!(watchdog.feed());
        assert_eq!(manager.recv(&mut [0; 64]).unwrap(), b"WATCHDOG=1".len());
    }
}
