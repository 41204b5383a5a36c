//! The two ends of the comparison of ways to keep connections. `tests/lab_flows.rs` has the others.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::Ec2Spec;
use natha_lab::applications::Application;
use natha_lab::meter::mixed::Kind;
use natha_lab::survival::{Move, Staged, Tier, Trial};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Connections of each host.
const FLOWS: u16 = 50;

/// The load of a tier after the last of these moves.
fn moved(tier: Tier, moves: &[Move]) -> Staged {
    let ec2 = Ec2Spec { latency_ms: 50, ..Ec2Spec::default() };
    let mut trial = Trial::start(tier, NATHA, ec2, FLOWS).unwrap();
    let staged = moves.iter().map(|event| trial.stage(*event).unwrap());
    let staged = staged.last().unwrap();
    assert_eq!(staged.load.flows(), 2 * usize::from(FLOWS));
    staged
}

#[test]
fn without_an_egress_ip_no_connection_survives_but_new_ones_are_opened() {
    let Staged { load: ended, applications } = moved(Tier::Nothing, &[Move::HardKill]);
    assert_eq!(ended.broken(), ended.flows(), "{ended:#?}");
    assert_eq!(applications, []);
    let newcomers = ended.kept.newcomers.as_ref().unwrap();
    assert!(newcomers.tried > 2 * newcomers.failed, "{newcomers:?}");
}

/// The set-up that conntrackd is compared in does what it can: the comparison is fair. A planned
/// move stays where it went only if both nodes are fit beside conntrackd.
#[test]
fn conntrackd_keeps_connections_across_subnets_with_a_floating_address() {
    let Staged { load: ended, applications } = moved(Tier::Conntrackd, &Move::ALL);
    assert_eq!(applications, Application::ALL);
    for kind in Kind::ALL {
        let (kept, changed) = (&ended.kept.kinds[&kind], &ended.changed.kinds[&kind]);
        assert!(kept.alive > 0 && changed.alive > 0, "no {kind:?}: {ended:#?}");
    }
    assert!(20 * ended.broken() <= ended.flows(), "more than 5 % are broken: {ended:#?}");
}
