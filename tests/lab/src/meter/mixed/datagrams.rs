//! UDP flows.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
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

/// The address and port by which the server sees the flow, which precede the answer.
const SEEN: usize = 6;

/// Sends back what comes, with the address and port that it came from.
pub(super) async fn answer(socket: UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        // An error is about an earlier answer, such as an unreachable port.
        if let Ok((count, from)) = socket.recv_from(&mut buffer[SEEN..]).await {
            let SocketAddr::V4(seen) = from else { continue };
            buffer[..SEEN].copy_from_slice(&encode(seen));
            let _ = socket.send_to(&buffer[..SEEN + count], from).await;
        }
    }
}

/// The host's end of one flow, which lasts until `stop`. Adds the address and port by which the
/// server sees it to `seen`. A flow that gets another one is broken: for most servers it is another
/// flow.
pub(super) async fn run(
    socket: UdpSocket,
    flow: u32,
    pace: Duration,
    mut stop: watch::Receiver<bool>,
    progress: &mut Progress,
    seen: &mut Vec<SocketAddrV4>,
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
                    return back.map(|from| (from, message.len()));
                }
            }
        };
        let (from, octets) = timeout(PATIENCE, answered).await??;
        if seen.last() != Some(&from) {
            seen.push(from);
        }
        if seen.len() > 1 {
            return Err(Error::other("seen from another address or port"));
        }
        progress.advance(2 * octets, pace);
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

fn encode(seen: SocketAddrV4) -> [u8; SEEN] {
    let ([a, b, c, d], [high, low]) = (seen.ip().octets(), seen.port().to_be_bytes());
    [a, b, c, d, high, low]
}

fn decode([a, b, c, d, high, low]: [u8; SEEN]) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))
}

/// Waits for a message to come back; earlier ones may still be on their way. Returns the address
/// and port by which the server saw it.
async fn receive(socket: &UdpSocket, message: &[u8]) -> Result<SocketAddrV4> {
    let mut buffer = [0; 2048];
    loop {
        let Ok(count) = socket.recv(&mut buffer).await else { continue };
        let Some((seen, back)) = buffer[..count].split_first_chunk::<SEEN>() else { continue };
        if back == message {
            return Ok(decode(*seen));
        }
        let is_earlier = back.get(..4) == message.get(..4) && back.len() > HEADER;
        if !is_earlier {
            return Err(Error::new(ErrorKind::InvalidData, "corrupted datagram"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::runtime;
    use super::*;

    /// Sends two messages back, the second as if it had come from this port.
    async fn answer_twice(socket: UdpSocket, port: u16) {
        let mut buffer = [0; 2048];
        for second in [false, true] {
            let (count, from) = socket.recv_from(&mut buffer[SEEN..]).await.unwrap();
            let SocketAddr::V4(mut seen) = from else { panic!("{from} is not IPv4") };
            if second {
                seen.set_port(port);
            }
            buffer[..SEEN].copy_from_slice(&encode(seen));
            socket.send_to(&buffer[..SEEN + count], from).await.unwrap();
        }
    }

    #[test]
    fn a_flow_that_comes_to_have_another_port_is_broken() {
        runtime().unwrap().block_on(async {
            let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let host = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            host.connect(server.local_addr().unwrap()).await.unwrap();
            tokio::spawn(answer_twice(server, 9));
            let (_going_on, stop) = watch::channel(false);
            let (mut progress, mut seen) = (Progress::new(), Vec::new());
            let pace = Duration::from_millis(1);
            let end = run(host, 1, pace, stop, &mut progress, &mut seen).await;
            assert!(end.unwrap_err().to_string().contains("another address or port"));
            assert_eq!(seen.last().map(SocketAddrV4::port), Some(9));
        });
    }
}
