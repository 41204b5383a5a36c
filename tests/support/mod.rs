//! Two or more monitors on one host: an EC2 from the lab, a metadata service for each node, and
//! every node's address on the loopback device of a network namespace of the test's own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use natha::status::Report;
use natha_lab::ec2::{InstanceSpec, RouteVia, SharedWorld, Timings, World, WorldSettings, serve};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// How long anything here may take at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster with one node and one route table in each of two zones.
pub(crate) struct Cluster {
    pub(crate) world: SharedWorld,
    pub(crate) nodes: Vec<Node>,
    began: Instant,
    endpoint: String,
    directory: TempDir,
    keys: (String, String),
}

/// A node: an instance, and the monitor on it while it runs.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) zone: String,
    metadata: String,
    monitor: Option<Child>,
}

impl Cluster {
    /// Builds it in a network namespace of the calling thread's own. Call from the thread of a
    /// current-thread runtime.
    pub(crate) async fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
        ip(&["link", "set", "lo", "up"]);
        // A new namespace does not forward, and a node that does not forward is not fit.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("ip_forward");
        let settings = WorldSettings {
            timings: Timings { start_ms: 0, ..Timings::default() },
            epoch: SystemTime::now(),
            ..WorldSettings::default()
        };
        let owner = settings.operators.first().expect("an operator").clone();
        let began = Instant::now();
        let world = SharedWorld::new(World::new(settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(world.clone(), listener, Arc::new(move || began.elapsed())));
        let mut cluster = Self {
            world,
            nodes: Vec::new(),
            began,
            endpoint,
            directory: tempfile::tempdir().unwrap(),
            keys: (owner.access_key_id, owner.secret_access_key),
        };
        cluster.populate().await;
        cluster
    }

    /// The time of the lab's EC2.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn populate(&mut self) {
        let now = self.now();
        let vpc = self.world.lock().create_vpc("10.0.0.0/16".parse().unwrap(), now).unwrap();
        for (n, letter) in ["a", "b"].into_iter().enumerate() {
            let zone = format!("eu-central-1{letter}");
            let address = Ipv4Addr::new(10, 0, u8::try_from(n).unwrap(), 10);
            ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
            let metadata = {
                let mut world = self.world.lock();
                let block = format!("10.0.{n}.0/24").parse().unwrap();
                let subnet = world.create_subnet(&vpc, block, &zone, now).unwrap();
                let mut spec = InstanceSpec::new(&format!("nat-{letter}"), &subnet);
                spec.address = Some(address);
                spec.tags.insert("natha:cluster".to_owned(), "test".to_owned());
                let id = world.run_instance(&spec, now).unwrap();
                let interface = world.primary_interface(&id).unwrap();
                world.set_source_dest_check(&interface, false, now).unwrap();
                let block = format!("10.0.{}.0/24", n + 100).parse().unwrap();
                let inside = world.create_subnet(&vpc, block, &zone, now).unwrap();
                let tags = [("natha:cluster", "test")];
                let table = world.create_table(&vpc, &[&inside], &tags, now).unwrap();
                let via = RouteVia::Interface(interface.clone());
                world.create_route(&table, "0.0.0.0/0".parse().unwrap(), &via, now).unwrap();
                let mac = world.dataplane(now).interfaces.get(&interface).unwrap().mac.clone();
                let about = format!("network/interfaces/macs/{mac}");
                BTreeMap::from([
                    ("instance-id".to_owned(), id),
                    ("placement/availability-zone".to_owned(), zone.clone()),
                    ("placement/region".to_owned(), "eu-central-1".to_owned()),
                    ("network/interfaces/macs/".to_owned(), format!("{mac}/")),
                    (format!("{about}/interface-id"), interface),
                    (format!("{about}/device-number"), "0".to_owned()),
                    (format!("{about}/local-ipv4s"), address.to_string()),
                    (format!("{about}/subnet-id"), subnet),
                    (format!("{about}/vpc-id"), vpc.clone()),
                    (format!("{about}/vpc-ipv4-cidr-blocks"), "10.0.0.0/16".to_owned()),
                ])
            };
            let id = metadata.get("instance-id").unwrap().clone();
            let metadata = serve_metadata(metadata).await;
            std::fs::write(self.settings_file(n), "").unwrap();
            self.nodes.push(Node { id, address, zone, metadata, monitor: None });
        }
    }

    /// The socket of a node's monitor.
    pub(crate) fn socket(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("node-{node}/natha.sock"))
    }

    /// Where a node's monitor tells the service manager how it is.
    pub(crate) fn notify_socket(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("notify-{node}"))
    }

    /// A node's settings file, which is empty at first.
    pub(crate) fn settings_file(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("{node}.toml"))
    }

    /// What a node's monitor has logged.
    pub(crate) fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{node}.log")))
            .unwrap_or_default()
    }

    /// The program as it runs on a node.
    pub(crate) fn natha(&self, node: usize, arguments: &[&str]) -> Command {
        let state = self.directory.path().join(format!("state-{node}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_natha"));
        command
            .env_clear()
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.nodes[node].metadata)
            .env("AWS_ACCESS_KEY_ID", &self.keys.0)
            .env("AWS_SECRET_ACCESS_KEY", &self.keys.1)
            .env("NATHA_API_ENDPOINT", &self.endpoint)
            .env("NATHA_CONFIG", self.settings_file(node))
            .env("NATHA_SOCKET", self.socket(node))
            .env("NATHA_STATE_DIR", state)
            .env("NATHA_UPLINK_TARGETS", "icmp:127.0.0.1")
            // The loopback device is no host that `natha setup` could make a NAT.
            .env("NATHA_HOST_NAT", "false")
            // Packets to other addresses than its own: EC2's source/dest check must be off.
            .env("NATHA_HOST_ACCEPT", "10.99.0.1")
            // The nodes share one network namespace, and so its ports.
            .env("NATHA_METRICS_LISTEN", "off")
            .env("NATHA_LOG", "info,natha=debug")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Starts a node's monitor.
    pub(crate) fn start(&mut self, node: usize, arguments: &[&str]) {
        let log = std::fs::File::create(self.directory.path().join(format!("{node}.log"))).unwrap();
        self.start_logging_to(node, arguments, log);
    }

    /// Starts a node's monitor with its standard error at `log`.
    pub(crate) fn start_logging_to(
        &mut self,
        node: usize,
        arguments: &[&str],
        log: impl Into<Stdio>,
    ) {
        let mut command = self.natha(node, &[&["monitor"], arguments].concat());
        // As a service manager does; datagrams that nobody waits for are dropped.
        command.env("NOTIFY_SOCKET", self.notify_socket(node)).env("WATCHDOG_USEC", "400000");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.nodes[node].monitor = Some(child);
    }

    /// Sends a signal to a node's monitor.
    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        let child = self.nodes[node].monitor.as_ref().expect("a monitor");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The exit code of a node's monitor, once it has ended.
    pub(crate) async fn ended(&mut self, node: usize) -> Option<i32> {
        let mut child = self.nodes[node].monitor.take().expect("a monitor");
        let mut waited = tokio::time::interval(Duration::from_millis(20));
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            waited.tick().await;
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the monitor of node {node} has not ended:\n{}", self.log(node));
    }

    /// Runs a verb on a node to its end.
    pub(crate) async fn run(&self, node: usize, arguments: &[&str]) -> Output {
        let mut command = self.natha(node, arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output());
        tokio::time::timeout(PATIENCE, output).await.expect("an end").unwrap().unwrap()
    }

    /// What a node's monitor tells, if it runs.
    pub(crate) async fn report(&self, node: usize) -> Option<Report> {
        let output = self.run(node, &["status", "--json"]).await;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until a node tells something in particular.
    pub(crate) async fn until(
        &self,
        node: usize,
        what: &str,
        test: impl Fn(&Report) -> bool,
    ) -> Report {
        let begun = Instant::now();
        let mut rounds = tokio::time::interval(Duration::from_millis(50));
        let mut last = None;
        while begun.elapsed() < PATIENCE {
            rounds.tick().await;
            match self.report(node).await {
                Some(report) if test(&report) => return report,
                other => last = other,
            }
        }
        panic!("never so: {what}\nlast report: {last:#?}\nlog:\n{}", self.log(node));
    }

    /// Takes a node off the network, as a power cut does.
    pub(crate) fn cut(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].monitor.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.remove_address(node);
    }

    /// Takes a node's address off its interface; its monitor goes on.
    pub(crate) fn remove_address(&self, node: usize) {
        let address = format!("{}/32", self.nodes[node].address);
        ip(&["address", "delete", &address, "dev", "lo"]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.monitor.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Runs a test in a thread of its own, so that the namespace goes with it.
pub(crate) fn in_own_network(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("`ip` of iproute2");
    assert!(status.success(), "ip {}", arguments.join(" "));
}

/// A metadata service with these items; its address as a URL.
async fn serve_metadata(items: BTreeMap<String, String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let items = Arc::new(Mutex::new(items));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let items = items.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = metadata(&items.lock().unwrap(), &request);
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _ = serving.await;
            });
        }
    });
    url
}

fn metadata(
    items: &BTreeMap<String, String>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let item = path.strip_prefix("/latest/meta-data/").and_then(|item| items.get(item));
    let (code, body) = match (path, item) {
        ("/latest/api/token", _) => (StatusCode::OK, "token".to_owned()),
        (_, Some(item)) => (StatusCode::OK, item.clone()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    let ttl = hyper::header::HeaderValue::from_static("21600");
    response.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", ttl);
    response
}
