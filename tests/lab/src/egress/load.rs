//! Connections of two private hosts that use the same source ports, so that their node has to
//! change those of one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::Result;

use crate::meter::mixed::{Mix, Report};
use crate::scene::Scene;

/// The hosts, in the order in which they open their connections.
const HOSTS: [&str; 2] = ["host-a", "host-c"];

/// Open connections.
#[derive(Debug)]
pub struct Load {
    meters: [u64; 2],
}

/// What became of them.
#[derive(Debug)]
pub struct Ended {
    /// Those of the first host: the node kept their source ports.
    pub kept: Report,
    /// Those of the second host: the node changed them.
    pub changed: Report,
}

impl Load {
    /// Opens the same connections from each of the two hosts. Newcomers are the first host's.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(scene: &Scene, mix: &Mix) -> Result<Self> {
        let first = scene.mixed(HOSTS[0], mix.clone())?;
        let second = scene.mixed(HOSTS[1], Mix { newcomers_ms: None, ..mix.clone() })?;
        Ok(Self { meters: [first, second] })
    }

    /// Lets each connection carry its last message.
    ///
    /// # Errors
    /// When a meter has failed.
    pub fn close(self, scene: &Scene) -> Result<Ended> {
        let [first, second] = self.meters;
        Ok(Ended { kept: scene.mixed_done(first)?, changed: scene.mixed_done(second)? })
    }
}

impl Ended {
    /// Connections that were opened, newcomers aside.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.kept.flows() + self.changed.flows()
    }

    /// Those that did not live to the end.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.kept.broken() + self.changed.broken()
    }

    /// The addresses by which the internet host saw them, newcomers included.
    #[must_use]
    pub fn seen(&self) -> BTreeSet<Ipv4Addr> {
        &self.kept.seen | &self.changed.seen
    }
}
