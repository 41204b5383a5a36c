//! The heir's side: accepts the members' streams and keeps what they send.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::owner::SILENCE;
use super::pause;
use super::pipe::Pipe;
use super::shared::Shared;
use crate::daemon::clock;
use crate::flows::{Receiver, Role, StreamFault};
use crate::types::InstanceId;

/// The pause before the port is opened again.
const RETRY: Duration = Duration::from_secs(5);

/// The streams that are open. They end with it.
#[derive(Debug, Default)]
struct Streams {
    tasks: JoinSet<()>,
    latest: BTreeMap<InstanceId, AbortHandle>,
}

/// Accepts streams for as long as it is polled. Each member has one: its latest.
pub(super) async fn accept(shared: Rc<Shared>) {
    const WHAT: &str = "port";
    let mut streams = Streams::default();
    loop {
        let address = SocketAddrV4::new(shared.identity.address, shared.identity.port);
        let error = match TcpListener::bind(address).await {
            Ok(listener) => {
                shared.set_fault(WHAT, None);
                serve(&shared, &listener, &mut streams).await
            }
            Err(error) => error,
        };
        shared.set_fault(WHAT, Some(format!("cannot accept streams at {address}: {error}")));
        pause(RETRY).await;
    }
}

async fn serve(
    shared: &Rc<Shared>,
    listener: &TcpListener,
    streams: &mut Streams,
) -> std::io::Error {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => return error,
        };
        let IpAddr::V4(from) = from.ip() else { continue };
        let Some(member) = member_at(shared, from) else {
            shared.strangers.set(shared.strangers.get() + 1);
            continue;
        };
        shared.note_running(&member);
        while streams.tasks.try_join_next().is_some() {}
        let task = streams.tasks.spawn_local(receive(shared.clone(), member.clone(), stream));
        if let Some(before) = streams.latest.insert(member, task) {
            before.abort();
        }
    }
}

/// The peer whose heartbeats come from this address.
fn member_at(shared: &Shared, address: Ipv4Addr) -> Option<InstanceId> {
    let members = shared.members.borrow();
    let mut found = members.iter().filter(|(_, member)| member.address == address);
    found.next().map(|(id, _)| id.clone()).filter(|id| *id != shared.identity.me)
}

async fn receive(shared: Rc<Shared>, owner: InstanceId, stream: TcpStream) {
    let Err(error) = converse(&shared, &owner, stream).await;
    let reason = format!("{error:#}");
    shared.with_held(&owner, |held| {
        if held.state.as_ref().err() != Some(&reason) {
            tracing::info!("the connections of {owner} no longer arrive: {reason}");
        }
        held.state = Err(reason);
    });
    shared.supersede();
}

/// Receives until the stream ends.
async fn converse(
    shared: &Shared,
    owner: &InstanceId,
    stream: TcpStream,
) -> anyhow::Result<std::convert::Infallible> {
    let mut pipe = Pipe::new(stream);
    let mut receiver = Receiver::new(shared.channel(Role::Heir, owner)?);
    let opened = clock::now();
    loop {
        if pipe.is_drained() {
            pipe.queue(&receiver.output());
        }
        let bytes = match timeout(SILENCE, pipe.exchange()).await {
            Ok(bytes) => bytes.context("the stream has ended")?.to_vec(),
            Err(_) => Vec::new(),
        };
        let heard = receiver.heard().unwrap_or(opened);
        if bytes.is_empty() && clock::now().since(heard) > SILENCE {
            bail!("the peer has sent nothing for {} s", SILENCE.as_secs());
        }
        if let Err(fault) = take(shared, owner, &mut receiver, &bytes) {
            pipe.say_goodbye(receiver.refusal());
            return Err(fault.into());
        }
    }
}

/// Takes in bytes.
fn take(
    shared: &Shared,
    owner: &InstanceId,
    receiver: &mut Receiver,
    mut bytes: &[u8],
) -> Result<(), StreamFault> {
    if receiver.owner().is_none() {
        receiver.greet(bytes)?;
        bytes = &[];
    }
    if receiver.owner().is_none() {
        return Ok(());
    }
    let is_resynced = shared.with_held(owner, |held| {
        let before = held.replica.counts().resyncs;
        receiver.receive(bytes, &mut held.replica, clock::now())?;
        if receiver.heard().is_some() {
            held.heard = receiver.heard();
            held.state = Ok(());
        }
        Ok::<_, StreamFault>(held.replica.counts().resyncs > before)
    })?;
    if is_resynced {
        shared.supersede();
    }
    Ok(())
}
