//! The page for people, in a real browser: it shows the cluster, follows a takeover without being
//! loaded anew, and can be read at every width.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const LOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/look.py");
/// Where the pictures are then, of which docs/pictures has two.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/page");
const PORT: u16 = 6285;
/// Where the browser runs, and puts them: on a disk of its own.
const OBSERVER: &str = "host-b";
const TAKEN: &str = "/tmp/page";

/// Copies a picture from the observer's disk.
fn copy(scene: &Scene, name: &str) {
    let hex = scene.sh(OBSERVER, &format!("od -An -v -tx1 {TAKEN}/{name}")).unwrap();
    let byte = |text: &str| u8::from_str_radix(text, 16).unwrap();
    let bytes: Vec<u8> = hex.split_whitespace().map(byte).collect();
    assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    std::fs::write(format!("{PICTURES}/{name}"), bytes).unwrap();
}

#[test]
fn the_page_follows_a_takeover() {
    let config = format!("metrics.listen = \"0.0.0.0:{PORT}\"\nhost.accounting = true\n{QUICK}");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    let _meter = scene.ping("host-a", 50).unwrap();
    let [a, b] = ["nat-a", "nat-b"].map(|node| scene.host(node).unwrap());
    let python = std::env::var("NATHA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    std::fs::create_dir_all(PICTURES).unwrap();
    let url = format!("http://{}:{PORT}/", b.private[0]);
    let looking = format!(
        "exec >/tmp/look.log 2>&1; mkdir {TAKEN}; \
         \"{python}\" {LOOK} {url} us-east-1a {} {} {TAKEN}; \
         echo \"ended with $?\"",
        a.instance, b.instance
    );
    scene.spawn(OBSERVER, &["sh", "-c", &looking]).unwrap();
    let log = || scene.sh(OBSERVER, "cat /tmp/look.log 2>/dev/null || true");
    let comes = |part: &str| {
        let comes = || {
            let text = log()?;
            anyhow::ensure!(!text.contains("ended with 1"), "{text}");
            Ok(text.contains(part))
        };
        scene.wait_for(comes).unwrap();
    };
    comes("loaded");
    scene.panic("nat-a").unwrap();
    comes("ended with 0");
    for scheme in ["light", "dark"] {
        for width in [1_200, 400] {
            copy(&scene, &format!("page-{scheme}-{width}.png"));
        }
    }
}
