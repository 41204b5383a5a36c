//! Whether amazon-ec2-net-utils, which Amazon Linux and Debian's images for EC2 have, refreshes the
//! interfaces of this host every minute.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::doctor::{Fact, Gap};

/// Where systemd finds units; the first place counts (systemd.unit(5)).
const PLACES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The timer of an interface, and the service that it starts.
const UNITS: [&str; 2] = ["refresh-policy-routes@.timer", "refresh-policy-routes@.service"];

/// Additions to the service.
const ADDITIONS: &str = "refresh-policy-routes@.service.d";

/// Whether both units are installed, none is masked, and no condition keeps the service from
/// running while natha is installed, on the system below `root`. With `pre`, natha will be.
pub(super) fn is_on(root: &Path, pre: bool) -> Fact<bool> {
    look(root, pre).map_err(|error| Gap::new(format!("cannot read systemd's units: {error}")))
}

fn look(root: &Path, pre: bool) -> io::Result<bool> {
    for unit in UNITS {
        if !is_there(root, unit)? {
            return Ok(false);
        }
    }
    Ok(!is_skipped(root, pre)?)
}

/// Whether a unit is installed and not masked, which an empty file does, or a link to `/dev/null`.
fn is_there(root: &Path, unit: &str) -> io::Result<bool> {
    for place in PLACES {
        match fs::read(root.join(place).join(unit)) {
            Ok(text) => return Ok(!text.is_empty()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether an addition to the service has it skipped because a program is there: natha.
fn is_skipped(root: &Path, pre: bool) -> io::Result<bool> {
    let skips = |line: &str| {
        let path = line.trim().strip_prefix("ConditionPathExists=!/");
        path.is_some_and(|path| pre || root.join(path).exists())
    };
    for place in PLACES {
        let files = match fs::read_dir(root.join(place).join(ADDITIONS)) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for file in files {
            let path = file?.path();
            let is_read = path.extension().is_some_and(|extension| extension == "conf");
            if is_read && fs::read_to_string(&path)?.lines().any(skips) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NATHA: &str = "usr/bin/natha";

    /// A system with the tool, as packages install it, and natha.
    fn system() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for unit in UNITS {
            put(root.path(), &format!("usr/lib/systemd/system/{unit}"), "[Unit]\n");
        }
        put(root.path(), NATHA, "");
        root
    }

    fn put(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_host_without_the_tool_refreshes_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(is_on(root.path(), false), Ok(false));
        put(root.path(), "lib/systemd/system/refresh-policy-routes@.timer", "[Timer]\n");
        assert_eq!(is_on(root.path(), false), Ok(false), "a timer of nothing");
        put(root.path(), "lib/systemd/system/refresh-policy-routes@.service", "[Unit]\n");
        assert_eq!(is_on(root.path(), false), Ok(true));
    }

    #[test]
    fn a_masked_timer_or_service_refreshes_nothing() {
        for unit in UNITS {
            let root = system();
            assert_eq!(is_on(root.path(), false), Ok(true));
            fs::create_dir_all(root.path().join("etc/systemd/system")).unwrap();
            symlink("/dev/null", root.path().join("etc/systemd/system").join(unit)).unwrap();
            assert_eq!(is_on(root.path(), false), Ok(false), "{unit}");
        }
    }

    #[test]
    fn a_service_that_is_skipped_beside_natha_refreshes_nothing() {
        let condition = "[Unit]\nConditionPathExists=!/usr/bin/natha\n";
        let root = system();
        let file = format!("etc/systemd/system/{ADDITIONS}/natha.conf");
        put(root.path(), &format!("{file}.off"), condition);
        put(root.path(), &file, "[Unit]\nConditionPathExists=/usr/bin/natha\n");
        assert_eq!(is_on(root.path(), false), Ok(true), "another condition, and another file");
        put(root.path(), &file, condition);
        assert_eq!(is_on(root.path(), false), Ok(false));
        fs::remove_file(root.path().join(NATHA)).unwrap();
        assert_eq!(is_on(root.path(), false), Ok(true), "natha is elsewhere");
        assert_eq!(is_on(root.path(), true), Ok(false), "natha is not installed yet");
    }

    #[test]
    fn the_image_has_it_skipped() {
        let root = system();
        let file = format!("usr/lib/systemd/system/{ADDITIONS}/10-natha.conf");
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("ami/rootfs").join(&file);
        put(root.path(), &file, &fs::read_to_string(image).unwrap());
        assert_eq!(is_on(root.path(), false), Ok(false));
    }
}
