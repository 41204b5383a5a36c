//! Connections that are opened one after the other: how long none succeeds.

use std::collections::BTreeSet;
use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Newcomers;
use super::progress::Progress;
use super::streams::{Request, exchange, greet};

/// How long a connection may take from its SYN to its answer. The next one is tried then: a SYN is
/// repeated only after a second, which would hide shorter interruptions.
const ANSWER: Duration = Duration::from_millis(100);

/// The number of the first connection: above those of the flows.
const FIRST: u32 = 1 << 20;

/// Opens connections until `stop`. Returns what was measured, and by which addresses the server saw
/// them.
pub(super) async fn run(
    server: SocketAddr,
    pace: Duration,
    mut stop: watch::Receiver<bool>,
) -> (Newcomers, BTreeSet<Ipv4Addr>) {
    let mut found = Newcomers::default();
    let mut seen = BTreeSet::new();
    let mut progress = Progress::new();
    for flow in FIRST.. {
        found.tried += 1;
        match timeout(ANSWER, connect(server, flow)).await {
            Ok(Ok(address)) => {
                progress.advance(0, pace);
                seen.insert(address);
            }
            _ => found.failed += 1,
        }
        if *stop.borrow() {
            break;
        }
        let _ = timeout(pace, stop.wait_for(|stop| *stop)).await;
    }
    found.stall_ms = progress.longest_ms();
    (found, seen)
}

async fn connect(server: SocketAddr, flow: u32) -> Result<Ipv4Addr> {
    let mut stream = TcpStream::connect(server).await?;
    let seen = greet(&mut stream, Request { flow, push: None }).await?;
    exchange(&mut stream, flow, 0, Duration::ZERO, &mut Progress::new()).await?;
    Ok(seen)
}
