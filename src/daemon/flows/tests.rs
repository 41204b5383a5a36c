//! Two nodes on the loopback device, without a kernel's connection tracking.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{interval, timeout};

use super::report;
use super::shared::{Identity, Shared};
use super::{heir, owner};
use crate::config::Replicate;
use crate::daemon::clock;
use crate::flows::{BootId, Change, Entry, Flow, Message, Protocol, Record, StreamKeys, Tuple};
use crate::types::{EgressId, InstanceId, Member};
use crate::wire::StreamKey;

const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn node(n: u8) -> InstanceId {
    format!("i-0000000{n}").parse().unwrap()
}

pub(super) fn egress() -> EgressId {
    EgressId::from(&"eipalloc-00000001".parse().unwrap())
}

pub(super) fn landing(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, n, 201)
}

/// The nodes of one test are in a network of its own: 127.`test`.0.n.
fn member(test: u8, n: u8) -> Member {
    Member {
        id: node(n),
        interface: format!("eni-0000000{n}").parse().unwrap(),
        address: Ipv4Addr::new(127, test, 0, n),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::from([("eipalloc-00000001".parse().unwrap(), landing(n))]),
    }
}

pub(super) fn shared(test: u8, me: u8, key: &str) -> Rc<Shared> {
    let shared = Shared::new(Identity {
        me: node(me),
        address: member(test, me).address,
        port: 6_284,
        boot: BootId([me; 16]),
        cluster: 1,
        settings: 1,
        keys: StreamKeys { own: Some(StreamKey::derive(key.as_bytes())), second: None },
        replicate: Replicate::default(),
    });
    let members = [1, 2].map(|n| (node(n), member(test, n)));
    *shared.members.borrow_mut() = members.into();
    *shared.served.borrow_mut() = Some(BTreeMap::from([(landing(me), egress())]));
    Rc::new(shared)
}

pub(super) fn entry(port: u16) -> Entry {
    let tuple = Tuple {
        protocol: Protocol::Udp,
        source: Ipv4Addr::new(10, 0, 9, 9),
        destination: Ipv4Addr::new(192, 0, 2, 1),
        source_port: port,
        destination_port: 53,
    };
    let flow = Flow {
        tuple,
        translated_port: port,
        seen_reply: true,
        assured: true,
        tcp: None,
        timeout_s: 120,
        mark: 0,
    };
    Entry { landing: landing(1), flow }
}

/// What is held of an owner then: one connection by the egress IP.
fn give(heir: &Shared, owner: &InstanceId, port: u16) {
    let now = clock::now();
    let records = vec![Record { egress: egress(), flow: entry(port).flow }];
    let records = Message::Records { oldest: now, records };
    heir.with_held(owner, |held| held.replica.apply(&records, now)).unwrap();
}

/// Waits until `ready` holds. Dumps that a sender wants are empty.
async fn until(what: &str, owner: &Shared, ready: impl Fn() -> bool) {
    let waited = async {
        let mut rounds = interval(Duration::from_millis(5));
        while !ready() {
            rounds.tick().await;
            let now = clock::now();
            owner.each_sender(|sender| {
                if sender.wants_dump(now) {
                    sender.begin_dump();
                    sender.end_dump(now);
                }
            });
        }
    };
    assert!(timeout(LIMIT, waited).await.is_ok(), "never so: {what}");
}

fn is_live(owner: &Shared) -> bool {
    report::report(owner, None, clock::now())
        .heirs
        .get(&node(2))
        .is_some_and(|it| it.state == "live")
}

fn held(heir: &Shared) -> usize {
    heir.held.borrow().get(&node(1)).map_or(0, |held| held.replica.len())
}

async fn in_one_thread(test: impl Future<Output = ()> + 'static) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn connections_reach_the_heir_also_after_it_was_away() {
    in_one_thread(async {
        let (owner, heir) = (shared(31, 1, "one"), shared(31, 2, "one"));
        let mut links = owner::Links::default();
        let served = owner.served.take();
        links.update(&owner);
        assert!(owner.links.borrow().is_empty(), "it does not know yet what it has");
        *owner.served.borrow_mut() = served;
        links.update(&owner);
        until("no heir listens", &owner, || {
            let report = report::report(&owner, None, clock::now());
            report.heirs[&node(2)].state.contains("cannot connect to 127.31.0.2:6284")
        })
        .await;
        let accepting = spawn_local(heir::accept(heir.clone()));
        until("the stream is live", &owner, || is_live(&owner)).await;
        owner.each_sender(|sender| sender.change(&Change::Seen(entry(1)), clock::now()));
        until("it is held", &owner, || held(&heir) == 1).await;
        // The heir restarts: it has nothing any more.
        accepting.abort();
        drop(accepting.await);
        let again = shared(31, 2, "one");
        spawn_local(heir::accept(again.clone()));
        until("it is live again", &owner, || is_live(&owner) && !again.held.borrow().is_empty())
            .await;
        owner.each_sender(|sender| sender.change(&Change::Seen(entry(2)), clock::now()));
        until("the other is held", &owner, || held(&again) == 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_member_with_another_key_and_a_stranger_are_refused() {
    in_one_thread(async {
        let (owner, heir) = (shared(32, 1, "one"), shared(32, 2, "other"));
        spawn_local(heir::accept(heir.clone()));
        let mut links = owner::Links::default();
        links.update(&owner);
        until("the owner has the reason", &owner, || {
            let report = report::report(&owner, None, clock::now());
            report.heirs[&node(2)].state != "connecting" && !is_live(&owner)
        })
        .await;
        assert_eq!(held(&heir), 0);
        let state = heir.held.borrow()[&node(1)].state.clone();
        assert!(state.unwrap_err().contains("invalid tag"));
        let stranger = TcpSocket::new_v4().unwrap();
        stranger.bind("127.32.0.9:0".parse().unwrap()).unwrap();
        let stream = stranger.connect("127.32.0.2:6284".parse().unwrap()).await.unwrap();
        until("it is counted", &owner, || heir.strangers.get() == 1).await;
        drop(stream);
    })
    .await;
}

#[test]
fn what_a_silent_owner_had_is_forgotten_in_time() {
    let heir = shared(33, 2, "one");
    for owner in [node(1), node(3)] {
        give(&heir, &owner, 1);
    }
    let now = clock::now();
    heir.age(now + Duration::from_mins(2));
    assert_eq!((held(&heir), heir.held.borrow().len()), (1, 2), "two minutes and one more");
    heir.age(now + Duration::from_mins(4));
    assert_eq!((held(&heir), heir.held.borrow().len()), (0, 1), "the other is no member");
}

#[test]
fn an_owner_that_has_shown_its_connections_supersedes_those_without_a_stream() {
    let heir = shared(34, 2, "one");
    let owners = [node(1), node(3), node(4)];
    for (owner, port) in owners.iter().zip(1..) {
        give(&heir, owner, port);
    }
    let left = || owners.each_ref().map(|owner| heir.held.borrow()[owner].replica.len());
    heir.supersede();
    assert_eq!(left(), [1, 1, 1], "no owner has shown all that it has");
    let now = clock::now();
    // Two of them send, as in a planned move. The third one has just opened its stream again.
    for (owner, is_shown) in owners.iter().zip([true, true, false]) {
        heir.with_held(owner, |held| {
            held.state = Ok(());
            held.replica.begin(BootId([1; 16]));
            for message in [
                Message::ResyncBegin { count: 1 },
                Message::Records { oldest: now, records: held.replica.records().collect() },
                Message::ResyncEnd { records: 1, removals: 0 },
            ] {
                if is_shown {
                    held.replica.apply(&message, now).unwrap();
                }
            }
        });
    }
    heir.supersede();
    assert_eq!(left(), [1, 1, 1], "each would send only what changes");
    for owner in &owners[1..] {
        heir.with_held(owner, |held| held.state = Err("the stream has ended".to_owned()));
    }
    heir.supersede();
    assert_eq!(left(), [1, 0, 0]);
}
