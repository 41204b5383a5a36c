//! Which egress IPs have arrived on this node, by echo requests from their landing addresses.
//!
//! A reply shows where packets go at that moment. For an egress IP that has just left this node,
//! that may still be the effect of an earlier association: EC2 carries out each change some seconds
//! after it has accepted it, one after the other. Such an egress IP has arrived only for as long as
//! replies keep coming.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::peers::{EchoMark, PeerSocket};
use crate::failover::EgressIp;
use crate::status::EgressProof;
use crate::types::Time;

/// Time between two probes by an egress IP that is on its way.
pub(super) const PACE: Duration = Duration::from_millis(50);
/// After this, an egress IP that EC2 shows here counts as arrived, whatever the probes say: their
/// targets may answer no echo.
const ASSUMED: Duration = Duration::from_secs(15);
/// How long EC2 may take until packets no longer follow an egress IP to this node.
const LEAVES: Duration = Duration::from_secs(20);
/// While that is possible, an egress IP is here for so long after its latest reply.
const FADES: Duration = Duration::from_millis(250);
/// Replies read in one round.
const MAX_DRAIN: usize = 64;

/// The egress IPs that are here or on their way. All maps are by landing address.
pub(super) struct Arrivals {
    probes: Probes,
    /// Those that EC2 shows here and that no probe has proven yet.
    coming: BTreeMap<Ipv4Addr, Coming>,
    /// When they arrived.
    arrived: BTreeMap<Ipv4Addr, Time>,
    /// When they left, for as long as that may not have taken effect.
    left: BTreeMap<Ipv4Addr, Time>,
}

/// An egress IP that EC2 shows here and that no probe has proven yet.
struct Coming {
    ip: EgressIp,
    since: Time,
    /// When the latest reply arrived.
    replied: Option<Time>,
    /// None until its landing address is on this host.
    socket: Option<PeerSocket>,
}

/// How egress IPs were proven.
type Proven = BTreeMap<Ipv4Addr, EgressProof>;

/// Echo requests by landing addresses.
pub(super) struct Probes {
    pub(super) targets: Vec<Ipv4Addr>,
    pub(super) mark: EchoMark,
    pub(super) sequence: u16,
}

/// Where packets to an egress IP go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not here, as far as is known.
    Elsewhere,
    /// Here while replies come: an earlier change may still take effect.
    HereNow,
    /// Here.
    Here(EgressProof),
}

impl Arrivals {
    /// Nothing is known yet.
    pub(super) fn new(probes: Probes) -> Self {
        let (coming, arrived, left) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { probes, coming, arrived, left }
    }

    /// Takes in which egress IPs EC2 shows here.
    pub(super) fn take(&mut self, here: BTreeMap<Ipv4Addr, EgressIp>, now: Time) {
        self.left.retain(|_, left| now.since(*left) < LEAVES);
        let known = self.coming.keys().chain(self.arrived.keys());
        let gone: BTreeSet<Ipv4Addr> =
            known.filter(|landing| !here.contains_key(landing)).copied().collect();
        self.arrived.retain(|landing, _| here.contains_key(landing));
        self.coming.retain(|landing, _| here.contains_key(landing));
        self.left.extend(gone.into_iter().map(|landing| (landing, now)));
        for (landing, ip) in here {
            if !self.arrived.contains_key(&landing) {
                let coming = Coming { ip, since: now, replied: None, socket: None };
                self.coming.entry(landing).or_insert(coming);
            }
        }
    }

    /// Takes over from an earlier run of the monitor: an egress IP that is here and to which the
    /// kernel translates has arrived. Probes then only add the proof.
    pub(super) fn inherit(&mut self, translated: &BTreeSet<Ipv4Addr>, now: Time) {
        for (landing, coming) in self.coming.iter().filter(|(one, _)| translated.contains(one)) {
            let address = coming.ip.address;
            tracing::info!("egress IP {address} was in use on {landing} before this start");
            self.arrived.insert(*landing, now);
        }
    }

    /// Takes in replies, and sends the next probes. Returns how egress IPs were proven in this
    /// round, and a landing address that cannot be used, if there is one.
    pub(super) fn probe(&mut self, now: Time) -> (Proven, Option<(Ipv4Addr, io::Error)>) {
        let (mut proven, mut failure) = (BTreeMap::new(), None);
        self.probes.sequence = self.probes.sequence.wrapping_add(1);
        for (landing, coming) in &mut self.coming {
            if coming.socket.is_none() {
                match PeerSocket::echo(*landing, None, self.probes.mark, now) {
                    Ok(socket) => coming.socket = Some(socket),
                    Err(error) => failure = Some((*landing, error)),
                }
            }
            if let Some(socket) = &mut coming.socket {
                coming.replied = coming.replied.max(self.probes.answered(socket, now));
            }
            let left = self.left.get(landing).copied();
            match coming.place(left, now) {
                Place::Here(proof) => {
                    coming.enter(&mut self.arrived, *landing, proof, now);
                    proven.insert(*landing, proof);
                }
                Place::HereNow => {
                    coming.enter(&mut self.arrived, *landing, EgressProof::Probe, now);
                    self.probes.ask(coming.socket.as_ref());
                }
                Place::Elsewhere => {
                    if left.is_some() && self.arrived.remove(landing).is_some() {
                        let address = coming.ip.address;
                        tracing::info!(
                            "egress IP {address} is not on {landing} for now: it left this node a \
                             moment ago, and probes by it are not answered"
                        );
                    }
                    self.probes.ask(coming.socket.as_ref());
                }
            }
        }
        self.coming.retain(|landing, _| !proven.contains_key(landing));
        (proven, failure)
    }

    /// Landing addresses, and when they got their egress IPs.
    pub(super) const fn arrived(&self) -> &BTreeMap<Ipv4Addr, Time> {
        &self.arrived
    }

    /// Whether egress IPs are probed.
    pub(super) fn is_probing(&self) -> bool {
        !self.coming.is_empty()
    }

    /// Whether a landing address is used for the first time.
    pub(super) fn is_new(&self) -> bool {
        self.coming.values().any(|coming| coming.socket.is_none())
    }

    /// Whether an egress IP is still on its way.
    pub(super) fn awaits(&self) -> bool {
        self.coming.keys().any(|landing| !self.arrived.contains_key(landing))
    }
}

impl Coming {
    /// Where packets to it go, if this node had it until `left`.
    fn place(&self, left: Option<Time>, now: Time) -> Place {
        let is_answered = self.replied.is_some_and(|replied| now.since(replied) < FADES);
        let is_assumed = now.since(self.since) >= ASSUMED;
        let may_leave = left.is_some_and(|left| now.since(left) < LEAVES);
        match (is_answered, may_leave && !is_assumed) {
            (true, false) => Place::Here(EgressProof::Probe),
            (true, true) => Place::HereNow,
            (false, _) if is_assumed => Place::Here(EgressProof::Time),
            (false, _) => Place::Elsewhere,
        }
    }

    /// It is here from now on, if it was not before.
    fn enter(
        &self,
        arrived: &mut BTreeMap<Ipv4Addr, Time>,
        landing: Ipv4Addr,
        proof: EgressProof,
        now: Time,
    ) {
        arrived.entry(landing).or_insert_with(|| {
            let how = match proof {
                EgressProof::Probe => "a probe by it was answered",
                EgressProof::Time | EgressProof::None => "EC2 shows it here",
            };
            tracing::info!(
                "egress IP {} has arrived on {landing}: {how}, {} ms after EC2 accepted it",
                self.ip.address,
                now.since(self.since).as_millis()
            );
            now
        });
    }
}

impl Probes {
    fn ask(&self, socket: Option<&PeerSocket>) {
        let request = self.mark.request(self.sequence);
        for target in &self.targets {
            // A request that cannot be sent gets no reply, which is what counts.
            let _ = socket.map(|socket| socket.send(&request, SocketAddrV4::new(*target, 0)));
        }
    }

    /// When the latest reply arrived.
    fn answered(&self, socket: &mut PeerSocket, now: Time) -> Option<Time> {
        let mut latest = None;
        socket.drain(now, MAX_DRAIN, |datagram| {
            let asked = self.targets.contains(datagram.from.ip());
            if asked && self.mark.is_reply(datagram.bytes) {
                latest = latest.max(Some(datagram.at));
            }
        });
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::EgressId;

    const LANDING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 201);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn ip() -> EgressIp {
        EgressIp {
            id: EgressId::from(&"eipalloc-00000001".parse().unwrap()),
            address: Ipv4Addr::new(192, 0, 2, 1),
            landing: LANDING,
            is_here: true,
            is_coming: false,
        }
    }

    /// The place of an egress IP at a time, if the association was accepted at 1 s.
    fn place(left: Option<u64>, replied: Option<u64>, now: u64) -> Place {
        let replied = replied.map(at);
        Coming { ip: ip(), since: at(1_000), replied, socket: None }.place(left.map(at), at(now))
    }

    #[test]
    fn an_egress_ip_has_arrived_with_the_first_reply_or_after_a_while() {
        assert_eq!(place(None, None, 1_050), Place::Elsewhere);
        assert_eq!(place(None, Some(1_050), 1_050), Place::Here(EgressProof::Probe));
        assert_eq!(place(None, None, 15_999), Place::Elsewhere);
        assert_eq!(place(None, None, 16_000), Place::Here(EgressProof::Time));
    }

    #[test]
    fn one_that_left_a_moment_ago_is_here_only_while_replies_come() {
        let left = Some(200);
        assert_eq!(place(left, Some(1_050), 1_050), Place::HereNow);
        assert_eq!(place(left, Some(1_050), 1_299), Place::HereNow);
        assert_eq!(place(left, Some(1_050), 1_300), Place::Elsewhere);
        assert_eq!(place(left, Some(4_000), 4_000), Place::HereNow);
        // EC2 has shown it here for long, or it left long ago.
        assert_eq!(place(left, Some(16_000), 16_000), Place::Here(EgressProof::Probe));
        let here_late =
            Coming { ip: ip(), since: at(19_000), replied: Some(at(20_200)), socket: None };
        assert_eq!(here_late.place(Some(at(200)), at(20_200)), Place::Here(EgressProof::Probe));
        assert_eq!(here_late.place(Some(at(201)), at(20_200)), Place::HereNow);
    }

    #[test]
    fn an_egress_ip_that_comes_back_is_known_to_have_left_for_a_while() {
        let probes = Probes { targets: Vec::new(), mark: EchoMark::new(0), sequence: 0 };
        let mut arrivals = Arrivals::new(probes);
        let here = || BTreeMap::from([(LANDING, ip())]);
        arrivals.take(here(), at(0));
        assert!(arrivals.awaits() && arrivals.is_new() && arrivals.left.is_empty());
        arrivals.inherit(&BTreeSet::from([LANDING]), at(10));
        assert!(arrivals.is_probing() && !arrivals.awaits());
        arrivals.take(BTreeMap::new(), at(1_000));
        assert_eq!(arrivals.left, BTreeMap::from([(LANDING, at(1_000))]));
        assert!(arrivals.arrived().is_empty() && !arrivals.is_probing());
        arrivals.take(here(), at(2_000));
        assert_eq!(arrivals.left, BTreeMap::from([(LANDING, at(1_000))]));
        assert!(arrivals.awaits());
        arrivals.take(here(), at(21_000));
        assert!(arrivals.left.is_empty());
    }
}
