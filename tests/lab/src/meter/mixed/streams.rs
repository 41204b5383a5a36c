//! TCP flows: their messages, and the host's end.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::content::{LONGEST, content, length};
use super::progress::Progress;
use super::{Kind, Mix, PATIENCE};

/// How many messages of a download are sent in a second: enough that their pace hides no stall.
const DOWNLOADS_A_SECOND: u32 = 50;

/// What the host asks the server for, when it has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flow: u32,
    /// The messages that the server sends of its own; without it, it sends back what it gets.
    pub(super) push: Option<Push>,
}

/// Messages of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Push {
    /// In octets.
    pub(super) length: u32,
    pub(super) pace: Duration,
}

impl Request {
    /// Its length on the wire, in octets.
    pub(super) const OCTETS: usize = 12;

    /// That of a flow of this kind.
    pub(super) fn new(flow: u32, kind: Kind, mix: &Mix) -> Self {
        let pace = Duration::from_millis(mix.interval_ms.max(1));
        let push = match kind {
            Kind::ServerFirst => Some(Push { length: 200, pace }),
            Kind::Download => {
                let longest = u32::try_from(LONGEST).unwrap_or(u32::MAX);
                let length = (mix.download_rate / DOWNLOADS_A_SECOND).clamp(1, longest);
                Some(Push { length, pace: Duration::from_secs(1) / DOWNLOADS_A_SECOND })
            }
            Kind::Idle | Kind::Busy | Kind::Datagrams => None,
        };
        Self { flow, push }
    }

    pub(super) fn encode(self) -> [u8; Self::OCTETS] {
        let (length, pace) = self.push.map_or((0, 0), |push| {
            (push.length, u32::try_from(push.pace.as_millis()).unwrap_or(u32::MAX))
        });
        let mut octets = [0; Self::OCTETS];
        let fields = [self.flow, length, pace].map(u32::to_be_bytes);
        octets.copy_from_slice(fields.as_flattened());
        octets
    }

    pub(super) fn decode(octets: [u8; Self::OCTETS]) -> Self {
        let field = |at: usize| {
            let field = octets.iter().skip(at).take(4);
            field.fold(0, |value, octet| value << 8 | u32::from(*octet))
        };
        let pace = Duration::from_millis(field(8).into());
        let push = (field(4) > 0).then_some(Push { length: field(4), pace });
        Self { flow: field(0), push }
    }
}

/// Sends one message: its length, then its octets.
pub(super) async fn send(to: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) -> Result<()> {
    let length = u32::try_from(message.len()).map_err(Error::other)?;
    // One write, and so one segment where there is room.
    let mut all = Vec::with_capacity(4 + message.len());
    all.extend_from_slice(&length.to_be_bytes());
    all.extend_from_slice(message);
    to.write_all(&all).await
}

/// Receives the next message of a flow that has carried `position` octets; how long it is. The
/// last one is empty.
pub(super) async fn receive(
    from: &mut (impl AsyncReadExt + Unpin),
    flow: u32,
    position: u64,
) -> Result<usize> {
    let length = usize::try_from(from.read_u32().await?).map_err(Error::other)?;
    if length > LONGEST {
        return Err(Error::new(ErrorKind::InvalidData, "corrupted length"));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    if message != content(flow, position, length) {
        return Err(Error::new(ErrorKind::InvalidData, "corrupted content"));
    }
    Ok(length)
}

/// Asks for what a flow carries; by which address the server sees it.
pub(super) async fn greet(stream: &mut TcpStream, request: Request) -> Result<Ipv4Addr> {
    stream.set_nodelay(true)?;
    stream.write_all(&request.encode()).await?;
    Ok(Ipv4Addr::from_bits(stream.read_u32().await?))
}

/// The host's end of one flow, which lasts until `stop`.
pub(super) async fn run(
    mut stream: TcpStream,
    kind: Kind,
    request: Request,
    pace: Duration,
    mut stop: watch::Receiver<bool>,
    progress: &mut Progress,
) -> Result<()> {
    match request.push {
        Some(push) => take(stream, request.flow, push.pace, stop, progress).await,
        None if kind == Kind::Idle => {
            exchange(&mut stream, request.flow, 0, Duration::ZERO, progress).await?;
            // An error says that the meter is gone, which ends the flow too.
            let _ = stop.wait_for(|stop| *stop).await;
            progress.resume();
            exchange(&mut stream, request.flow, 1, Duration::ZERO, progress).await
        }
        None => {
            let mut number = 0;
            // At least one message follows every stop, so that no flow is called alive unasked.
            loop {
                let last = *stop.borrow();
                exchange(&mut stream, request.flow, number, pace, progress).await?;
                if last {
                    return Ok(());
                }
                number += 1;
                let _ = timeout(pace, stop.wait_for(|stop| *stop)).await;
            }
        }
    }
}

/// Sends message `number` and waits until it comes back.
pub(super) async fn exchange(
    stream: &mut TcpStream,
    flow: u32,
    number: u64,
    pace: Duration,
    progress: &mut Progress,
) -> Result<()> {
    let position = progress.octets / 2;
    let message = content(flow, position, length(number));
    let came_back = async {
        send(stream, message).await?;
        receive(stream, flow, position).await
    };
    let length = timeout(PATIENCE, came_back).await??;
    if length != message.len() {
        return Err(Error::new(ErrorKind::InvalidData, "corrupted answer"));
    }
    progress.advance(2 * length, pace);
    Ok(())
}

/// Takes what the server sends, until its last message after `stop`.
async fn take(
    stream: TcpStream,
    flow: u32,
    pace: Duration,
    mut stop: watch::Receiver<bool>,
    progress: &mut Progress,
) -> Result<()> {
    let (mut from, mut to) = stream.into_split();
    let taking = async {
        loop {
            let next = receive(&mut from, flow, progress.octets);
            let length = timeout(PATIENCE, next).await??;
            if length == 0 {
                return Ok(());
            }
            progress.advance(length, pace);
        }
    };
    let ending = async {
        let _ = stop.wait_for(|stop| *stop).await;
        to.shutdown().await
    };
    tokio::try_join!(taking, ending).map(drop)
}

/// The server's end of a flow for which it sends on its own.
pub(super) async fn give(stream: TcpStream, flow: u32, push: Push) -> Result<()> {
    let (mut from, mut to) = stream.into_split();
    let length = usize::try_from(push.length).map_err(Error::other)?.min(LONGEST);
    let mut position = 0;
    loop {
        send(&mut to, content(flow, position, length)).await?;
        position += length as u64;
        // The host sends nothing, and ends its direction when it wants no more.
        match timeout(push.pace, from.read_u8()).await {
            Err(_) => {}
            Ok(Err(ended)) if ended.kind() == ErrorKind::UnexpectedEof => break,
            Ok(Err(problem)) => return Err(problem),
            Ok(Ok(_)) => return Err(Error::new(ErrorKind::InvalidData, "the host spoke")),
        }
    }
    send(&mut to, &[]).await
}

/// The server's end of a flow whose messages it sends back.
pub(super) async fn answer(mut stream: TcpStream, flow: u32) -> Result<()> {
    let mut position = 0;
    loop {
        let length = receive(&mut stream, flow, position).await?;
        send(&mut stream, content(flow, position, length)).await?;
        position += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_decoded_as_it_was_encoded() {
        let push = Push { length: 700, pace: Duration::from_millis(20) };
        for push in [None, Some(push)] {
            let request = Request { flow: 0x0102_0304, push };
            assert_eq!(Request::decode(request.encode()), request);
        }
    }
}
