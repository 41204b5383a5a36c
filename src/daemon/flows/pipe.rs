//! A TCP connection of a stream: what is to be sent waits here, never in a call.

use std::io;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Received at once.
const CHUNK: usize = 64 << 10;

/// A connection, what waits to be sent by it, and room for what arrives.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: TcpStream,
    pending: Vec<u8>,
    buffer: Box<[u8]>,
}

impl Pipe {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Without it, only the lag would be longer.
        let _ = stream.set_nodelay(true);
        Self { stream, pending: Vec::new(), buffer: vec![0; CHUNK].into() }
    }

    /// Whether all that was queued is sent.
    pub(super) fn is_drained(&self) -> bool {
        self.pending.is_empty()
    }

    /// Queues bytes. The caller does so only while the pipe is drained, so that what waits is
    /// bounded.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Waits until bytes were sent or have arrived, and returns those that have arrived. If the
    /// call is cancelled, nothing is lost.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn exchange(&mut self) -> io::Result<&[u8]> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let interest = if self.is_drained() { Interest::READABLE } else { both };
        let ready = self.stream.ready(interest).await?;
        if ready.is_writable() && !self.is_drained() {
            self.send_some()?;
        }
        if !ready.is_readable() {
            return Ok(&[]);
        }
        match self.stream.try_read(&mut self.buffer) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has closed it")),
            Ok(count) => Ok(self.buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(&[]),
            Err(error) => Err(error),
        }
    }

    /// Sends the reason for which the stream ends, as far as the kernel takes it at once.
    pub(super) fn say_goodbye(&mut self, refusal: Option<Vec<u8>>) {
        self.pending.extend(refusal.unwrap_or_default());
        // The peer that does not get it sees the end of the connection.
        let _ = self.send_some();
    }

    fn send_some(&mut self) -> io::Result<()> {
        match self.stream.try_write(&self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
