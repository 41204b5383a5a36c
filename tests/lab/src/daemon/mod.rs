//! The process that is the lab: the simulated EC2, the network that follows it, the instances'
//! power, and the control socket.

pub mod account;
mod booting;
pub mod conductor;
mod extras;
pub mod shared;

use std::fs;
use std::io::{Write, stdout};
use std::net::TcpListener as Listener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::launch::READY;
use crate::net::fabric::{Fabric, METADATA};
use crate::net::internet::{EC2_API, INTERNET_HOST, RESOLVERS};
use crate::net::resolver::{self, Names, RESOLVER};
use crate::spec::Spec;
use crate::{control, ec2, imds};
use conductor::Conductor;
use shared::Shared;

/// The control socket's name in the lab's directory.
pub const SOCKET: &str = "control";
/// The specification's name in the lab's directory.
pub const SPEC: &str = "spec.json";

/// Where a lab keeps its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Places {
    /// The directory that the machine below sees: control socket and logs.
    pub outside: PathBuf,
}

impl Places {
    /// The instances' disks, on a file system in memory that ends with the lab.
    #[must_use]
    pub fn disks(&self) -> PathBuf {
        self.outside.join("disks")
    }

    /// The consoles of the instances.
    #[must_use]
    pub fn consoles(&self) -> PathBuf {
        self.outside.join("consoles")
    }
}

/// Is the lab until it is told to end. The process must be alone in fresh namespaces.
///
/// # Errors
/// When a part of it cannot be made: which one, and what is missing.
pub async fn run(places: Places) -> Result<()> {
    let clock = Clock::start();
    let text = fs::read(places.outside.join(SPEC)).context("cannot read the specification")?;
    let spec: Spec = serde_json::from_slice(&text).context("the specification is no JSON")?;
    fs::create_dir_all(places.consoles())?;
    fs::create_dir_all(places.disks())?;
    mount(Some("tmpfs"), &places.disks(), Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .context("cannot mount a file system in memory for the instances' disks")?;
    let fabric = Fabric::new().context("cannot make the VPC's router")?;
    let (world, account) = account::make(&spec, clock.now())?;
    let world = ec2::SharedWorld::new(world);
    let (orders, inbox) = mpsc::channel(64);
    let internet = fabric.internet.netns.clone();
    let shared = Arc::new(Shared::new(clock, spec, places, world, account, internet, orders));

    let consoles = Arc::downgrade(&shared);
    let read = move |instance: &str| {
        consoles.upgrade().and_then(|shared| shared.written(instance)).unwrap_or_default()
    };
    shared.world.lock().set_consoles(ec2::Consoles::new(read));

    let api = shared.internet.run(|| Ok(Listener::bind((EC2_API, 80))?));
    let api = listen(api.context("cannot listen for the EC2 API")?)?;
    let served = Arc::clone(&shared);
    tokio::spawn(async move {
        let clock = served.clock;
        ec2::serve(served.world.clone(), api, Arc::new(move || clock.now())).await
    });
    serve_names(&shared)?;
    let metadata = listen(Listener::bind((METADATA, 80)).context("cannot listen for metadata")?)?;
    tokio::spawn(imds::serve(Arc::clone(&shared), metadata));

    let mut conductor = Conductor::new(Arc::clone(&shared), fabric, inbox);
    conductor.settle().await.context("cannot start the instances")?;
    let socket = shared.places.outside.join(SOCKET);
    let socket = UnixListener::bind(&socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(control::server::serve(Arc::clone(&shared), socket, ended));
    writeln!(stdout(), "{READY}").context("cannot say that the lab is ready")?;
    conductor.run().await;
    drop(end);
    serving.await.context("the control socket's task")
}

/// Starts the resolvers of the VPC and of the internet; programs in the internet ask the latter.
fn serve_names(shared: &Arc<Shared>) -> Result<()> {
    let known = Arc::clone(shared);
    let names: Names = Arc::new(move |name| {
        let now = known.clock.now();
        known.world.lock().resolve(name, now)
    });
    resolver::serve(RESOLVER.parse().context("the resolver's address")?, Arc::clone(&names))?;
    for address in RESOLVERS.into_iter().chain([INTERNET_HOST]) {
        let names = Arc::clone(&names);
        shared.internet.run(|| resolver::serve(address, names))?;
    }
    let (own, seen) = (shared.places.outside.join("resolv.conf"), "/etc/resolv.conf");
    fs::write(&own, format!("nameserver {INTERNET_HOST}\n"))?;
    // Where there is no such file there is nothing to hide; only the lab sees this one.
    match fs::canonicalize(seen) {
        Ok(seen) => mount(Some(&own), &seen, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot put a file in the place of {}", seen.display())),
        Err(error) => {
            tracing::warn!(%error, "programs in the internet find no resolver: no {seen}");
            Ok(())
        }
    }
}

fn listen(listener: Listener) -> Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).context("a socket that tokio does not take")
}
