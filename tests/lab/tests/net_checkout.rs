//! A lab from a checkout that is itself below `/tmp`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use natha_lab::control::client::Client;
use natha_lab::control::protocol::{Output, Request};
use natha_lab::launch::launch;
use natha_lab::{Spec, lab};

#[test]
fn what_a_checkout_below_tmp_brings_along_runs_on_instances() {
    let checkout = tempfile::Builder::new().prefix("checkout-").tempdir_in("/tmp").unwrap();
    let inside = |name: &str| checkout.path().join(name);
    fs::create_dir(inside("target")).unwrap();
    let program = inside("target/natha-lab");
    fs::copy(lab::program().unwrap(), &program).unwrap();
    fs::write(inside("tool"), "#!/bin/sh\necho it runs\n").unwrap();
    let launched = launch(&program, &Spec::nodes(1)).unwrap();
    let client = Client::new(&launched.socket());
    let run = |argv: &[&str]| -> Output {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let limit_ms = u64::try_from(Duration::from_secs(20).as_millis()).unwrap();
        let host = "nat-a".to_owned();
        client.ask(&Request::Exec { host, argv, input: String::new(), limit_ms }).unwrap()
    };
    let tool = inside("tool").display().to_string();
    assert_eq!(run(&["sh", &tool]).stdout, "it runs\n");

    let written = run(&["touch", &inside("new").display().to_string()]);
    assert_ne!(written.code, 0, "an instance must not write into the checkout");
    assert!(!inside("new").exists());
    assert_eq!(run(&["touch", "/tmp/new"]).code, 0);
    assert!(!Path::new("/tmp/new").exists(), "an instance has a /tmp of its own");
}
