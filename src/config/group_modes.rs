//! Settings of a group that are one of a few words.

use serde::{Serialize, Serializer};

use super::values::{Range, Value};

/// What new connections of private hosts do while their group's holder does not have its egress
/// IPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EgressMode {
    /// They leave by the holder's own public address.
    #[default]
    Eager,
    /// They wait.
    Strict,
}

impl EgressMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Value for EgressMode {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        match text {
            "eager" => Ok(Self::Eager),
            "strict" => Ok(Self::Strict),
            _ => Err(format!("`{text}` is not a mode")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Eager => "eager".to_owned(),
            Self::Strict => "strict".to_owned(),
        }
    }
}

impl Serialize for EgressMode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.show())
    }
}

/// How the holder of a group accepts packets to its virtual IPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// Each is an address of `lo`: services that listen on all addresses, or on it, answer.
    Lo,
    /// They are redirected to the primary address of the interface they arrive on, port by port.
    Redirect,
    /// TCP and UDP are redirected to this port of that address.
    Dnat(u16),
    /// natha does nothing: keepalived or a static address does it.
    Off,
}

impl Local {
    /// Stands in while a group is read; `file/groups.rs` puts the default for the group in.
    pub(super) const fn unset() -> Self {
        Self::Off
    }
}

impl Value for Local {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        match text {
            "lo" => Ok(Self::Lo),
            "redirect" => Ok(Self::Redirect),
            "off" => Ok(Self::Off),
            _ => {
                let port = text.strip_prefix("dnat:").and_then(|port| port.parse().ok());
                port.filter(|port| *port > 0)
                    .map(Self::Dnat)
                    .ok_or_else(|| format!("`{text}` is not a mode"))
            }
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Lo => "lo".to_owned(),
            Self::Redirect => "redirect".to_owned(),
            Self::Dnat(port) => format!("dnat:{port}"),
            Self::Off => "off".to_owned(),
        }
    }
}

impl Serialize for Local {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.show())
    }
}
