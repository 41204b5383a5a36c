//! Encodes and decodes one packet. The format is in the module documentation of [`crate::wire`].

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::Rejected;
use super::key::{HeartbeatKey, TAG_LEN};
use super::reader::Reader;
use crate::types::{
    Beat, Claim, Evidence, Fault, Fitness, GroupName, Hears, InstanceId, ProgramVersion, SessionId,
};

/// Maximum size of a packet, in bytes of UDP payload.
pub const MAX_PACKET: usize = 1200;

const MAGIC: [u8; 4] = *b"NTHA";
const VERSION: u8 = 1;
const FLAG_TAGGED: u8 = 1;
const FLAG_LEAVING: u8 = 2;
const FLAG_CLAIMS_OMITTED: u8 = 4;
/// The body also contains `unfit_for`, and a receiver per claim. Without this flag the body is that
/// of older versions, so that old and new nodes hear each other until one of them uses these
/// features.
const FLAG_SERVICES: u8 = 8;
/// Only in the last heartbeats of a monitor. Older versions reject these.
const FLAG_RESTARTING: u8 = 16;
/// Older versions reject these, too.
const FLAG_LATCHED: u8 = 32;
/// Reserved for what later versions say without a change of the layout. Ignored: a version that
/// does not know a flag reads the rest of the heartbeat.
const FLAGS_RESERVED: u8 = 64 + 128;
const _: () = assert!(
    FLAG_TAGGED
        + FLAG_LEAVING
        + FLAG_CLAIMS_OMITTED
        + FLAG_SERVICES
        + FLAG_RESTARTING
        + FLAG_LATCHED
        + FLAGS_RESERVED
        == u8::MAX,
    "every flag is known or reserved"
);
const HEARS_FAILED: u8 = 1;
const HEARS_STOPPED: u8 = 2;
const CLUSTER_LABEL: &[u8] = b"natha cluster 1\0";

/// Maximum number of `hears` lines in a packet. The largest cluster has 16 nodes.
const MAX_HEARS: usize = 32;

/// Encodes the packets of one run of a monitor and decodes those that it receives.
#[derive(Debug, Clone)]
pub struct Sender {
    me: InstanceId,
    session: SessionId,
    cluster: u64,
    key: Option<HeartbeatKey>,
    /// Accepted, never used to send.
    second_key: Option<HeartbeatKey>,
    /// Sent, if there is one.
    version: Option<ProgramVersion>,
    sequence: u64,
}

/// A packet ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// UDP payload.
    pub bytes: Vec<u8>,
    /// How many entries of `holds` and `unfit_for` had no room: the last ones in the beat's order.
    pub claims_omitted: usize,
}

/// A packet as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The sender that the packet names.
    pub from: InstanceId,
    /// The sender's session.
    pub session: SessionId,
    /// Sequence number within the session.
    pub sequence: u64,
    /// The sender's version of natha; none from a build that sends none.
    pub version: Option<ProgramVersion>,
    /// The content of the heartbeat.
    pub beat: Beat,
    /// Whether `beat.holds` or `beat.unfit_for` is incomplete.
    pub claims_omitted: bool,
}

impl Sender {
    /// A sender for node `me` in the cluster with this name.
    #[must_use]
    pub fn new(
        me: InstanceId,
        session: SessionId,
        cluster: &str,
        key: Option<HeartbeatKey>,
    ) -> Self {
        let cluster = cluster_digest(cluster);
        Self { me, session, cluster, key, second_key: None, version: None, sequence: 0 }
    }

    /// Also sends this version of natha.
    #[must_use]
    pub fn with_version(self, version: ProgramVersion) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Also accepts packets with the tag of `key`, if packets are tagged at all: while a key is
    /// replaced, some nodes send with the old one and some with the new one.
    #[must_use]
    pub fn accepting(self, key: Option<HeartbeatKey>) -> Self {
        Self { second_key: key, ..self }
    }

    /// The session in its packets.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whether packets are tagged. If so, their source address does not matter.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.key.is_some()
    }

    /// Encodes the next packet, of at most [`MAX_PACKET`] bytes. A heartbeat must go out however
    /// much the node holds, so claims without room are omitted and the packet is flagged
    /// accordingly.
    pub fn encode(&mut self, beat: &Beat) -> Encoded {
        self.sequence += 1;
        let tag_len = if self.key.is_some() { TAG_LEN } else { 0 };
        let room = MAX_PACKET - tag_len;
        let mut out = Vec::with_capacity(MAX_PACKET);
        out.extend(MAGIC);
        out.push(VERSION);
        let flags_at = out.len();
        out.push(self.flags(beat));
        out.extend(self.cluster.to_be_bytes());
        out.extend(self.session.0.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        put_instance(&mut out, &self.me);
        out.push(fitness_to_bits(&beat.fitness));
        out.extend(beat.settings_digest.to_be_bytes());
        let itself = self.version.map(|version| line_of(&self.me, version));
        put_hears(&mut out, itself.iter().chain(&beat.hears));
        // `unfit_for` comes first and leaves room for the count of `holds`.
        let services = uses_services(beat);
        let names_omitted =
            if services { put_names(&mut out, &beat.unfit_for, room - 1) } else { 0 };
        let claims_omitted = names_omitted + put_claims(&mut out, &beat.holds, services, room);
        if claims_omitted > 0
            && let Some(flags) = out.get_mut(flags_at)
        {
            *flags += FLAG_CLAIMS_OMITTED;
        }
        if let Some(key) = &self.key {
            let tag = key.tag(&[&out]);
            out.extend(tag);
        }
        Encoded { bytes: out, claims_omitted }
    }

    fn flags(&self, beat: &Beat) -> u8 {
        let tagged = if self.key.is_some() { FLAG_TAGGED } else { 0 };
        let leaving = if beat.leaving { FLAG_LEAVING } else { 0 };
        let services = if uses_services(beat) { FLAG_SERVICES } else { 0 };
        let restarting = if beat.restarting { FLAG_RESTARTING } else { 0 };
        let latched = if beat.latched { FLAG_LATCHED } else { 0 };
        tagged + leaving + services + restarting + latched
    }

    /// Decodes a datagram.
    ///
    /// # Errors
    /// The first check that failed. The tag is checked before anything after the header is parsed,
    /// so senders without the key never reach the rest of the decoder.
    pub fn decode(&self, datagram: &[u8]) -> Result<Packet, Rejected> {
        self.decode_if(datagram, |_, _| Ok(()))
    }

    /// Like [`Self::decode`], but calls `worth_it` with the packet's session and sequence before it
    /// computes the tag, by far the most expensive step.
    pub(super) fn decode_if(
        &self,
        datagram: &[u8],
        worth_it: impl FnOnce(SessionId, u64) -> Result<(), Rejected>,
    ) -> Result<Packet, Rejected> {
        if datagram.len() > MAX_PACKET {
            return Err(Rejected::Oversized);
        }
        let mut header = Reader(datagram);
        if header.array::<4>()? != MAGIC {
            return Err(Rejected::NotNatha);
        }
        match header.byte()? {
            VERSION => {}
            0 => return Err(Rejected::Malformed),
            _ => return Err(Rejected::FutureVersion),
        }
        let flags = header.byte()?;
        if header.u64()? != self.cluster {
            return Err(Rejected::ForeignCluster);
        }
        let tag_len = self.check_tag(datagram, flags, header.clone(), worth_it)?;
        let body_len = header.0.len().checked_sub(tag_len).ok_or(Rejected::Truncated)?;
        let mut body = Reader(header.take(body_len)?);
        let session = SessionId(body.u64()?);
        let sequence = body.u64()?;
        let from = body.instance()?;
        let services = flags & FLAG_SERVICES != 0;
        let mut beat = Beat {
            fitness: bits_to_fitness(body.byte()?),
            leaving: flags & FLAG_LEAVING != 0,
            restarting: flags & FLAG_RESTARTING != 0,
            latched: flags & FLAG_LATCHED != 0,
            settings_digest: body.u64()?,
            hears: body.hears()?,
            unfit_for: if services { body.names()? } else { BTreeSet::new() },
            holds: body.claims(services)?,
        };
        if !body.0.is_empty() {
            return Err(Rejected::TrailingBytes);
        }
        let version = take_version(&mut beat.hears, &from);
        let claims_omitted = flags & FLAG_CLAIMS_OMITTED != 0;
        Ok(Packet { from, session, sequence, version, beat, claims_omitted })
    }

    /// Checks the tag if there must be one, and returns its length in bytes.
    fn check_tag(
        &self,
        datagram: &[u8],
        flags: u8,
        mut body: Reader<'_>,
        worth_it: impl FnOnce(SessionId, u64) -> Result<(), Rejected>,
    ) -> Result<usize, Rejected> {
        match (&self.key, flags & FLAG_TAGGED != 0) {
            (None, false) => Ok(0),
            (None, true) => Err(Rejected::Unverifiable),
            (Some(_), false) => Err(Rejected::Untagged),
            (Some(key), true) => {
                worth_it(SessionId(body.u64()?), body.u64()?)?;
                let (bytes, tag) =
                    datagram.split_last_chunk::<TAG_LEN>().ok_or(Rejected::Truncated)?;
                let mut keys = [key].into_iter().chain(&self.second_key);
                let is_valid = keys.any(|key| key.verify(&[bytes], tag));
                if is_valid { Ok(TAG_LEN) } else { Err(Rejected::BadTag) }
            }
        }
    }
}

/// The cluster's name as packets and streams have it: the first bytes of its SHA-256, with a label.
#[must_use]
pub fn cluster_digest(name: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(CLUSTER_LABEL);
    hash.update(name.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

fn put_instance(out: &mut Vec<u8>, id: &InstanceId) {
    let digits = id.as_str().strip_prefix("i-").unwrap_or_default().as_bytes();
    out.push(u8::try_from(digits.len()).unwrap_or_default());
    for pair in digits.chunks(2) {
        let high = pair.first().map_or(0, |digit| nibble(*digit));
        let low = pair.get(1).map_or(0, |digit| nibble(*digit));
        out.push(high * 16 + low);
    }
}

/// The value of a lower-case hexadecimal digit. Ids contain no other characters.
const fn nibble(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit.wrapping_sub(b'a' - 10) & 0x0f }
}

fn put_hears<'a>(out: &mut Vec<u8>, hears: impl Iterator<Item = &'a Hears>) {
    let count_at = out.len();
    out.push(0);
    let mut count = 0_u8;
    for one in hears.take(MAX_HEARS) {
        put_instance(out, &one.node);
        out.extend(one.session.0.to_be_bytes());
        out.extend(one.age_ms.to_be_bytes());
        let failed = if one.failed { HEARS_FAILED } else { 0 };
        let stopped = if one.stopped { HEARS_STOPPED } else { 0 };
        out.push(failed + stopped);
        count += 1;
    }
    if let Some(place) = out.get_mut(count_at) {
        *place = count;
    }
}

/// The `hears` line of a sender about itself, which has its version in place of a session. Builds
/// that do not know it find no use for it: it is about no peer, and has no age.
fn line_of(me: &InstanceId, version: ProgramVersion) -> Hears {
    let session = SessionId(version.to_bits());
    Hears { node: me.clone(), session, age_ms: u16::MAX, failed: false, stopped: false }
}

/// Takes that line out of a beat. It is always the first one.
fn take_version(hears: &mut Vec<Hears>, from: &InstanceId) -> Option<ProgramVersion> {
    let first = hears.first()?;
    let version = ProgramVersion::from_bits(first.session.0);
    if *first != line_of(from, version) {
        return None;
    }
    hears.remove(0);
    Some(version)
}

/// Whether the beat needs [`FLAG_SERVICES`].
fn uses_services(beat: &Beat) -> bool {
    !beat.unfit_for.is_empty() || beat.holds.iter().any(|claim| claim.to.is_some())
}

/// Appends the claims that fit within `room` bytes, with or without receivers. Returns how many did
/// not fit.
fn put_claims(out: &mut Vec<u8>, claims: &[Claim], receivers: bool, room: usize) -> usize {
    let count_at = out.len();
    out.push(0);
    let mut count = 0_u8;
    for claim in claims {
        let start = out.len();
        put_name(out, &claim.group);
        out.extend(claim.generation.to_be_bytes());
        match &claim.to {
            _ if !receivers => {}
            Some(to) => put_instance(out, to),
            None => out.push(0),
        }
        if count == u8::MAX || out.len() > room {
            out.truncate(start);
            break;
        }
        count += 1;
    }
    if let Some(place) = out.get_mut(count_at) {
        *place = count;
    }
    claims.len() - usize::from(count)
}

/// Appends the names that fit within `room` bytes. Returns how many did not fit.
fn put_names(out: &mut Vec<u8>, names: &BTreeSet<GroupName>, room: usize) -> usize {
    let count_at = out.len();
    out.push(0);
    let mut count = 0_u8;
    for name in names {
        if count == u8::MAX || out.len() + 1 + name.as_str().len() > room {
            break;
        }
        put_name(out, name);
        count += 1;
    }
    if let Some(place) = out.get_mut(count_at) {
        *place = count;
    }
    names.len() - usize::from(count)
}

fn put_name(out: &mut Vec<u8>, name: &GroupName) {
    let name = name.as_str().as_bytes();
    out.push(u8::try_from(name.len()).unwrap_or_default());
    out.extend(name);
}

/// The place of the first kind of missing evidence among the bits of the fitness.
const UNPROVEN_AT: usize = Fault::ALL.len();
const _: () = assert!(UNPROVEN_AT + Evidence::ALL.len() <= 8, "the fitness has one byte");

fn fitness_to_bits(fitness: &Fitness) -> u8 {
    let faults = Fault::ALL.iter().map(|fault| fitness.faults.contains(fault));
    let unproven = Evidence::ALL.iter().map(|kind| fitness.unproven.contains(kind));
    let bits = faults.chain(unproven).enumerate();
    bits.map(|(place, is_set)| u8::from(is_set) << place).sum()
}

fn bits_to_fitness(bits: u8) -> Fitness {
    let is_set = |place: usize| bits & (1 << place) != 0;
    let faults = Fault::ALL.into_iter().enumerate();
    let unproven = Evidence::ALL.into_iter().enumerate();
    let faults = faults.filter(|(place, _)| is_set(*place));
    let unproven = unproven.filter(|(place, _)| is_set(UNPROVEN_AT + place));
    Fitness {
        faults: faults.map(|(_, fault)| fault).collect(),
        unproven: unproven.map(|(_, kind)| kind).collect(),
    }
}

/// The parts of a packet.
impl Reader<'_> {
    fn instance(&mut self) -> Result<InstanceId, Rejected> {
        let digits = usize::from(self.byte()?);
        self.instance_of(digits)
    }

    /// One that may be absent.
    fn maybe_instance(&mut self) -> Result<Option<InstanceId>, Rejected> {
        match usize::from(self.byte()?) {
            0 => Ok(None),
            digits => self.instance_of(digits).map(Some),
        }
    }

    fn instance_of(&mut self, digits: usize) -> Result<InstanceId, Rejected> {
        if !matches!(digits, 8 | 17) {
            return Err(Rejected::Malformed);
        }
        let mut text = String::with_capacity(2 + digits + 1);
        text.push_str("i-");
        for byte in self.take(digits.div_ceil(2))? {
            text.push(char::from_digit(u32::from(byte >> 4), 16).ok_or(Rejected::Malformed)?);
            text.push(char::from_digit(u32::from(byte & 0x0f), 16).ok_or(Rejected::Malformed)?);
        }
        // One id has one encoding: the half byte after an odd count of digits is zero.
        if digits % 2 == 1 && text.pop() != Some('0') {
            return Err(Rejected::Malformed);
        }
        text.parse().map_err(|_| Rejected::Malformed)
    }

    fn hears(&mut self) -> Result<Vec<Hears>, Rejected> {
        let count = usize::from(self.byte()?);
        if count > MAX_HEARS {
            return Err(Rejected::Malformed);
        }
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let node = self.instance()?;
            let session = SessionId(self.u64()?);
            let age_ms = self.u16()?;
            // Bits of a later version are ignored, as in the faults.
            let flags = self.byte()?;
            let (failed, stopped) = (flags & HEARS_FAILED != 0, flags & HEARS_STOPPED != 0);
            all.push(Hears { node, session, age_ms, failed, stopped });
        }
        Ok(all)
    }

    fn claims(&mut self, receivers: bool) -> Result<Vec<Claim>, Rejected> {
        let count = usize::from(self.byte()?);
        let mut all = Vec::new();
        for _ in 0..count {
            let group = self.name()?;
            let generation = self.u32()?;
            let to = if receivers { self.maybe_instance()? } else { None };
            all.push(Claim { group, generation, to });
        }
        Ok(all)
    }

    fn names(&mut self) -> Result<BTreeSet<GroupName>, Rejected> {
        let count = self.byte()?;
        let mut all = BTreeSet::new();
        for _ in 0..count {
            let name = self.name()?;
            // Sorted and without duplicates, so that a set has exactly one encoding.
            if all.last() >= Some(&name) {
                return Err(Rejected::Malformed);
            }
            all.insert(name);
        }
        Ok(all)
    }

    fn name(&mut self) -> Result<GroupName, Rejected> {
        let length = usize::from(self.byte()?);
        let name = str::from_utf8(self.take(length)?).map_err(|_| Rejected::Malformed)?;
        name.parse().map_err(|_| Rejected::Malformed)
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
