//! The slow work behind the machine's actions: calls of EC2 and Route 53, and a file.

mod executors;
mod stopped_peers;

pub(crate) use executors::{Cloud, CloudChange, CloudRead, Executors, within};
pub(crate) use stopped_peers::StoppedPeersFile;
