//! A lab whose internet has the rest of AWS, a package of natha, and an AWS CLI that is quick.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::{Lab, Output, Spec};
use tempfile::TempDir;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// Where the other services of AWS answer in the lab's internet.
pub(crate) const SERVICES: &str = "http://127.0.0.1:5000";
/// The port at which the package is.
const FILES: &str = "8080";
/// How long a program may run.
pub(crate) const WHOLE: Duration = Duration::from_mins(9);
/// How long the services may take to start.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Python with the AWS CLI, boto3 and moto.
pub(crate) fn python() -> String {
    std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// A lab, and what runs in its internet.
pub(crate) struct Services {
    pub(crate) lab: Lab,
    pub(crate) directory: TempDir,
    /// The address of the package, a `.deb`, and its SHA-256 sum.
    pub(crate) package: String,
    pub(crate) sum: String,
}

impl Services {
    pub(crate) fn start(spec: &Spec) -> Self {
        let lab = Lab::start(spec).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let sum = make_package(&lab, directory.path());
        let here = directory.path().to_str().unwrap();
        let (python, host) = (python(), INTERNET_HOST.to_string());
        let moto = [&*python, "-m", "moto.server", "-H", "127.0.0.1", "-p", "5000"];
        lab.spawn("internet", &moto).unwrap();
        let files = [&*python, "-m", "http.server", FILES, "--bind", &host, "--directory", here];
        lab.spawn("internet", &files).unwrap();
        let socket = directory.path().join("awsd");
        let daemon = repository().join("tests/trial/awsd.py");
        let daemon = [&*python, daemon.to_str().unwrap(), socket.to_str().unwrap()];
        lab.spawn("internet", &daemon).unwrap();
        let package = format!("http://{host}:{FILES}/natha.deb");
        let asked = format!("curl -sf {SERVICES}/moto-api/data.json && curl -sfI {package}");
        let end = Instant::now() + PATIENCE;
        while lab.sh("internet", &asked).is_err() || !socket.exists() {
            assert!(Instant::now() < end, "the services do not answer");
        }
        Self { lab, directory, package, sum }
    }

    /// Runs a program in the internet, as the account's owner.
    pub(crate) fn run(&self, argv: &[&str]) -> Output {
        let natha = Path::new(NATHA).parent().unwrap().display();
        let tools = repository().join("tests/trial");
        let path = format!("PATH={}:/usr/sbin:/usr/bin:/bin:{natha}", tools.display());
        let socket = format!("AWSD_SOCKET={}", self.directory.path().join("awsd").display());
        let services = ["IAM", "SSM", "PRICING"];
        let services = services.map(|name| format!("AWS_ENDPOINT_URL_{name}={SERVICES}"));
        let mut all = vec!["env", &path, &socket];
        all.extend(services.iter().map(String::as_str));
        all.extend(argv);
        self.lab.exec("internet", &all, WHOLE).unwrap()
    }
}

/// Makes a package of the natha under test and of a stand-in for systemd; its sum.
fn make_package(lab: &Lab, directory: &Path) -> String {
    let tree = directory.join("tree");
    for part in ["DEBIAN", "usr/bin", "usr/local/bin"] {
        fs::create_dir_all(tree.join(part)).unwrap();
    }
    let control = "Package: natha\nVersion: 0\nArchitecture: all\n\
                   Maintainer: the tests <tests@example.test>\nDescription: natha under test\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    // Instances see the files of this machine.
    symlink(NATHA, tree.join("usr/bin/natha")).unwrap();
    let systemctl = tree.join("usr/local/bin/systemctl");
    fs::copy(repository().join("tests/trial/systemctl"), &systemctl).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let build = format!(
        "cd {} && dpkg-deb --root-owner-group --build tree natha.deb >&2 && sha256sum natha.deb",
        directory.display()
    );
    let printed = lab.sh("internet", &build).unwrap();
    printed.split(' ').next().unwrap().to_owned()
}
