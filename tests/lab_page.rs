//! The page for people, in a real browser: it shows the cluster, follows a takeover and a move to a
//! fallback without being loaded anew, and can be read at every width.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::fallback::{BREAK, GATEWAY};
use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// The scripts that look at the page.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");
/// Where the pictures are then, of which docs/pictures has two.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/page");
const PORT: u16 = 6285;
const NODES: [&str; 2] = ["nat-a", "nat-b"];
/// The group of the first zone.
const GROUP: &str = "us-east-1a";
/// Where the browser runs, and puts them: on a disk of its own.
const OBSERVER: &str = "host-b";
const TAKEN: &str = "/tmp/page";

/// Settings with a page that the observer can reach.
fn config() -> String {
    format!("metrics.listen = \"0.0.0.0:{PORT}\"\nhost.accounting = true\n{QUICK}")
}

/// Copies a picture from the observer's disk.
fn copy(scene: &Scene, name: &str) {
    let hex = scene.sh(OBSERVER, &format!("od -An -v -tx1 {TAKEN}/{name}")).unwrap();
    let byte = |text: &str| u8::from_str_radix(text, 16).unwrap();
    let bytes: Vec<u8> = hex.split_whitespace().map(byte).collect();
    assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    std::fs::write(format!("{PICTURES}/{name}"), bytes).unwrap();
}

/// Starts a script that looks at the page of nat-b while the group moves from one holder to another
/// one.
fn look(scene: &Scene, script: &str, from: &str, to: &str) {
    let python = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let url = format!("http://{}:{PORT}/", scene.host("nat-b").unwrap().private[0]);
    let looking = format!(
        "exec >/tmp/look.log 2>&1; mkdir {TAKEN}; \
         \"{python}\" {SCRIPTS}/{script} {url} {GROUP} {from} {to} {TAKEN}; \
         echo \"ended with $?\""
    );
    scene.spawn(OBSERVER, &["sh", "-c", &looking]).unwrap();
}

/// Waits until the script has printed this.
fn wait_for_look(scene: &Scene, part: &str) {
    let comes = || {
        let text = scene.sh(OBSERVER, "cat /tmp/look.log 2>/dev/null || true")?;
        anyhow::ensure!(!text.contains("ended with 1"), "{text}");
        Ok(text.contains(part))
    };
    scene.wait_for(comes).unwrap();
}

/// Keeps the pictures whose names begin so.
fn keep_pictures(scene: &Scene, name: &str) {
    std::fs::create_dir_all(PICTURES).unwrap();
    for scheme in ["light", "dark"] {
        for width in [1_200, 400] {
            copy(scene, &format!("{name}-{scheme}-{width}.png"));
        }
    }
}

#[test]
fn the_page_follows_a_takeover() {
    let scene = Scene::start(&scene::spec(2, NATHA, &config())).unwrap();
    let _meter = scene.ping("host-a", 50).unwrap();
    let [a, b] = NODES.map(|node| scene.host(node).unwrap().instance);
    look(&scene, "look.py", &a, &b);
    wait_for_look(&scene, "loaded");
    scene.panic("nat-a").unwrap();
    wait_for_look(&scene, "ended with 0");
    keep_pictures(&scene, "page");
}

#[test]
fn the_page_shows_the_fallback_while_a_group_is_there() {
    let spec = scene::spec(2, NATHA, &config()).with_address(GATEWAY, None);
    let scene = Scene::start(&spec).unwrap();
    let gateway = scene.add_fallback(&NODES).unwrap();
    let a = scene.host("nat-a").unwrap().instance;
    look(&scene, "fallback.py", &a, &gateway);
    wait_for_look(&scene, "loaded");
    for node in NODES {
        scene.sh(node, BREAK).unwrap();
    }
    wait_for_look(&scene, "ended with 0");
    keep_pictures(&scene, "fallback");
}
