//! The signals that end a command: Ctrl-C, a stop by another program, a lost terminal.

use std::fmt;
use std::future::ready;
use std::io;

use nix::sys::signal as unix;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Ctrl-C. A terminal sends it to all processes in its foreground.
    Interrupt,
    Terminate,
    /// The terminal is gone, with its SSH session for example.
    HangUp,
}

impl Ending {
    /// The signal itself.
    pub(crate) const fn signal(self) -> unix::Signal {
        match self {
            Self::Interrupt => unix::Signal::SIGINT,
            Self::Terminate => unix::Signal::SIGTERM,
            Self::HangUp => unix::Signal::SIGHUP,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "terminated",
            Self::HangUp => "the session was lost",
        })
    }
}

/// Receives these signals. From its creation on, none of them ends the process.
#[derive(Debug)]
pub(crate) struct Endings {
    interrupt: Signal,
    terminate: Signal,
    /// None if the process was started with the signal ignored, as `nohup` does.
    hang_up: Option<Signal>,
}

impl Endings {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the kernel does not register a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) -> Ending {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Interrupt,
            _ = self.terminate.recv() => Ending::Terminate,
            () = hang_up => Ending::HangUp,
        }
    }

    /// One that has come already.
    pub(crate) async fn pending(&mut self) -> Option<Ending> {
        tokio::select! {
            biased;
            ending = self.next() => Some(ending),
            () = ready(()) => None,
        }
    }
}

/// Whether this process was started with SIGHUP ignored. A handler would end that.
fn ignores_hang_up() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has_hang_up(&status))
}

/// Whether SIGHUP, which is signal 1, is in the mask of ignored signals (proc(5), `SigIgn`).
fn has_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_signal_is_received_and_ends_nothing_by_itself() {
        let mut endings = Endings::listen().unwrap();
        assert_eq!(endings.pending().await, None);
        for ending in [Ending::Interrupt, Ending::Terminate, Ending::HangUp] {
            unix::raise(ending.signal()).unwrap();
            assert_eq!(endings.next().await, ending);
        }
        assert_eq!(endings.pending().await, None);
    }

    #[test]
    fn nohup_is_seen_in_the_mask_of_ignored_signals() {
        assert!(has_hang_up("Name:\tnatha\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!has_hang_up("Name:\tnatha\nSigIgn:\t0000000000001000\nSigCgt:\t1\n"));
        assert!(!has_hang_up(""));
    }
}
