//! Metrics of a live cluster, read by a real Prometheus through a takeover: every panel of the
//! dashboard and every alert rule finds what it asks for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use natha_lab::Spec;
use natha_lab::scene::{self, QUICK, SERVICE, Scene};
use serde_json::{Value, json};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const RULES: &str = include_str!("../observability/prometheus-rules.yaml");
const DASHBOARD: &str = include_str!("../observability/grafana-dashboard.json");
/// What the panels showed, for `docs/pictures/dashboard.py --take`.
const SHOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/dashboard.json");

/// Where Prometheus runs, and where the files of it are.
const OBSERVER: &str = "host-b";
const DIRECTORY: &str = "/run/prometheus";
const PROMETHEUS: &str = "http://127.0.0.1:9090";
const PORT: u16 = 6285;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 20, 11);
const LIMIT: Duration = Duration::from_secs(20);

/// The driver of EC2's network cards counts it, and the lab has none.
const ONLY_ON_EC2: &str = "natha_ena_";

/// Each kind of group, so that each metric of groups has a value.
fn config() -> String {
    let group = |zone: &str| {
        format!(
            "[[group]]
name = \"{zone}\"
home = \"nat-{zone}\"
tables = [\"{{{{table.private-{zone}}}}}\"]

[[group.resource]]
kind = \"egress-ip\"
allocation = \"{{{{eip.out-{zone}}}}}\"
"
        )
    };
    format!(
        "heartbeat.key_file = \"/etc/natha/key\"
replicate.enabled = true
host.accounting = true
metrics.listen = \"0.0.0.0:{PORT}\"
metrics.cloudwatch = true
{QUICK}
{}{}
[[group]]
name = \"db\"
prefer = [\"{{{{instance.nat-a}}}}\"]
local = \"lo\"

[[group.resource]]
kind = \"vip\"
address = \"{VIP}\"
",
        group("a"),
        group("b")
    )
}

fn spec() -> Spec {
    let config = config();
    let key = "umask 077; echo 0123456789abcdef0123456789abcdef > /etc/natha/key";
    let user_data = scene::user_data(&config, &format!("{key}\n{SERVICE}"));
    let mut spec = scene::spec(2, NATHA, &config).with_node_user_data(&user_data);
    for (host, zone) in [("nat-a", 0), ("nat-b", 1)] {
        let node = spec.hosts.iter_mut().find(|one| one.name == host).unwrap();
        node.secondary = [201, 202].map(|last| Ipv4Addr::new(10, 0, zone, last)).into();
    }
    spec.with_address("out-a", None).with_address("out-b", None).with_route(
        VIP.into(),
        "nat-a",
        &["private-a", "private-b"],
    )
}

fn url(scene: &Scene, node: &str, path: &str) -> String {
    format!("http://{}:{PORT}{path}", scene.host(node).unwrap().private[0])
}

/// The status code and the body of an answer, as the observer gets it.
fn get(scene: &Scene, node: &str, path: &str) -> (u16, String) {
    let url = url(scene, node, path);
    let argv = ["curl", "--silent", "--max-time", "8", "--write-out", "\n%{http_code}", &url];
    let answer = scene.exec(OBSERVER, &argv, LIMIT).unwrap().stdout;
    let (body, code) = answer.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// Writes the files of Prometheus, has its own tool check them, and starts it.
fn start_prometheus(scene: &Scene) {
    let targets = ["nat-a", "nat-b"].map(|node| {
        let address = scene.host(node).unwrap().private[0];
        format!("\"{address}:{PORT}\"")
    });
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{DIRECTORY}/rules.yaml]
scrape_configs: [{{job_name: natha, static_configs: [{{targets: [{}]}}]}}]
",
        targets.join(", ")
    );
    for (name, text) in [("rules.yaml", RULES), ("prometheus.yml", &config)] {
        let write = format!(
            "mkdir -p {DIRECTORY} && cat > {DIRECTORY}/{name} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"
        );
        scene.sh(OBSERVER, &write).unwrap();
    }
    scene.sh(OBSERVER, &format!("promtool check config {DIRECTORY}/prometheus.yml")).unwrap();
    let argv = [
        "prometheus",
        &format!("--config.file={DIRECTORY}/prometheus.yml"),
        &format!("--storage.tsdb.path={DIRECTORY}/data"),
        "--web.listen-address=127.0.0.1:9090",
        "--log.level=warn",
    ];
    scene.spawn(OBSERVER, &argv).unwrap();
    let ready = format!("{PROMETHEUS}/-/ready");
    let argv = ["curl", "--silent", "--fail", &ready];
    scene.wait_for(|| Ok(scene.exec(OBSERVER, &argv, LIMIT)?.code == 0)).unwrap();
}

/// The series that an expression has returned in the last minutes.
fn series(scene: &Scene, expression: &str) -> Vec<Value> {
    let argv = ["promtool", "query", "-o", "json", "range", PROMETHEUS, expression];
    let answer = scene.exec(OBSERVER, &argv, LIMIT).unwrap();
    assert_eq!(answer.code, 0, "{expression}: {}{}", answer.stdout, answer.stderr);
    serde_json::from_str(&answer.stdout).unwrap()
}

/// The values of these series, without NaN.
fn values(series: &[Value]) -> Vec<Value> {
    let values = |one: &Value| one["values"].as_array().cloned().unwrap_or_default();
    series.iter().flat_map(values).filter(|value| value[1] != "NaN").collect()
}

fn query(scene: &Scene, expression: &str) -> Vec<Value> {
    values(&series(scene, expression))
}

/// The rules as Prometheus has them.
fn rules(scene: &Scene) -> Vec<Value> {
    let url = format!("{PROMETHEUS}/api/v1/rules");
    let answer = scene.exec(OBSERVER, &["curl", "--silent", &url], LIMIT).unwrap().stdout;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
    groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect()
}

/// The expressions of all panels, for every node and the time of the run.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut found = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression
                .replace("$node", ".*")
                .replace("$__rate_interval", "20s")
                .replace("$__range", "5m");
            assert!(!expression.contains('$'), "{title}: {expression}");
            found.push((title.to_owned(), expression));
        }
    }
    assert!(found.len() >= 30, "{} expressions", found.len());
    found
}

/// What a rule compares with its threshold. It has a value whether or not the rule fires.
fn left_side(expression: &str) -> &str {
    let (rest, threshold) = expression.rsplit_once(' ').unwrap();
    assert!(threshold.parse::<f64>().is_ok(), "{expression}");
    rest.rsplit_once(' ').unwrap().0
}

/// Waits until the observer gets this code.
fn wait_code(scene: &Scene, node: &str, path: &str, wanted: u16) {
    let there = || Ok(get(scene, node, path).0 == wanted);
    scene.wait_for(there).map_err(|error| scene.explain(error)).unwrap();
}

#[test]
fn a_prometheus_finds_what_the_dashboard_and_the_rules_ask_for_through_a_takeover() {
    let scene = Scene::start(&spec()).unwrap();
    let (code, page) = get(&scene, "nat-a", "/metrics");
    assert_eq!(code, 200, "{page}");
    let check =
        format!("curl --silent {} | promtool check metrics", url(&scene, "nat-a", "/metrics"));
    scene.sh(OBSERVER, &check).unwrap();
    start_prometheus(&scene);
    let flows = scene.flows("host-a", 20, 50).unwrap();
    let client = scene.host("host-a").unwrap().private[0];
    let talks = format!("natha_source_bytes_total{{host=\"{client}\",direction=\"in\"}} > 0");
    scene.wait_for(|| Ok(!query(&scene, &talks).is_empty())).unwrap();

    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    // Its connections are replicated, and the alert that it was drained stands.
    scene.drain("nat-b").unwrap();
    wait_code(&scene, "nat-b", "/readyz", 503);
    let is_told = || Ok(!query(&scene, "natha_alert{alert=\"drain\"}").is_empty());
    scene.wait_for(is_told).unwrap();

    let mut shown = Vec::new();
    for (title, expression) in panels() {
        let series = series(&scene, &expression);
        if !expression.contains(ONLY_ON_EC2) {
            assert!(!values(&series).is_empty(), "{title}: {expression}");
        }
        shown.push(json!({ "title": title, "series": series }));
    }
    std::fs::write(SHOWN, Value::Array(shown).to_string()).unwrap();
    let rules = rules(&scene);
    assert_eq!(rules.len(), RULES.matches("- alert: ").count());
    for rule in &rules {
        let expression = rule["query"].as_str().unwrap();
        assert_eq!(rule["health"], "ok", "{rule:#}");
        if !expression.contains(ONLY_ON_EC2) {
            assert!(!query(&scene, left_side(expression)).is_empty(), "{expression}");
        }
    }
    for expression in ["natha_copies_ready > 0", "natha_replication_age_seconds < 5"] {
        assert!(!query(&scene, expression).is_empty(), "{expression}");
    }
    let takeover = "natha_takeovers_total{reason!=\"vacant\"} > 0";
    assert!(!query(&scene, takeover).is_empty(), "nat-b has taken over");
    let detection = "natha_phase_seconds_count{phase=\"detection\"} > 0";
    assert!(!query(&scene, detection).is_empty());
    scene.flowed(flows).unwrap();
    let told = || Ok(scene.console("nat-b")?.contains("\"CloudWatchMetrics\":[{"));
    scene.wait_for(told).unwrap();
}

#[test]
fn health_is_that_of_the_monitor_and_readiness_that_of_the_node() {
    let config = format!("metrics.listen = \"0.0.0.0:{PORT}\"\n{QUICK}");
    let scene = Scene::start(&scene::service(2, NATHA, &config)).unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&scene, "nat-a", path), (200, "ok\n".to_owned()), "{path}");
    }
    scene.cut_uplink("nat-a").unwrap();
    wait_code(&scene, "nat-a", "/readyz", 503);
    let (_, reasons) = get(&scene, "nat-a", "/readyz");
    assert!(reasons.contains("uplink lost"), "{reasons}");
    assert_eq!(get(&scene, "nat-a", "/healthz").0, 200, "the monitor is well");
    let (_, page) = get(&scene, "nat-a", "/metrics");
    for line in ["natha_datapath_proven 0", "natha_fault{fault=\"uplink\"} 1", "natha_fit 0"] {
        assert!(page.lines().any(|told| told == line), "{line} in\n{page}");
    }
    scene.mend("nat-a").unwrap();
    wait_code(&scene, "nat-a", "/readyz", 200);
}

/// The monitor covers for its peer whether or not its metrics can be read, and says why not.
#[test]
fn a_port_that_is_taken_costs_the_metrics_alone_until_it_is_free() {
    let config = format!("metrics.listen = \"0.0.0.0:{PORT}\"\n{QUICK}");
    let scene = Scene::start(&scene::service(2, NATHA, &config)).unwrap();
    scene.greet("nat-b", 7_000, "taken").unwrap();
    let config = format!("metrics.listen = \"0.0.0.0:7000\"\n{QUICK}");
    let write = format!("cat > /etc/natha/natha.toml <<'END'\n{config}\nEND");
    scene.sh("nat-b", &write).unwrap();
    scene.sh("nat-b", "kill -HUP $(pidof natha)").unwrap();
    let complains = |status: &Value| {
        let alerts = status["alerts"].as_array().into_iter().flatten();
        alerts
            .filter_map(Value::as_str)
            .any(|alert| alert.contains("cannot listen on 0.0.0.0:7000"))
    };
    scene.wait_status("nat-b", complains).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.kill("nat-b", "greeter").unwrap();
    scene.wait_status("nat-b", |status| !status.is_null() && !complains(status)).unwrap();
}
