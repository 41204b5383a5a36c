//! ClusterLabs' `aws-vpc-move-ip` and natha on one virtual IP: beside each other they agree about
//! who has it, and the commands of `docs/patterns.md` lead from one to the other and back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "lab/tests/lab_support/agents.rs"]
mod agents;

use std::fs;
use std::path::Path;
use std::time::Duration;

use agents::{Agent, NOT_RUNNING, SUCCESS, cli, configure};
use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::{client, services};
use natha_lab::{HostSpec, Role, Scene, Spec};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const VIP: &str = "192.168.10.10";
const ROUTE: &str = "192.168.10.10/32";
const NODES: [&str; 2] = ["db-a", "db-b"];
/// The tables of the client and of the nodes.
const TABLES: [&str; 2] = ["private-b", "public"];
/// What an agent's failed action ends with (OCF resource agent API).
const GENERIC_ERROR: i32 = 1;
/// How long a block of commands may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How long the address may be without a node that answers, while natha is started.
const WITHOUT_MAX_MS: f64 = 30_000.0;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the page has between fences of this language, in its section about Pacemaker, without the
/// indentation of a list.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/patterns.md")).unwrap();
    let (_, section) = page.split_once("\n## Pacemaker\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut found: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in section.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)) {
        if is_inside && line == "```" {
            is_inside = false;
        } else if is_inside {
            let block = found.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        } else if line.strip_prefix("```") == Some(language) {
            is_inside = true;
            found.push(String::new());
        }
    }
    found
}

/// The page's settings with the lab's zones.
fn settings(local: &str) -> String {
    let [settings] = &blocks("toml")[..] else { panic!("one file of settings") };
    settings.replace("\"off\"", &format!("\"{local}\"")).replace("eu-west-1", "us-east-1")
}

/// Two nodes that run a service and nothing of natha, with these settings; a client; and routes to
/// the second node that were made by hand.
fn start(local: &str) -> Scene {
    let mut spec = Spec::nodes(0);
    for (zone, name) in (0..).zip(NODES) {
        let mut host = HostSpec::new(name, zone, Role::Node);
        let greeter = services::greeter(80, name, true).unwrap();
        host.user_data = Some(format!("#!/bin/sh\n{greeter}\n"));
        host.source_dest_check = false;
        spec.hosts.push(host);
    }
    let mut spec = spec
        .with_node_tag("natha:cluster", "db")
        .with_host(client("client", 1))
        .with_route(ROUTE.parse().unwrap(), NODES[1], &TABLES);
    spec.natha = Some(NATHA.into());
    let scene = Scene::start_unwell(&spec).unwrap();
    for node in NODES {
        configure(&scene, node).unwrap();
        scene.write(node, "/etc/natha/natha.toml", &settings(local)).unwrap();
        let tests = repository().join("tests");
        let tools = format!("{0}/pacemaker/pcs {0}/trial/systemctl", tests.display());
        scene.sh(node, &format!("install -m 755 {tools} /usr/local/bin")).unwrap();
    }
    scene
}

/// The agent with the parameters of the page's resource.
fn agent(scene: &Scene) -> Agent<'_> {
    let params = [("ip", VIP), ("interface", "ens5"), ("monapi", "true")];
    Agent::new(scene, "aws-vpc-move-ip", &params).with("routing_table", &tables(scene))
}

fn tables(scene: &Scene) -> String {
    let account = scene.account().unwrap();
    TABLES.map(|table| account.table(table).unwrap().to_owned()).join(",")
}

/// Runs a block of the page on a node; what it printed.
fn run(scene: &Scene, node: &str, commands: &str) -> String {
    let shown = "rtb-0123456789abcdef0,rtb-0123456789abcdef1";
    let commands = commands.replace(shown, &tables(scene));
    let aws = format!("NATHA_AWS={}", cli());
    let argv = ["env", &*aws, "bash", "-euo", "pipefail", "-c", &commands];
    let done = scene.exec(node, &argv, LIMIT).unwrap();
    assert_eq!(done.code, 0, "{commands}\non {node}: {}{}", done.stdout, done.stderr);
    done.stdout
}

/// Waits until both monitors say that this node is the holder, and fails unless the agent says so.
fn agreed(scene: &Scene, agent: &Agent<'_>, holder: &str) {
    let id = Value::from(scene.host(holder).unwrap().instance);
    let held = |status: &Value| status.pointer("/view/groups/vip/holder") == Some(&id);
    scene.wait_leads(ROUTE.parse().unwrap(), holder).unwrap();
    for node in NODES {
        scene.wait_status(node, held).unwrap();
        agent.run(node, "monitor", if node == holder { SUCCESS } else { NOT_RUNNING });
    }
}

#[test]
fn natha_beside_aws_vpc_move_ip_agrees_with_it_about_who_has_the_address() {
    let scene = start("off");
    let agent = agent(&scene);
    for node in NODES {
        run(&scene, node, "natha setup");
        scene.spawn(node, &["natha", "monitor", "--observe"]).unwrap();
    }
    agent.run(NODES[0], "start", SUCCESS);
    agreed(&scene, &agent, NODES[0]);
    // As Pacemaker moves it.
    agent.run(NODES[0], "stop", SUCCESS);
    agent.run(NODES[1], "start", SUCCESS);
    agreed(&scene, &agent, NODES[1]);
    // A route that something else changes: natha puts it right.
    let writes = scene.route_writes().unwrap();
    let (account, other) = (scene.account().unwrap(), scene.host(NODES[0]).unwrap().interface);
    let wrong = [
        ("RouteTableId", account.table(TABLES[0]).unwrap()),
        ("DestinationCidrBlock", ROUTE),
        ("NetworkInterfaceId", &*other),
    ];
    scene.ec2("ReplaceRoute", &wrong).unwrap();
    scene.wait_for(|| Ok(scene.route_writes()? > writes)).unwrap();
    agreed(&scene, &agent, NODES[1]);
    scene.nobody_stopped().unwrap();
}

#[test]
fn the_commands_of_the_page_lead_from_pacemaker_to_natha_and_back() {
    let commands = blocks("sh");
    let [create, delete, enable, status, back] = &commands[..] else {
        panic!("not five blocks: {commands:#?}")
    };
    let scene = start("lo");
    let agent = agent(&scene);
    run(&scene, NODES[0], create);
    let meter = scene.connect("client", VIP.parse().unwrap(), Aim::port(80).http()).unwrap();
    scene.wait_served(meter, NODES[0]).unwrap();
    let writes = scene.route_writes().unwrap();
    run(&scene, NODES[0], delete);
    for node in NODES {
        run(&scene, node, enable);
    }
    scene.wait_well().unwrap();
    for node in NODES {
        assert!(run(&scene, node, status).contains("vip"));
    }
    agreed(&scene, &agent, NODES[0]);
    let report = scene.wait_served(meter, NODES[0]).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    assert!(report.worst_ms() < WITHOUT_MAX_MS, "{:?}", report.outages);
    assert_eq!(scene.route_writes().unwrap(), writes, "the routes stayed where they were");
    // natha moves it: the agent, which Pacemaker no longer runs, sees it where natha has it. Its
    // stop fails there, which is why the resource goes first.
    scene.panic(NODES[0]).unwrap();
    scene.wait_leads(ROUTE.parse().unwrap(), NODES[1]).unwrap();
    scene.wait_served(meter, NODES[1]).unwrap();
    agent.run(NODES[1], "monitor", SUCCESS);
    agent.run(NODES[1], "stop", GENERIC_ERROR);
    assert!(scene.has_address(NODES[1], "lo", VIP).unwrap());
    run(&scene, NODES[1], back);
    assert!(!scene.has_address(NODES[1], "lo", VIP).unwrap());
    run(&scene, NODES[1], create);
    assert!(scene.has_address(NODES[1], "ens5", VIP).unwrap());
    agent.run(NODES[1], "monitor", SUCCESS);
    scene.wait_served(meter, NODES[1]).unwrap();
}
