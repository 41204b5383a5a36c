//! Whether systemd starts natha's units at boot.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::run::{Program, RunError};

/// Time limit of one question.
const LIMIT: Duration = Duration::from_secs(5);

/// It is there while systemd is the service manager (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// The state of each unit's file, such as `enabled` or `disabled`; empty for a unit that is not
/// installed. None where systemd is not the service manager.
///
/// # Errors
/// If systemd does not answer.
pub(crate) async fn states(units: &[&str]) -> Result<Option<BTreeMap<String, String>>, RunError> {
    if !Path::new(BOOTED).is_dir() {
        return Ok(None);
    }
    let program = Program::find("systemctl", "systemd")?;
    let mut found = BTreeMap::new();
    for unit in units {
        let args = ["show", "--property=UnitFileState", "--value", unit];
        let printed = program.run(&args, b"", LIMIT).await?;
        let state = String::from_utf8_lossy(&printed).trim().to_owned();
        found.insert((*unit).to_owned(), state);
    }
    Ok(Some(found))
}
