//! Which connections survive a move of their group: the same connections and the same moves for
//! each way to keep connections. `docs/connections.md` shows the results side by side.

mod conntrackd;
mod tier;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

pub(crate) use conntrackd::{FLOATING, start as start_conntrackd};
pub use tier::Tier;

use crate::applications::{self, Application, Session};
use crate::egress::{Ended, Load};
use crate::meter::mixed::{self, Kind, Mix};
use crate::scene::Scene;
use crate::spec::Ec2Spec;

/// From a move to the last message of each connection.
const CALM: Duration = Duration::from_secs(5);
/// The source port of the first connection; those of the next move follow.
const FIRST_PORT: u16 = 8_000;
/// The nodes: the home of the group, and its heir.
const NODES: [&str; 2] = ["nat-a", "nat-b"];

/// How a group moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// The holder hands the group over on request.
    HandOver,
    /// The heir hands it back on request.
    HandBack,
    /// The holder's kernel panics.
    HardKill,
}

impl Move {
    /// All of them, in the order in which a trial makes them: a kill comes last.
    pub const ALL: [Self; 3] = [Self::HandOver, Self::HandBack, Self::HardKill];

    /// The node that has the group before, and the one that has it afterwards.
    const fn nodes(self) -> [&'static str; 2] {
        let [home, heir] = NODES;
        match self {
            Self::HandOver | Self::HardKill => [home, heir],
            Self::HandBack => [heir, home],
        }
    }
}

/// A cluster of one tier, and the load that each move meets.
#[derive(Debug)]
pub struct Trial {
    tier: Tier,
    scene: Scene,
    flows: u16,
    /// The moves so far.
    moves: u16,
}

/// What became of the connections in a move.
#[derive(Debug)]
pub struct Staged {
    /// Those of the lab's meter.
    pub load: Ended,
    /// The applications whose session went on.
    pub applications: Vec<Application>,
}

impl Trial {
    /// Starts a cluster. `flows` is how many connections each of two private hosts opens for a
    /// move.
    ///
    /// # Errors
    /// When the lab does not start, or the tier is not complete in time.
    pub fn start(tier: Tier, natha: impl Into<PathBuf>, ec2: Ec2Spec, flows: u16) -> Result<Self> {
        let mut spec = tier.spec(natha.into());
        spec.ec2 = ec2;
        let scene = Scene::start(&spec)?;
        let trial = Self { tier, scene, flows, moves: 0 };
        if tier == Tier::Conntrackd {
            for (own, peer) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
                start_conntrackd(&trial.scene, own, peer)?;
            }
        }
        trial.wait_served(NODES[0])?;
        applications::start_servers(&trial.scene)?;
        Ok(trial)
    }

    /// Opens connections, moves the group, and closes the connections.
    ///
    /// # Errors
    /// When the move does not come about in time.
    pub fn stage(&mut self, event: Move) -> Result<Staged> {
        let [from, to] = event.nodes();
        let number = usize::from(self.moves);
        let open =
            |application| Ok((application, Session::open(&self.scene, application, number)?));
        let sessions = Application::ALL.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        let load = Load::open(&self.scene, &mix(self.flows, self.first_port()))?;
        self.wait_replicated(from, to)?;
        self.scene.wait_copies_ended(&NODES)?;
        if event == Move::HardKill {
            self.scene.panic(from)?;
        } else {
            self.scene.hand_over(from, self.tier.group(), to)?;
        }
        self.scene.wait_route(0, to)?;
        self.wait_served(to)?;
        self.scene.pass(CALM);
        let mut applications = Vec::new();
        for (application, session) in sessions {
            if session.lives("moved", mixed::PATIENCE)? {
                applications.push(application);
            }
        }
        let load = load.close(&self.scene)?;
        self.moves += 1;
        Ok(Staged { load, applications })
    }

    /// The source port of the first connection for the next move: the kernel keeps those that were
    /// closed for a minute.
    fn first_port(&self) -> u16 {
        FIRST_PORT + self.moves * self.flows
    }

    /// Waits until the private hosts reach the internet by the node and by the address that the
    /// group has there.
    fn wait_served(&self, node: &str) -> Result<()> {
        if self.tier != Tier::Nothing {
            return self.scene.wait_seen("host-a", self.scene.public("out-a")?);
        }
        let own = self.scene.host(node)?.public;
        self.scene.wait_for(|| Ok(self.scene.seen("host-a").is_some_and(|by| own.contains(&by))))
    }

    /// Waits until the heir has every connection, as far as the tier replicates them.
    fn wait_replicated(&self, owner: &str, heir: &str) -> Result<()> {
        match self.tier {
            Tier::Nothing | Tier::EgressIp => Ok(()),
            Tier::Replication => {
                self.scene.wait_replicated(owner, heir, 2 * usize::from(self.flows))
            }
            Tier::Conntrackd => {
                let ports = self.first_port()..self.first_port() + self.flows;
                conntrackd::wait_inserted(&self.scene, heir, &ports, 2 * usize::from(self.flows))
            }
        }
    }
}

/// Connections of one host. Of 100 of them, 16 are busy, in 12 the server sends, 11 are UDP, and 2
/// are long downloads, of which there are 20 at most; the others are idle. New ones are opened
/// every 20 ms.
#[must_use]
pub fn mix(flows: u16, first_port: u16) -> Mix {
    let [busy, server_first, datagrams] =
        [16_u32, 12, 11].map(|percent| u32::from(flows) * percent / 100);
    let [busy, server_first, datagrams] =
        [busy, server_first, datagrams].map(|count| u16::try_from(count).unwrap_or(u16::MAX));
    let downloads = (flows / 50).clamp(1, 20);
    let idle = flows.saturating_sub(busy + server_first + datagrams + downloads);
    Mix {
        flows: [
            (Kind::Idle, idle),
            (Kind::Busy, busy),
            (Kind::ServerFirst, server_first),
            (Kind::Download, downloads),
            (Kind::Datagrams, datagrams),
        ]
        .into(),
        interval_ms: 500,
        download_rate: 100_000,
        source_ports: Some(first_port),
        newcomers_ms: Some(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_as_many_connections_as_asked_for_and_some_of_each_kind() {
        for flows in [50, 250, 2_500] {
            let mix = mix(flows, 8_000);
            assert_eq!(mix.flows.values().sum::<u16>(), flows);
            assert_eq!(mix.flows.len(), Kind::ALL.len());
            assert!(mix.flows.values().all(|count| *count > 0), "{mix:?}");
            assert!(mix.flows[&Kind::Download] <= 20);
        }
    }

    #[test]
    fn the_ports_of_all_moves_stay_below_those_that_the_kernel_chooses() {
        let moves = u16::try_from(Move::ALL.len()).unwrap();
        assert!(FIRST_PORT + moves * 2_500 < 32_768);
    }

    #[test]
    fn a_group_is_handed_back_to_where_it_was_handed_over_from() {
        let [from, to] = Move::HandOver.nodes();
        assert_eq!(Move::HandBack.nodes(), [to, from]);
        assert_eq!(Move::ALL.last(), Some(&Move::HardKill), "nothing comes after a kill");
    }
}
