//! Talking to the peers: heartbeats over UDP and ICMP echo.

mod exchange;
mod icmp;
mod sockets;

pub(crate) use exchange::{Exchange, ExchangeParts};
pub(crate) use icmp::EchoMark;
pub(crate) use sockets::PeerSocket;
