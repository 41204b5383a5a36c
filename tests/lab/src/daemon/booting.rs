//! What takes the kernel its time, done away from the loop: boots, NAT gateways, and their ends.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::guest::init::Boot;
use crate::guest::machine::{Halt, Machine};
use crate::net::fabric::{Fabric, Plug};
use crate::net::nat_gateway;
use crate::net::netns::Netns;

/// A boot that is over.
pub(super) struct Booted {
    /// The instance or NAT gateway.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) started: Result<Started>,
}

/// An instance, the number of its boot, and how that ended.
pub(super) type Halted = (String, u64, Halt);

/// What a boot made.
pub(super) struct Started {
    pub(super) plugs: Vec<Plug>,
    pub(super) netns: Netns,
    pub(super) made: Made,
}

/// What runs in the namespace now that did not before.
pub(super) enum Made {
    /// An instance, and the number of its boot.
    Machine(Machine, u64),
    NatGateway,
    /// Nothing: an instance that runs has got another interface.
    Nothing,
}

/// Plugs interfaces in and boots, where there is something to boot.
pub(super) fn start(boot: Option<&Boot>, netns: Option<Netns>, plugs: &[Plug]) -> Result<Started> {
    let netns = netns.map_or_else(Netns::new, Ok)?;
    for plug in plugs {
        plug.insert(&netns)?;
    }
    let made = match boot {
        Some(boot) => Made::Machine(Machine::boot(boot, &netns)?, boot.boot),
        None => Made::Nothing,
    };
    Ok(Started { plugs: plugs.to_vec(), netns, made })
}

/// Plugs a NAT gateway in.
pub(super) fn open_gateway(plugs: &[Plug]) -> Result<Started> {
    let netns = Netns::new()?;
    for plug in plugs {
        plug.insert(&netns)?;
    }
    nat_gateway::open(&netns)?;
    Ok(Started { plugs: plugs.to_vec(), netns, made: Made::NatGateway })
}

/// Ends instances and removes their links, and their disks where one is named.
pub(super) fn leave(gone: Vec<(Option<Machine>, Option<PathBuf>)>, links: &[String]) -> Result<()> {
    for (machine, disk) in gone {
        machine.into_iter().for_each(Machine::kill);
        if let Some(disk) = disk {
            std::fs::remove_dir_all(&disk)
                .with_context(|| format!("cannot remove {}", disk.display()))?;
        }
    }
    if links.is_empty() { Ok(()) } else { Fabric::remove_links(links) }
}
