//! The runs of the checker: which bounds, in the quick run and in the full one.
//!
//! The kinds of faults are many, so not all of them can meet in one run at every second. Each run
//! puts together those that interact; one has all kinds of them, each for one of a few times that
//! lie between the times that the machine looks at.

use super::scope::{Kind, Pattern, Scope};

/// A fault is over before it is noticed; is noticed; is longer than an old request may live; is
/// longer than the patience before a stop, for the first node in the order and for the second.
const LASTS: [u8; 5] = [1, 4, 12, 30, 50];
const FEW: [u8; 3] = [2, 12, 50];
/// The shortest and the longest of them.
const ENDS: [u8; 2] = [2, 50];
/// What is about egress IPs and about the probes of the nodes that hold them.
const EGRESS: [Kind; 6] = [HalfRefused, HalfDelayed, HalfStale, Landless, Blip, NoProbe];

use Kind::{
    Blip, Crash, Cut, Deaf, Delays, Drain, Freeze, HalfDelayed, HalfRefused, HalfStale, Hangs,
    Kill, Landless, Led, LosesReplies, NoEcho, NoProbe, Refuses, Repeats, Restart, Service, Slow,
    Stale, Unfit, Unlisted, Unproven, UserStop,
};

fn scope(name: &'static str, nodes: usize, strikes: u8, kinds: &[Kind]) -> Scope {
    Scope {
        name,
        nodes,
        tables: 1,
        pattern: Pattern::default(),
        kinds: kinds.to_vec(),
        strikes,
        lasts: None,
        booting: false,
    }
}

/// Groups of a virtual IP's route and an Elastic IP.
fn two_kinds(scope: Scope) -> Scope {
    let pattern = Pattern { eip: true, ..scope.pattern };
    Scope { pattern, ..scope }
}

/// Groups of a default route and an egress IP.
fn egress(scope: Scope) -> Scope {
    let pattern = Pattern { egress: true, ..scope.pattern };
    Scope { pattern, ..scope }
}

/// One group alone, held by one node and waited for by the others.
fn single(scope: Scope) -> Scope {
    let pattern = Pattern { single: true, ..scope.pattern };
    Scope { pattern, ..scope }
}

/// Groups with a service check.
fn checked(scope: Scope) -> Scope {
    let pattern = Pattern { checked: true, ..scope.pattern };
    Scope { pattern, ..scope }
}

fn lasting(lasts: &[u8], scope: Scope) -> Scope {
    Scope { lasts: Some(lasts.to_vec()), ..scope }
}

fn booting(scope: Scope) -> Scope {
    Scope { booting: true, ..scope }
}

/// A group with an egress IP whose halves are anywhere when all monitors start.
fn halves() -> Scope {
    let scope = scope("n2-halves", 2, 1, &[Crash, Cut, HalfRefused]);
    lasting(&FEW, single(booting(egress(scope))))
}

/// A minute's worth.
pub(super) fn quick() -> Vec<Scope> {
    vec![
        scope("n2-any-one", 2, 1, &Kind::ALLOWED),
        scope("n2-crashes", 2, 2, &[Crash, Restart]),
        scope("n2-people", 2, 2, &[Crash, Led]),
        lasting(&FEW, scope("n2-few-two", 2, 2, &[Crash, Freeze, Cut, Hangs, Unfit])),
        lasting(&ENDS, scope("n2-deep", 2, 3, &[Crash, Cut])),
        booting(scope("n2-boot", 2, 1, &[Crash, Cut])),
        scope("n3-any-one", 3, 1, &Kind::ALLOWED),
        scope("n3-crashes", 3, 2, &[Crash, Restart]),
        two_kinds(scope("n2-kinds-one", 2, 1, &Kind::ALLOWED)),
        single(lasting(&FEW, scope("n2-single", 2, 2, &[Crash, Cut, Hangs]))),
        checked(scope("n2-checks-one", 2, 1, &[&Kind::ALLOWED[..], &[Service]].concat())),
        lasting(&FEW, checked(scope("n2-checks", 2, 2, &[Crash, Service]))),
        lasting(&FEW, scope("n2-probes", 2, 2, &[Crash, NoProbe, Blip, Unproven])),
        lasting(&FEW, scope("n2-lists", 2, 2, &[Unlisted, NoEcho, Crash])),
        egress(scope("n2-egress-one", 2, 1, &[&Kind::ALLOWED[..], &EGRESS].concat())),
        lasting(&FEW, egress(scope("n2-egress", 2, 2, &[Crash, HalfRefused, HalfDelayed]))),
        lasting(&FEW, egress(scope("n2-drain", 2, 2, &[Drain, Crash, Freeze, HalfRefused]))),
        halves(),
    ]
}

/// The full space.
pub(super) fn full() -> Vec<Scope> {
    vec![
        scope("n2-pauses", 2, 2, &[Crash, Restart, Kill, Freeze]),
        scope("n2-network", 2, 2, &[Crash, Cut, Deaf, NoEcho]),
        scope("n2-slow", 2, 2, &[Crash, Cut, Slow]),
        scope("n2-api", 2, 2, &[Crash, Hangs, LosesReplies, Refuses]),
        scope("n2-late-calls", 2, 2, &[Crash, Cut, Delays, Repeats, Stale]),
        scope("n2-people", 2, 2, &[Crash, Led, UserStop, Cut]),
        lasting(&LASTS, scope("n2-all-two", 2, 2, &Kind::ALLOWED)),
        lasting(&FEW, scope("n2-deep", 2, 3, &[Crash, Restart, Freeze, Cut])),
        lasting(&LASTS, booting(scope("n2-boot", 2, 1, &Kind::ALLOWED))),
        Scope {
            tables: 2,
            ..lasting(&FEW, scope("n2-tables", 2, 2, &[Crash, Freeze, Cut, Hangs, LosesReplies]))
        },
        scope("n3-any-one", 3, 1, &Kind::ALLOWED),
        scope("n3-crashes", 3, 3, &[Crash, Restart]),
        lasting(
            &FEW,
            two_kinds(scope("n2-kinds", 2, 2, &[Crash, Restart, Refuses, LosesReplies, Led])),
        ),
        lasting(&FEW, booting(two_kinds(scope("n2-kinds-boot", 2, 1, &[Crash, Cut, Hangs])))),
        single(scope("n2-single", 2, 2, &[Crash, Cut, Hangs, Restart])),
        lasting(&FEW, checked(scope("n2-checks", 2, 2, &[Crash, Restart, Cut, Service]))),
        lasting(&FEW, two_kinds(checked(scope("n2-both", 2, 2, &[Crash, Hangs, Service])))),
        two_kinds(checked(scope("n3-both", 3, 1, &[&Kind::ALLOWED[..], &[Service]].concat()))),
        lasting(&LASTS, scope("n2-lists", 2, 3, &[Unlisted, NoEcho, Crash, Restart])),
        lasting(&FEW, scope("n3-two", 3, 2, &[Crash, Freeze, Cut, Hangs, Unfit])),
        lasting(&FEW, scope("n2-probes", 2, 2, &[Crash, Restart, Cut, NoProbe, Blip, Unproven])),
        lasting(&FEW, scope("n3-probes", 3, 2, &[Crash, NoProbe, Blip, Unproven])),
        lasting(&FEW, booting(scope("n3-boot", 3, 1, &[Crash, Freeze, Cut]))),
        egress(scope("n2-egress-one", 2, 1, &[&Kind::ALLOWED[..], &EGRESS].concat())),
        lasting(
            &FEW,
            egress(scope(
                "n2-egress",
                2,
                2,
                &[Crash, Restart, Cut, HalfRefused, HalfDelayed, HalfStale],
            )),
        ),
        lasting(&FEW, egress(scope("n2-egress-probes", 2, 2, &[Crash, Blip, NoProbe, Landless]))),
        lasting(&FEW, booting(egress(scope("n2-egress-boot", 2, 1, &[Crash, Cut, HalfRefused])))),
        lasting(
            &FEW,
            egress(scope(
                "n2-drain",
                2,
                2,
                &[Drain, Crash, Restart, Freeze, HalfRefused, HalfDelayed],
            )),
        ),
        lasting(&FEW, scope("n2-drain-plain", 2, 2, &[Drain, Crash, Hangs, NoProbe])),
        lasting(&FEW, egress(scope("n3-drain", 3, 2, &[Drain, Crash]))),
        halves(),
        egress(scope("n3-egress-one", 3, 1, &[&Kind::ALLOWED[..], &EGRESS].concat())),
    ]
}
