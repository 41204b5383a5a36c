//! The internet host's end of the flows.

use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};

use super::streams::{Request, answer, give};
use super::{PORT, datagrams};

/// Starts the server on a thread of its own, in the network namespace of the calling thread.
///
/// # Errors
/// When its ports cannot be opened.
pub(crate) fn start() -> Result<()> {
    let runtime = runtime()?;
    let opened = runtime.block_on(async {
        Ok::<_, Error>((
            TcpListener::bind(("0.0.0.0", PORT)).await?,
            UdpSocket::bind(("0.0.0.0", PORT)).await?,
        ))
    });
    let (streams, datagrams) = opened?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::join!(accept(streams), datagrams::answer(datagrams));
        });
    });
    Ok(())
}

/// A runtime of one thread, with as many descriptors as the kernel allows.
pub(super) fn runtime() -> Result<Runtime> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Builder::new_current_thread().enable_all().build()
}

async fn accept(listener: TcpListener) {
    // An error is about one connection, or a lack of descriptors: those that are open go on.
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let IpAddr::V4(seen) = stream.peer_addr()?.ip() else {
        return Err(Error::new(ErrorKind::Unsupported, "not IPv4"));
    };
    let mut request = [0; Request::OCTETS];
    stream.read_exact(&mut request).await?;
    stream.write_u32(seen.to_bits()).await?;
    let request = Request::decode(request);
    match request.push {
        Some(push) => give(stream, request.flow, push).await,
        None => answer(stream, request.flow).await,
    }
}
