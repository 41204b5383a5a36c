//! The notices and the history of a failure on a live cluster: by HTTPS, SNS and a hook, each once,
//! although a delivery fails at first and a monitor is restarted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use natha_lab::scene::{self, QUICK, Scene};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Where the receiver and the hook of a node write what they get.
const RECEIVED: &str = "/tmp/received";
const HOOKED: &str = "/tmp/hooked";

/// Receives what a node posts: notices by HTTPS at 8443, of which the first is refused for now, and
/// calls of SNS at 8080.
const RECEIVER: &str = r#"
import http.server, json, ssl, threading

class Receiver(http.server.BaseHTTPRequestHandler):
    refused = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        tls = isinstance(self.connection, ssl.SSLSocket)
        status = 503 if tls and not Receiver.refused else 200
        Receiver.refused |= tls
        line = {"tls": tls, "status": status, "headers": dict(self.headers), "body": body}
        with open("/tmp/received", "a") as file:
            file.write(json.dumps(line) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

https = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/cert.pem", "/tmp/key.pem")
https.socket = context.wrap_socket(https.socket, server_side=True)
threading.Thread(target=https.serve_forever).start()
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Receiver).serve_forever()
"#;

/// Makes what the settings name, on one node.
const PREPARE: &str = "\
cat > /tmp/openssl.cnf <<'END'
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = receiver
[extensions]
basicConstraints = critical,CA:FALSE
subjectAltName = IP:127.0.0.1
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -config /tmp/openssl.cnf -keyout /tmp/key.pem -out /tmp/cert.pem 2>/dev/null
echo 'X-Secret: s3cret' > /tmp/header
chmod 600 /tmp/header
cat > /tmp/hook <<'END'
#!/bin/sh
{ id -un; cat; } >> /tmp/hooked
END
chmod 755 /tmp/hook
";

fn config() -> String {
    format!(
        "api.sns_endpoint = \"http://127.0.0.1:8080\"\n{QUICK}\n[notify]\n\
         hook = \"/tmp/hook\"\n\
         webhook = \"https://127.0.0.1:8443/natha\"\n\
         webhook_header_file = \"/tmp/header\"\n\
         webhook_ca = \"/tmp/cert.pem\"\n\
         sns_topic = \"arn:aws:sns:us-east-1:123456789012:alerts\"\n"
    )
}

fn receive(scene: &Scene, node: &str) {
    scene.sh(node, PREPARE).unwrap();
    scene.spawn(node, &["python3", "-c", RECEIVER]).unwrap();
    let listens = "grep -q ':20FB .* 0A ' /proc/net/tcp && grep -q ':1F90 .* 0A ' /proc/net/tcp";
    scene
        .wait_for(|| Ok(scene.sh(node, &format!("{listens} && echo yes || true"))? == "yes\n"))
        .unwrap();
}

/// The requests that a node's receiver has got: those by HTTPS, or those to SNS.
fn requests(scene: &Scene, node: &str, tls: bool) -> Vec<Value> {
    let text = scene.sh(node, &format!("cat {RECEIVED} 2>/dev/null || true")).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|request| request["tls"] == tls).collect()
}

/// The notices that were delivered by HTTPS.
fn delivered(scene: &Scene, node: &str) -> Vec<Value> {
    let all = requests(scene, node, true).into_iter();
    let taken = all.filter(|request| request["status"] == 200);
    taken.map(|one| serde_json::from_str(one["body"].as_str().unwrap()).unwrap()).collect()
}

fn has(notices: &[Value], kind: &str, part: &str) -> bool {
    let is_it =
        |one: &Value| one["kind"] == kind && one["subject"].as_str().unwrap().contains(part);
    notices.iter().any(is_it)
}

/// The changes that a node has written down, as kind and result.
fn changes(scene: &Scene, node: &str) -> Vec<(String, String)> {
    let output = scene.natha(node, &["history", "--json"]).unwrap();
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let found: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    found.iter().map(|one| (text(one, "kind"), text(one, "result"))).collect()
}

/// Checks that SNS and the hook of nat-b have got so many notices, each in its form.
fn sns_and_the_hook_have_got(scene: &Scene, count: usize) {
    let calls = requests(scene, "nat-b", false);
    assert_eq!(calls.len(), count, "SNS has taken the refused test too");
    for call in &calls {
        let body = call["body"].as_str().unwrap();
        assert!(
            body.contains("TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Aalerts"),
            "{body}"
        );
        let headers = call["headers"].as_object().unwrap();
        let signed = headers.iter().any(|(name, value)| {
            let value = value.as_str().unwrap();
            name.eq_ignore_ascii_case("authorization")
                && value.contains("/us-east-1/sns/aws4_request")
        });
        assert!(signed, "{headers:?}");
    }
    let hooked = scene.sh("nat-b", &format!("cat {HOOKED}")).unwrap();
    assert_eq!(hooked.lines().filter(|line| *line == "nobody").count(), calls.len());
}

#[test]
fn every_way_reports_a_failure_once_and_the_next_monitor_has_it_in_its_history() {
    let scene = Scene::start(&scene::spec(2, NATHA, &config())).unwrap();
    for node in ["nat-a", "nat-b"] {
        receive(&scene, node);
    }
    // The receiver refuses the first notice: the test says so, and the next one succeeds.
    let refused = scene.natha("nat-b", &["notify", "test"]).unwrap();
    assert_eq!(refused.code, 3, "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.stdout.contains("HTTP status 503 (the monitor would try again)"),
        "{}",
        refused.stdout
    );
    let test = scene.natha("nat-b", &["notify", "test"]).unwrap();
    assert_eq!(test.code, 0, "{}{}", test.stdout, test.stderr);
    assert!(has(&delivered(&scene, "nat-b"), "test", "test from nat-b"));

    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let takeover = "nat-b takes group us-east-1a over from nat-a: done";
    scene.wait_for(|| Ok(has(&delivered(&scene, "nat-b"), "change", takeover))).unwrap();
    scene.wait_for(|| Ok(has(&delivered(&scene, "nat-b"), "alert", "nat-a"))).unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_for(|| Ok(has(&delivered(&scene, "nat-b"), "alert-end", "nat-a"))).unwrap();
    scene.wait_well().unwrap();
    scene.restart("nat-b").unwrap();

    let notices = delivered(&scene, "nat-b");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for notice in notices.iter().filter(|one| one["kind"] != "test") {
        let (kind, subject) =
            (notice["kind"].as_str().unwrap(), notice["subject"].as_str().unwrap());
        *counts.entry((kind, subject)).or_default() += 1;
        assert_eq!(notice["node_name"], "nat-b");
    }
    assert!(counts.values().all(|count| *count == 1), "each once: {counts:#?}");
    let secret = |one: &Value| {
        one["headers"]["x-secret"] == "s3cret" || one["headers"]["X-Secret"] == "s3cret"
    };
    assert!(requests(&scene, "nat-b", true).iter().all(secret));

    sns_and_the_hook_have_got(&scene, notices.len() + 1);

    let done = |kind: &str| (kind.to_owned(), "done".to_owned());
    let wanted = [done("takeover"), done("repair"), done("hand-over")];
    assert_eq!(changes(&scene, "nat-b"), wanted, "the next monitor knows them");
    let page =
        scene.natha("nat-b", &["history", "--html", "/tmp/page.html", "--since", "1h"]).unwrap();
    assert_eq!(page.code, 0, "{}{}", page.stdout, page.stderr);
    let page = scene.sh("nat-b", "cat /tmp/page.html").unwrap();
    assert!(page.contains(takeover) && page.contains("ReplaceRoute"), "{page}");
    let table = scene.natha("nat-b", &["history", "--group", "us-east-1a"]).unwrap().stdout;
    assert_eq!(table.lines().filter(|line| line.contains(" us-east-1a ")).count(), 2, "{table}");
}
