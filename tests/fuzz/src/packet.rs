//! One datagram: whatever its bytes are, decoding ends, in bounded memory, with a packet that is
//! encoded to the same bytes, or with a reason. Nobody without the key gets anything accepted.

use natha::types::{InstanceId, ProgramVersion, SessionId};
use natha::wire::{HeartbeatKey, MAX_PACKET, Packet, Rejected, Sender};

use crate::dice::Dice;

const KEY: &[u8] = b"a key of the fuzz targets";
const CLUSTER: &str = "blue";
/// Where a packet's sequence number and flags are: `src/wire/mod.rs` has the table.
const SEQUENCE: std::ops::Range<usize> = 22..30;
const FLAGS: usize = 5;
/// The flag of a packet that has room for services in its body.
const SERVICES: u8 = 8;
/// The bytes before the session: magic, version, flags and cluster.
const HEADER: usize = 14;

fn node() -> InstanceId {
    "i-0123456789abcdef0".parse().expect("an id")
}

fn sender(key: Option<&[u8]>) -> Sender {
    Sender::new(node(), SessionId(1), CLUSTER, key.map(HeartbeatKey::derive))
}

/// Bytes as they come, and again behind a header that leads into the body's decoder.
pub(crate) fn bytes(input: &[u8]) {
    judge(input);
    let mut beat = Dice::new(input).beat(&[node()], &["g0"]);
    let packet = sender(None).encode(&beat).bytes;
    let mut behind_header = packet[..HEADER].to_vec();
    behind_header.extend(input);
    judge(&behind_header);
    beat.hears.clear();
    let tagged = sender(Some(KEY)).encode(&beat).bytes;
    let mut behind_header = tagged[..HEADER].to_vec();
    behind_header.extend(input);
    judge(&behind_header);
}

/// What holds for any datagram.
fn judge(datagram: &[u8]) {
    let keyed = sender(Some(KEY)).decode(datagram);
    assert!(keyed.is_err(), "a packet made without the key is accepted: {datagram:02x?}");
    match sender(None).decode(datagram) {
        Ok(packet) => same_bytes(datagram, &packet),
        Err(reason) => {
            assert!(Rejected::ALL.contains(&reason), "{reason} is counted nowhere");
            assert_eq!(reason == Rejected::Oversized, datagram.len() > MAX_PACKET);
        }
    }
}

/// A packet has one encoding, apart from bits that this version does not know, and from room for
/// services that it does not use.
fn same_bytes(datagram: &[u8], packet: &Packet) {
    let has_room = datagram[FLAGS] & SERVICES != 0;
    let mut receivers = packet.beat.holds.iter().filter_map(|claim| claim.to.as_ref());
    if has_room && packet.beat.unfit_for.is_empty() && receivers.next().is_none() {
        return;
    }
    let mut datagram = datagram.to_vec();
    clear_unknown_bits(&mut datagram, packet);
    let same = Sender::new(packet.from.clone(), packet.session, CLUSTER, None);
    let mut same = match packet.version {
        Some(version) => same.with_version(version),
        None => same,
    };
    let mut again = same.encode(&packet.beat);
    assert_eq!(again.claims_omitted, 0, "a packet was decoded that is never sent");
    again.bytes[SEQUENCE].copy_from_slice(&datagram[SEQUENCE]);
    again.bytes[FLAGS] = datagram[FLAGS];
    assert_eq!(again.bytes, datagram);
}

/// Clears the bits of the `hears` lines that only a later version knows. Of the byte with the
/// faults, every bit is known.
fn clear_unknown_bits(datagram: &mut [u8], packet: &Packet) {
    let encoded = |id: &InstanceId| 1 + (id.as_str().len() - "i-".len()).div_ceil(2);
    let mut at = SEQUENCE.end + encoded(&packet.from);
    // The settings digest and the count of lines.
    at += 1 + 8 + 1;
    let itself = packet.version.map(|_| &packet.from);
    let peers = packet.beat.hears.iter().map(|hears| &hears.node);
    for node in itself.into_iter().chain(peers) {
        // The session and the age.
        at += encoded(node) + 8 + 2;
        datagram[at] &= 3;
        at += 1;
    }
}

/// A beat of any content comes back as it was; the tagged packet, changed in any way, does not.
pub(crate) fn beats(input: &[u8]) {
    let mut dice = Dice::new(input);
    // A line of a sender about itself is its version, and not in the beat.
    let nodes: [InstanceId; 2] =
        ["i-0fedcba9876543210", "i-89abcdef"].map(|id| id.parse().expect("an id"));
    let long = "g".repeat(64);
    let beat = dice.beat(&nodes, &["g0", "zone-a", &long]);
    for (key, version) in [(None, None), (Some(KEY), Some(ProgramVersion::own()))] {
        let plain = sender(key);
        let mut from = match version {
            Some(version) => plain.with_version(version),
            None => plain,
        };
        let encoded = from.encode(&beat);
        assert!(encoded.bytes.len() <= MAX_PACKET);
        let packet = from.decode(&encoded.bytes).expect("one's own packet");
        assert_eq!((&packet.from, packet.session), (&node(), SessionId(1)));
        assert_eq!(packet.version, version);
        assert_eq!(
            (packet.claims_omitted, packet.beat),
            (encoded.claims_omitted > 0, beat.clone())
        );
    }
    let mut from = sender(Some(KEY));
    let whole = from.encode(&beat).bytes;
    let mut changed = whole.clone();
    while !dice.is_spent() {
        change(&mut changed, &mut dice);
        let verdict = from.decode(&changed);
        assert!(verdict.is_err() || changed == whole, "{whole:02x?} as {changed:02x?} is accepted");
    }
}

/// One change: a bit, a byte, a piece out of it or into it.
fn change(packet: &mut Vec<u8>, dice: &mut Dice<'_>) {
    let at = dice.below(packet.len().max(1)).min(packet.len());
    match dice.below(5) {
        0 => {
            if let Some(byte) = packet.get_mut(at) {
                *byte ^= 1 << (dice.byte() & 7);
            }
        }
        1 => {
            if let Some(byte) = packet.get_mut(at) {
                *byte = dice.byte();
            }
        }
        2 => packet.truncate(at),
        3 => {
            let count = usize::from(dice.byte());
            let piece = dice.take(count).to_vec();
            packet.splice(at..at, piece);
        }
        _ => {
            let end = (at + usize::from(dice.byte())).min(packet.len());
            packet.drain(at..end);
        }
    }
}
