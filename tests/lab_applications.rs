//! Real applications through a cluster that replicates connections: sessions that were open before
//! their node died go on, and a long download arrives whole.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::applications::{self, Application, Download, Session};
use natha_lab::egress::{self, Egress};
use natha_lab::scene::{QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// How often the node with the download dies.
const FAILOVERS: usize = 3;
/// Octets a second, and how many must arrive at least. The bench transfers 10 GiB.
const RATE: u64 = 5_000_000;
const LEAST: u64 = 100_000_000;

fn start() -> Scene {
    let spec = Egress { strict: false, replicate: true, more: QUICK }.spec(NATHA);
    let scene = Scene::start(&egress::with_second_host(spec)).unwrap();
    scene.wait_seen("host-a", scene.public("out-a").unwrap()).unwrap();
    scene
}

#[test]
fn a_transaction_a_shell_and_a_web_socket_go_on_when_their_node_dies_and_when_it_is_back() {
    let scene = start();
    applications::start_servers(&scene).unwrap();
    let open = |application| Session::open(&scene, application, 1).unwrap();
    let [psql, ssh, websocket] = Application::ALL.map(open);
    psql.say("create table work (step int); begin; insert into work values (1);").unwrap();
    let begun = psql.repeat("begun").unwrap();
    let shell = ssh.repeat("before").unwrap();
    assert_eq!(websocket.repeat("before").unwrap(), "2", "the second message");
    scene.wait_replicated("nat-a", "nat-b", 3).unwrap();

    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    psql.say("insert into work values (2);").unwrap();
    assert_eq!(psql.repeat("survived").unwrap(), begun, "the same transaction");
    assert_eq!(ssh.repeat("survived").unwrap(), shell, "the same shell");
    assert_eq!(websocket.repeat("survived").unwrap(), "3", "the same connection");

    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    assert_eq!(psql.repeat("returned").unwrap(), begun, "the same transaction");
    assert_eq!(ssh.repeat("returned").unwrap(), shell, "the same shell");
    assert_eq!(websocket.repeat("returned").unwrap(), "4", "the same connection");
    psql.say("commit; select 'rows ' || count(*) from work;").unwrap();
    assert_eq!(psql.wait_said("rows ").unwrap(), "2", "what was written is there");
}

#[test]
fn a_download_over_three_failovers_arrives_whole() {
    let scene = start();
    let download = Download::start(&scene, RATE).unwrap();
    for _ in 0..FAILOVERS {
        scene.fail_over_and_back("nat-a", "nat-b").unwrap();
    }
    let transferred = download.finish(LEAST).unwrap();
    assert!(transferred.is_whole() && transferred.octets >= LEAST, "{transferred:?}");
}
