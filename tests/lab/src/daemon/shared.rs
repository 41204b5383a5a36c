//! What the parts of the lab share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::Places;
use super::account::Account;
use crate::clock::Clock;
use crate::ec2::SharedWorld;
use crate::guest::machine::Place;
use crate::meter::Meters;
use crate::net::faults::NetFaults;
use crate::net::netns::Netns;
use crate::spec::Spec;

/// How many events the timeline keeps; later ones are counted only.
const TIMELINE: usize = 100_000;

/// What the parts of the lab share.
pub struct Shared {
    /// The lab's time.
    pub clock: Clock,
    /// What the lab was made from.
    pub spec: Spec,
    /// Its directories.
    pub places: Places,
    /// The simulated EC2.
    pub world: SharedWorld,
    /// The ids of what was set up.
    pub account: Account,
    /// The internet's namespace.
    pub internet: Netns,
    /// What the conductor is asked to do.
    pub orders: mpsc::Sender<Order>,
    /// The meters that run.
    pub meters: Meters,
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

/// What has happened and how it stands.
#[derive(Debug, Default)]
pub struct State {
    /// The instances, by id.
    pub hosts: BTreeMap<String, Host>,
    /// The routes in force.
    pub routes: Vec<RouteView>,
    /// The network's faults.
    pub faults: NetFaults,
    /// What happened, oldest first.
    pub timeline: Vec<Event>,
    /// What the lab itself could not do: none in a healthy lab.
    pub problems: Vec<String>,
    /// Metadata that was set by hand, by instance and path, such as a spot notice.
    pub metadata: BTreeMap<(String, String), String>,
}

/// An instance as the lab runs it.
#[derive(Debug, Clone)]
pub struct Host {
    /// What is shown of it.
    pub view: HostView,
    /// Where it is, while it runs.
    pub place: Option<Place>,
}

/// What is shown of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// Its id.
    pub instance: String,
    /// How it is.
    pub power: Power,
    /// Counts its boots.
    pub boot: u64,
    /// Its primary interface.
    pub interface: String,
    /// Its subnet.
    pub subnet: String,
    /// Its private addresses.
    pub private: Vec<Ipv4Addr>,
    /// Its public addresses.
    pub public: Vec<Ipv4Addr>,
}

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It runs.
    On,
    /// It was asked to shut down.
    ShuttingDown,
    /// Nothing runs.
    Off,
    /// Its kernel stands still.
    Frozen,
    /// Its kernel has panicked.
    Panicked,
}

/// A route in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// The subnet whose packets follow it.
    pub subnet: String,
    /// The destination.
    pub destination: String,
    /// A host's name, `internet` or `nowhere`.
    pub to: String,
}

impl RouteView {
    /// Whether it is the default route of a subnet.
    #[must_use]
    pub fn is_default_of(&self, subnet: &str) -> bool {
        self.subnet == subnet && self.destination == "0.0.0.0/0"
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since the lab began.
    pub at_ms: f64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Happening {
    /// Packets of a subnet follow another route from now on.
    Route(RouteView),
    /// A route is gone.
    RouteRemoved(RouteView),
    /// An instance's power changed.
    Power {
        /// Its name.
        host: String,
        /// How it is now.
        power: Power,
        /// Counts its boots.
        boot: u64,
    },
    /// Someone changed the network's faults.
    Faults(NetFaults),
    /// Processes of an instance were killed.
    Killed {
        /// The instance's name.
        host: String,
        /// What the processes were called.
        process: String,
        /// How many there were.
        count: usize,
    },
    /// The lab could not do something.
    Problem {
        /// What, and why.
        text: String,
    },
}

/// A change to the network's faults.
pub type FaultChange = Box<dyn FnOnce(&mut NetFaults) + Send>;

/// What the conductor can be asked to do. Each is answered when it is done.
pub enum Order {
    /// Change the network's faults.
    Faults(FaultChange, oneshot::Sender<Result<()>>),
    /// Change how an instance's kernel is: on, frozen or panicked.
    Kernel(String, Power, oneshot::Sender<Result<()>>),
    /// End the lab.
    Down(oneshot::Sender<Result<()>>),
}

impl Shared {
    /// A lab in which nothing has happened yet.
    #[must_use]
    pub fn new(
        clock: Clock,
        spec: Spec,
        places: Places,
        world: SharedWorld,
        account: Account,
        internet: Netns,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        let (version, _) = watch::channel(0);
        let state = Mutex::default();
        let meters = Meters::default();
        Self { clock, spec, places, world, account, internet, orders, meters, state, version }
    }

    /// How it stands.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something happened, and wakes whoever waits for changes.
    pub fn note(&self, what: Happening) {
        let at_ms = self.clock.now().as_secs_f64() * 1e3;
        {
            let mut state = self.state();
            if let Happening::Problem { text } = &what {
                tracing::error!("{text}");
                state.problems.push(text.clone());
            }
            if state.timeline.len() < TIMELINE {
                state.timeline.push(Event { at_ms, what });
            }
        }
        self.changed();
    }

    /// Wakes whoever waits for changes.
    pub fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Counts changes.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The console of an instance at one of its boots: a file that may not be there yet.
    #[must_use]
    pub fn console(&self, name: &str, boot: u64) -> PathBuf {
        self.places.consoles().join(format!("{name}-{boot}.log"))
    }

    /// What an instance has written to its console since its last boot; none before the first.
    #[must_use]
    pub fn written(&self, instance: &str) -> Option<Vec<u8>> {
        let host = self.host(instance).ok()?.view;
        std::fs::read(self.console(&host.name, host.boot)).ok()
    }

    /// Asks the conductor for something and waits until it is done.
    ///
    /// # Errors
    /// When it cannot be done, or the lab is ending.
    pub async fn order<F>(&self, make: F) -> Result<()>
    where
        F: FnOnce(oneshot::Sender<Result<()>>) -> Order,
    {
        let (answer, done) = oneshot::channel();
        self.orders.send(make(answer)).await.ok().context("the lab is ending")?;
        done.await.context("the lab is ending")?
    }

    /// The instance with this name or id.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<Host> {
        let state = self.state();
        let found =
            state.hosts.values().find(|host| host.view.name == name || host.view.instance == name);
        found.cloned().with_context(|| {
            let names: Vec<_> = state.hosts.values().map(|host| &*host.view.name).collect();
            format!("no host is named `{name}`: there are {}", names.join(", "))
        })
    }

    /// Where the instance with this name runs.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn place(&self, name: &str) -> Result<Place> {
        self.host(name)?.place.with_context(|| format!("{name} does not run"))
    }
}
