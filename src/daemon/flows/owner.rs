//! The owner's side: from the kernel's news and dumps to a stream to each heir.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local, yield_now};
use tokio::time::timeout;

use super::pause;
use super::pipe::Pipe;
use super::shared::Shared;
use crate::daemon::clock;
use crate::flows::{Entry, Role, Sender};
use crate::kernel::conntrack::{ConntrackError, EventsOn, Listener, Requests};
use crate::types::{InstanceId, Member, Time};

/// Bytes that are made at once for the socket.
const ROOM: usize = 64 << 10;
/// The shortest wait for a deadline of the sender that something else holds up, such as a dump of
/// another heir's.
const LEAST_WAIT: Duration = Duration::from_millis(5);
/// Time limit of a connection's handshake.
const CONNECT: Duration = Duration::from_secs(2);
/// An heir that has not answered for so long is gone. Each second it has something to answer.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// The pause between two attempts to connect doubles from the first value to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// The pause before the kernel is asked again for its news.
const NEWS_RETRY: Duration = Duration::from_secs(5);
/// Connections of a dump that are handed over at once, and how many such parts may wait.
const PART: usize = 512;
const PARTS: usize = 4;

/// Passes the kernel's news to every sender, for as long as the runtime lives.
pub(super) async fn news(shared: Rc<Shared>) {
    const WHAT: &str = "news";
    loop {
        let error = match listen(&shared).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        shared.set_fault(
            WHAT,
            Some(format!("no news of connections from the kernel ({error}); give CAP_NET_ADMIN")),
        );
        pause(NEWS_RETRY).await;
        shared.set_fault(WHAT, None);
    }
}

async fn listen(shared: &Shared) -> io::Result<std::convert::Infallible> {
    // In a pause, connections are inserted and opened that are to announce their changes later.
    let _events_on = EventsOn::open()?;
    loop {
        let (_listening, ends) = shared.pauses.listen().await;
        read_news(shared, ends).await?;
    }
}

/// Passes the kernel's news on until `ends`.
async fn read_news(shared: &Shared, ends: impl Future<Output = ()>) -> io::Result<()> {
    let mut listener = Listener::open()?;
    // Nothing is known of what happened before.
    let now = clock::now();
    shared.each_sender(|sender| sender.missed(now));
    let mut changes = Vec::new();
    let mut ends = pin!(ends);
    loop {
        changes.clear();
        tokio::select! {
            result = listener.next(&mut changes) => result?,
            () = &mut ends => return Ok(()),
        }
        let now = clock::now();
        shared.each_sender(|sender| {
            for change in &changes {
                sender.change(change, now);
            }
        });
        yield_now().await;
    }
}

/// Reads a dump of the kernel's table whenever a sender wants one, one at a time.
pub(super) async fn dumps(shared: Rc<Shared>) {
    loop {
        shared.dump_wanted.notified().await;
        let mut takers = Vec::new();
        let now = clock::now();
        for (heir, link) in shared.links.borrow_mut().iter_mut() {
            if link.sender.wants_dump(now) {
                link.sender.begin_dump();
                takers.push(heir.clone());
            }
        }
        if takers.is_empty() {
            continue;
        }
        let result = dump(&shared, &takers).await;
        let now = clock::now();
        with_senders(&shared, &takers, |sender| match result {
            Ok(()) => sender.end_dump(now),
            Err(_) => sender.fail_dump(now),
        });
        let fault = result.err().map(|error| format!("cannot read the connections: {error:#}"));
        shared.set_fault("dump", fault);
    }
}

/// Hands a dump to these heirs' senders. The kernel's part of the work blocks, in a thread of its
/// own.
async fn dump(shared: &Shared, takers: &[InstanceId]) -> anyhow::Result<()> {
    let (parts, mut received) = mpsc::channel::<Vec<Entry>>(PARTS);
    let reader = spawn_blocking(move || read(&parts));
    while let Some(part) = received.recv().await {
        let now = clock::now();
        with_senders(shared, takers, |sender| {
            for entry in &part {
                sender.dumped(entry, now);
            }
        });
        yield_now().await;
    }
    Ok(reader.await.context("the dump was interrupted")??)
}

fn read(parts: &mpsc::Sender<Vec<Entry>>) -> Result<(), ConntrackError> {
    let mut part = Vec::with_capacity(PART);
    Requests::open()?.dump(|entry| {
        part.push(entry);
        if part.len() == PART {
            // The receiver is gone only if the monitor ends.
            let _ = parts.blocking_send(std::mem::take(&mut part));
        }
    })?;
    let _ = parts.blocking_send(part);
    Ok(())
}

fn with_senders(shared: &Shared, heirs: &[InstanceId], mut change: impl FnMut(&mut Sender)) {
    let mut links = shared.links.borrow_mut();
    for heir in heirs {
        if let Some(link) = links.get_mut(heir) {
            change(&mut link.sender);
            link.wake.notify_one();
        }
    }
}

/// Keeps a task for each heir.
#[derive(Debug, Default)]
pub(super) struct Links {
    tasks: BTreeMap<InstanceId, (Member, JoinHandle<()>)>,
}

impl Links {
    /// Starts and ends tasks as the heirs are now.
    pub(super) fn update(&mut self, shared: &Rc<Shared>) {
        let heirs = shared.heirs();
        self.tasks.retain(|id, (member, task)| {
            let stays = heirs.get(id).is_some_and(|heir| heir.address == member.address);
            if !stays {
                task.abort();
                shared.links.borrow_mut().remove(id);
            }
            stays
        });
        for (id, heir) in heirs {
            self.tasks.entry(id.clone()).or_insert_with(|| {
                let link = shared.new_link(clock::now());
                let (wake, redial) = (link.wake.clone(), link.redial.clone());
                shared.links.borrow_mut().insert(id.clone(), link);
                let task = spawn_local(keep(shared.clone(), heir.clone(), wake, redial));
                (heir, task)
            });
        }
    }
}

/// Keeps a stream to an heir open.
async fn keep(shared: Rc<Shared>, heir: Member, wake: Rc<Notify>, redial: Rc<Notify>) {
    let mut pause = RETRY.0;
    loop {
        let begun = clock::now();
        // A handshake with a host that boots meanwhile may hang.
        let connected = tokio::select! {
            connected = connect(&shared, &heir) => connected,
            () = redial.notified() => continue,
        };
        let end = match connected {
            Ok(stream) => converse(&shared, &heir.id, &wake, stream).await,
            Err(error) => Err(error),
        };
        let Err(error) = end;
        let now = clock::now();
        if let Some(link) = shared.links.borrow_mut().get_mut(&heir.id) {
            link.sender.close();
            let since = link.fault.as_ref().map_or(now, |(_, since)| *since);
            link.fault = Some((format!("{error:#}"), since));
        }
        pause = if now.since(begun) > SILENCE { RETRY.0 } else { (pause * 2).min(RETRY.1) };
        let _ = timeout(pause, redial.notified()).await;
    }
}

async fn connect(shared: &Shared, heir: &Member) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("no TCP socket")?;
    // The heir knows its members by their addresses.
    socket
        .bind(SocketAddrV4::new(shared.identity.address, 0).into())
        .with_context(|| format!("cannot send from {}", shared.identity.address))?;
    let address = SocketAddrV4::new(heir.address, shared.identity.port);
    let connected = timeout(CONNECT, socket.connect(address.into())).await;
    let hint = || format!("cannot connect to {address} (TCP); let the security groups pass it");
    match connected {
        Ok(stream) => stream.with_context(hint),
        Err(_) => bail!("{}: no answer within {} s", hint(), CONNECT.as_secs()),
    }
}

/// Sends until the stream ends.
async fn converse(
    shared: &Shared,
    heir: &InstanceId,
    wake: &Notify,
    stream: TcpStream,
) -> anyhow::Result<std::convert::Infallible> {
    let mut pipe = Pipe::new(stream);
    let opened = clock::now();
    let channel = shared.channel(Role::Owner, heir)?;
    with_sender(shared, heir, |sender| sender.open(channel, opened))?;
    loop {
        let due = turn(shared, heir, &mut pipe, opened)?;
        let wait = due.since(clock::now()).max(LEAST_WAIT);
        let event = async {
            tokio::select! {
                bytes = pipe.exchange() => bytes.map(<[u8]>::to_vec),
                () = wake.notified() => Ok(Vec::new()),
            }
        };
        let Ok(bytes) = timeout(wait, event).await else { continue };
        let bytes = bytes.context("the stream has ended")?;
        if bytes.is_empty() {
            continue;
        }
        let now = clock::now();
        let (taken, refusal) = with_sender(shared, heir, |sender| {
            let taken = sender.receive(&bytes, now);
            let refusal = taken.is_err().then(|| sender.refusal()).flatten();
            (taken, refusal)
        })?;
        if let Err(fault) = taken {
            pipe.say_goodbye(refusal);
            return Err(fault.into());
        }
    }
}

/// Queues what is to be sent. Returns when the sender has something to do without further news.
fn turn(shared: &Shared, heir: &InstanceId, pipe: &mut Pipe, opened: Time) -> anyhow::Result<Time> {
    let now = clock::now();
    let mut links = shared.links.borrow_mut();
    let link = links.get_mut(heir).context("it is no heir any more")?;
    let heard = link.sender.progress().map(|progress| progress.heard);
    if now.since(heard.unwrap_or(opened).max(opened)) > SILENCE {
        bail!("the peer has not answered for {} s", SILENCE.as_secs());
    }
    if heard.is_some() {
        link.fault = None;
    }
    if link.sender.wants_dump(now) {
        shared.dump_wanted.notify_one();
    }
    if pipe.is_drained() {
        pipe.queue(&link.sender.output(now, ROOM));
    }
    Ok(link.sender.due().unwrap_or(now + SILENCE))
}

fn with_sender<T>(
    shared: &Shared,
    heir: &InstanceId,
    change: impl FnOnce(&mut Sender) -> T,
) -> anyhow::Result<T> {
    let mut links = shared.links.borrow_mut();
    let link = links.get_mut(heir).context("it is no heir any more")?;
    Ok(change(&mut link.sender))
}
