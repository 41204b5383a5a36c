//! A long download whose checksum both ends compute.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{ENDED, PATIENCE, said, start, wait_said};
use crate::net::internet::INTERNET_HOST;
use crate::scene::Scene;

/// The server.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/applications/download.py");
const PORT: &str = "8080";
/// The client's name.
const NAME: &str = "download";

/// A download that goes on until [`Download::finish`].
#[derive(Debug)]
pub struct Download<'a> {
    scene: &'a Scene,
    /// Octets a second.
    rate: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Octets that the server sent.
    pub octets: u64,
    /// The server's checksum of them, as hexadecimal digits.
    pub sent: String,
    /// The client's checksum of what arrived.
    pub arrived: Option<String>,
    /// All that the client has printed.
    pub said: String,
}

impl Transferred {
    /// Whether all that was sent arrived.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.arrived.as_ref() == Some(&self.sent)
    }
}

impl<'a> Download<'a> {
    /// Starts a server at the internet host that sends so many octets a second, and a client on the
    /// private host.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub fn start(scene: &'a Scene, rate: u64) -> Result<Self> {
        let (target, octets) = (INTERNET_HOST.to_string(), rate.to_string());
        scene.spawn("internet", &["python3", SCRIPT, &target, PORT, &octets])?;
        let url = url("octets");
        // It tries again while the server starts, but not once the download has begun.
        let fetch = "set -o pipefail
            curl -sS --retry 50 --retry-delay 1 --retry-connrefused \"$0\" | sha256sum";
        start(scene, NAME, &["bash", "-c", fetch, &url])?;
        Ok(Self { scene, rate })
    }

    /// Lets the server end once it has sent so many octets at least, and compares the checksums.
    ///
    /// # Errors
    /// When either end does not end in time, or the server says no checksum.
    pub fn finish(self, least: u64) -> Result<Transferred> {
        // Three times what its rate allows: it stands still in each failover.
        let limit = PATIENCE + Duration::from_secs(3 * least / self.rate.max(1));
        let end = url(&format!("end/{least}"));
        let done = self.scene.exec("internet", &["curl", "-sS", &end], limit)?;
        let answer = done.stdout.trim();
        let parts = answer.split_once(' ');
        let (sent, octets) =
            parts.with_context(|| format!("the server says `{answer}`{}", done.stderr))?;
        let octets = octets.parse().with_context(|| format!("no number of octets: {octets}"))?;
        wait_said(self.scene, NAME, ENDED)?;
        let said = said(self.scene, NAME)?;
        let arrived = checksum(&said).map(str::to_owned);
        Ok(Transferred { octets, sent: sent.to_owned(), arrived, said })
    }
}

/// The checksum in what curl and sha256sum have printed.
fn checksum(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_suffix("  -"))
}

fn url(path: &str) -> String {
    format!("http://{INTERNET_HOST}:{PORT}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_found_beside_complaints() {
        let said = "curl: (7) Failed to connect\n0123abcd  -\nended 0\n";
        assert_eq!(checksum(said), Some("0123abcd"));
        assert_eq!(checksum("curl: (7) Failed to connect\nended 7\n"), None);
    }

    #[test]
    fn another_checksum_or_none_is_not_the_whole() {
        let all = |arrived: Option<&str>| Transferred {
            octets: 1,
            sent: "ab".to_owned(),
            arrived: arrived.map(str::to_owned),
            said: String::new(),
        };
        assert!(all(Some("ab")).is_whole());
        assert!(!all(Some("cd")).is_whole() && !all(None).is_whole());
    }
}
