//! UDP flows.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::PATIENCE;
use super::content::{content, length};
use super::progress::Progress;

/// How long an answer may take. A datagram may be lost: a flow is broken when all are for
/// [`PATIENCE`].
const ANSWER: Duration = Duration::from_millis(200);

/// What precedes the content in a datagram: the flow and the number of the message.
const HEADER: usize = 12;

/// The server's address of the flow, which precedes the answer.
const SEEN: usize = 4;

/// Sends back what comes, with the address that it came from.
pub(super) async fn answer(socket: UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        // An error is about an earlier answer, such as an unreachable port.
        if let Ok((count, from)) = socket.recv_from(&mut buffer[SEEN..]).await {
            let IpAddr::V4(seen) = from.ip() else { continue };
            buffer[..SEEN].copy_from_slice(&seen.octets());
            let _ = socket.send_to(&buffer[..SEEN + count], from).await;
        }
    }
}

/// The host's end of one flow, which lasts until `stop`. Returns the addresses by which the server
/// saw it, as far as they have changed.
pub(super) async fn run(
    socket: UdpSocket,
    flow: u32,
    pace: Duration,
    mut stop: watch::Receiver<bool>,
    progress: &mut Progress,
    seen: &mut Vec<Ipv4Addr>,
) -> Result<()> {
    let mut number = 0;
    loop {
        let last = *stop.borrow();
        let answered = async {
            loop {
                number += 1;
                let message = message(flow, number);
                // An error here is about an earlier datagram, such as an unreachable network.
                let sent = socket.send(&message).await.is_ok();
                let back = timeout(ANSWER, receive(&socket, &message)).await;
                if let (true, Ok(back)) = (sent, back) {
                    return back.map(|address| (address, message.len()));
                }
            }
        };
        let (address, octets) = timeout(PATIENCE, answered).await??;
        progress.advance(2 * octets, pace);
        if seen.last() != Some(&address) {
            seen.push(address);
        }
        if last {
            return Ok(());
        }
        let _ = timeout(pace, stop.wait_for(|stop| *stop)).await;
    }
}

fn message(flow: u32, number: u64) -> Vec<u8> {
    let length = length(number);
    let mut message = Vec::with_capacity(HEADER + length);
    message.extend_from_slice(&flow.to_be_bytes());
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(content(flow, number, length));
    message
}

/// Waits for a message to come back; earlier ones may still be on their way. Returns the address by
/// which the server saw it.
async fn receive(socket: &UdpSocket, message: &[u8]) -> Result<Ipv4Addr> {
    let mut buffer = [0; 2048];
    loop {
        let Ok(count) = socket.recv(&mut buffer).await else { continue };
        let Some((seen, back)) = buffer[..count].split_first_chunk::<SEEN>() else { continue };
        if back == message {
            return Ok(Ipv4Addr::from(*seen));
        }
        let is_earlier = back.get(..4) == message.get(..4) && back.len() > HEADER;
        if !is_earlier {
            return Err(Error::new(ErrorKind::InvalidData, "corrupted datagram"));
        }
    }
}
