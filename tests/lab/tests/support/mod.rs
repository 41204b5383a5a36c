//! Serving a simulated EC2 on loopback and driving it with a Python program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use natha_lab::ec2::{SharedWorld, Timings, World, WorldSettings, serve};
use tokio::net::TcpListener;
use tokio::process::Command;

/// Longest that a program may run.
const PATIENCE: Duration = Duration::from_mins(4);

/// A served world.
pub(crate) struct Served {
    /// The world behind the socket.
    pub(crate) world: SharedWorld,
    /// Where it is served.
    pub(crate) endpoint: String,
    _server: tokio::task::JoinSet<std::io::Result<()>>,
}

/// Serves a fresh world whose states take a tenth of a second and whose clock starts at `epoch`.
pub(crate) async fn serve_world(epoch: SystemTime) -> Served {
    let timings = Timings {
        start_ms: 100,
        stop_ms: 100,
        force_ms: 50,
        terminate_ms: 100,
        status_ms: 0,
        ..Timings::default()
    };
    let settings = WorldSettings { timings, buckets: false, epoch, ..Default::default() };
    let world = SharedWorld::new(World::new(settings));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("the listener is bound"));
    let began = Instant::now();
    let clock: natha_lab::ec2::Clock = Arc::new(move || began.elapsed());
    let mut server = tokio::task::JoinSet::new();
    server.spawn(serve(world.clone(), listener, clock));
    Served { world, endpoint, _server: server }
}

/// Runs a Python program of this directory and returns what it printed.
pub(crate) async fn python(program: &str, arguments: &[&str]) -> String {
    let interpreter = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut command = Command::new(&interpreter);
    command
        .arg(PathBuf::from(&directory).join(program))
        .args(arguments)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{program} took more than {PATIENCE:?}"))
        .unwrap_or_else(|error| {
            panic!("cannot run {interpreter} (set NATHA_PYTHON to a Python with boto3): {error}")
        });
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} failed\n{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
