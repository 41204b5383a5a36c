//! Settings of the metrics.

use std::net::{Ipv4Addr, SocketAddr};

use super::values::{Range, Value};

/// Where and how the monitor gives its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where metrics and health are served.
    pub listen: Listen,
    /// How many hosts of each side the metrics name.
    pub talkers: u32,
    /// Whether the log has CloudWatch's metrics once a minute.
    pub cloudwatch: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        let listen = Listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, Listen::PORT))));
        Self { listen, talkers: 20, cloudwatch: false }
    }
}

/// The address of a listener; none if there is no listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl Listen {
    /// The default port, the one after that of the heartbeats.
    pub const PORT: u16 = 6285;
}

impl Value for Listen {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let wrong = || {
            let port = Self::PORT;
            format!("`{text}` is not an address with a port\nwrite 127.0.0.1:{port}, or off")
        };
        let address: SocketAddr = text.parse().map_err(|_| wrong())?;
        if address.port() == 0 { Err(wrong()) } else { Ok(Self(Some(address))) }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |address| address.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Listen, String> {
        Listen::read(text, Range::Words(""))
    }

    #[test]
    fn a_listener_is_shown_as_it_is_read() {
        for text in ["off", "127.0.0.1:6285", "0.0.0.0:9100", "[::1]:6285"] {
            assert_eq!(read(text).map(|listen| listen.show()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_with_a_port_is_refused_with_an_example() {
        for text in ["", "on", "6285", ":6285", "127.0.0.1", "127.0.0.1:0", "localhost:6285"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("127.0.0.1:6285") && error.contains("off"), "{error}");
        }
    }
}
