//! The executors with a cloud that answers, hangs, or must not be asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::daemon::inbox::{self, Inbox};
use crate::types::{RouteVia, RouteWriteVerb, StopOrigin};

const LONG: Duration = Duration::from_mins(1);

/// A cloud whose changes and reads each answer at once or never.
#[derive(Clone, Default)]
struct Fake {
    changes_hang: bool,
    reads_hang: bool,
    calls: Arc<AtomicUsize>,
}

impl Fake {
    async fn conduct(&self, hang: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if hang {
            std::future::pending::<()>().await;
        }
    }
}

impl Cloud for Fake {
    async fn routes(
        &self,
        _: &[RouteTableId],
    ) -> Result<BTreeMap<RouteTableId, Routes>, CloudFault> {
        self.conduct(self.reads_hang).await;
        Ok(BTreeMap::new())
    }

    async fn holders(&self, _: &[Resource]) -> Result<Vec<(Resource, Location)>, CloudFault> {
        self.conduct(self.reads_hang).await;
        Ok(Vec::new())
    }

    async fn power(&self, _: &InstanceId) -> Result<PowerReport, CloudFault> {
        self.conduct(self.reads_hang).await;
        Ok(PowerReport {
            state: None,
            stop_origin: StopOrigin::Unknown,
            impaired: false,
            reason: None,
        })
    }

    async fn change(&self, _: &CloudChange, _: &Gate) -> Result<Sent, CloudFault> {
        self.conduct(self.changes_hang).await;
        Ok(Sent::Accepted)
    }
}

fn start(cloud: &Fake, limit: Duration) -> (Executors, Inbox, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let stopped_peers = StoppedPeersFile::in_directory(directory.path());
    let (notes, inbox) = inbox::channel().unwrap();
    (Executors::start(cloud, stopped_peers, &notes, limit), inbox, directory)
}

fn route() -> CloudChange {
    CloudChange::Route(RouteWrite {
        verb: RouteWriteVerb::Replace,
        table: "rtb-0123abcd".parse().unwrap(),
        cidr: "0.0.0.0/0".parse().unwrap(),
        via: RouteVia::Interface("eni-0123abcd".parse().unwrap()),
    })
}

fn node() -> InstanceId {
    "i-0123abcd".parse().unwrap()
}

/// The next ended action.
async fn next(inbox: &mut Inbox) -> (ActionId, Outcome) {
    match tokio::time::timeout(LONG, inbox.next()).await.expect("an outcome in time") {
        Some(Note::Done { id, outcome, .. }) => (id, outcome),
        other => panic!("no outcome but {other:?}"),
    }
}

fn fault(outcome: Outcome) -> CloudFaultKind {
    match outcome {
        Outcome::Routes { result } => result.unwrap_err().kind,
        Outcome::Holders { result } => result.unwrap_err().kind,
        Outcome::Power { result } => result.unwrap_err().kind,
        Outcome::Written { result } => result.unwrap_err().kind,
        Outcome::Expired => panic!("expired"),
    }
}

#[tokio::test]
async fn every_action_ends_in_one_outcome_of_its_kind() {
    let (executors, mut inbox, _directory) = start(&Fake::default(), LONG);
    executors.change(ActionId(1), route(), clock::now() + LONG).unwrap();
    assert_eq!(next(&mut inbox).await, (ActionId(1), Outcome::Written { result: Ok(()) }));
    executors.read(ActionId(2), CloudRead::Routes(Vec::new())).unwrap();
    let routes = Outcome::Routes { result: Ok(BTreeMap::new()) };
    assert_eq!(next(&mut inbox).await, (ActionId(2), routes));
    executors.read(ActionId(3), CloudRead::Power(node())).unwrap();
    assert!(matches!(next(&mut inbox).await, (ActionId(3), Outcome::Power { result: Ok(_) })));
    executors.keep(ActionId(4), BTreeSet::from([node()])).unwrap();
    assert_eq!(next(&mut inbox).await, (ActionId(4), Outcome::Written { result: Ok(()) }));
}

#[tokio::test]
async fn what_is_too_late_is_not_sent() {
    let cloud = Fake::default();
    let (executors, mut inbox, _directory) = start(&cloud, LONG);
    let past = clock::now() - Duration::from_millis(1);
    executors.change(ActionId(1), route(), past).unwrap();
    assert_eq!(next(&mut inbox).await, (ActionId(1), Outcome::Expired));
    assert_eq!(cloud.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_call_that_hangs_ends_as_unknown() {
    let cloud = Fake { changes_hang: true, reads_hang: true, ..Fake::default() };
    let (executors, mut inbox, _directory) = start(&cloud, Duration::ZERO);
    executors.change(ActionId(1), route(), clock::now() + LONG).unwrap();
    executors.read(ActionId(2), CloudRead::Power(node())).unwrap();
    for _ in 0..2 {
        assert_eq!(fault(next(&mut inbox).await.1), CloudFaultKind::Unknown);
    }
}

#[tokio::test]
async fn hanging_reads_delay_no_change() {
    let cloud = Fake { reads_hang: true, ..Fake::default() };
    let (executors, mut inbox, _directory) = start(&cloud, LONG);
    for id in 0..u64::try_from(READS_WAITING).unwrap() {
        executors.read(ActionId(id), CloudRead::Power(node())).unwrap();
    }
    executors.change(ActionId(9999), route(), clock::now() + LONG).unwrap();
    assert_eq!(next(&mut inbox).await.0, ActionId(9999));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let cloud = Fake { changes_hang: true, ..Fake::default() };
    let (executors, _inbox, _directory) = start(&cloud, LONG);
    let until = clock::now() + LONG;
    for id in 0..u64::try_from(CHANGES_WAITING).unwrap() {
        executors.change(ActionId(id), route(), until).unwrap();
    }
    let refused = executors.change(ActionId(9999), route(), until).unwrap_err();
    assert_eq!(fault(refused), CloudFaultKind::Unreachable);
}
