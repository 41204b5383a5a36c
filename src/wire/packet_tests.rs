//! Round trips, damage, and each reason to drop a packet.

use super::*;

#[path = "packet_random_tests.rs"]
mod random;
#[path = "packet_version_tests.rs"]
mod version;

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn sender(cluster: &str, key: Option<&[u8]>) -> Sender {
    Sender::new(id("i-0123456789abcdef0"), SessionId(77), cluster, key.map(HeartbeatKey::derive))
}

fn small_beat() -> Beat {
    Beat {
        fitness: Fitness::unfit(Fault::Uplink),
        leaving: true,
        settings_digest: 5,
        hears: vec![Hears {
            node: id("i-0123abcd"),
            session: SessionId(9),
            age_ms: 40,
            failed: true,
            stopped: false,
        }],
        holds: vec![Claim { group: "zone-a".parse().unwrap(), generation: 3, to: None }],
        ..Beat::default()
    }
}

const KEY: &[u8] = b"sixteen bytes or more";

/// A beat with a failed service check and a planned move.
fn serving_beat() -> Beat {
    let mut beat = small_beat();
    beat.holds[0].to = Some(id("i-0123abcd"));
    beat.unfit_for = ["db", "web"].into_iter().map(|name| name.parse().unwrap()).collect();
    beat
}

#[test]
fn each_defect_has_its_own_reason() {
    let tagged = sender("nat", Some(KEY)).encode(&small_beat()).bytes;
    let plain = sender("nat", None).encode(&small_beat()).bytes;
    let with_key = sender("nat", Some(KEY));
    let without_key = sender("nat", None);
    let check = |who: &Sender, bytes: &[u8]| who.decode(bytes).map(|_| ());

    assert_eq!(check(&with_key, &tagged), Ok(()));
    assert_eq!(check(&without_key, &plain), Ok(()));
    assert_eq!(check(&with_key, &plain), Err(Rejected::Untagged));
    assert_eq!(check(&without_key, &tagged), Err(Rejected::Unverifiable));
    assert_eq!(check(&sender("nat", Some(b"another key")), &tagged), Err(Rejected::BadTag));
    assert_eq!(check(&sender("other", Some(KEY)), &tagged), Err(Rejected::ForeignCluster));
    assert_eq!(check(&with_key, b"GET / HTTP/1.1\r\n"), Err(Rejected::NotNatha));
    assert_eq!(check(&with_key, &[0; MAX_PACKET + 1]), Err(Rejected::Oversized));
    assert_eq!(check(&with_key, b""), Err(Rejected::Truncated));

    let mut future = tagged.clone();
    future[4] = VERSION + 1;
    assert_eq!(check(&with_key, &future), Err(Rejected::FutureVersion));
    let mut longer = plain.clone();
    longer.push(0);
    assert_eq!(check(&without_key, &longer), Err(Rejected::TrailingBytes));
}

/// A later version may use them for what changes nothing in the layout.
#[test]
fn reserved_flags_are_ignored_and_never_sent() {
    let mut beat = serving_beat();
    (beat.restarting, beat.latched) = (true, true);
    for key in [None, Some(KEY)] {
        let mut from = sender("nat", key);
        let bytes = from.encode(&beat).bytes;
        assert_eq!(bytes[5] & FLAGS_RESERVED, 0);
        for flags in [0x40, 0x80, 0xc0] {
            let mut later = bytes.clone();
            later[5] |= flags;
            if let Some(key) = &from.key {
                let untagged = later.len() - TAG_LEN;
                let tag = key.tag(&[&later[..untagged]]);
                later[untagged..].copy_from_slice(&tag);
            }
            let packet = from.decode(&later).unwrap();
            assert_eq!((packet.beat, packet.claims_omitted), (beat.clone(), false));
        }
    }
}

/// A version that knows only the first five faults, and ignores the other bits.
const FIRST_VERSION: u8 = 0x1f;

/// Where the fitness is in a packet from this sender.
fn fitness_at(from: &InstanceId) -> usize {
    // The digits of the id, two per byte, behind their count.
    30 + 1 + (from.as_str().len() - 2).div_ceil(2)
}

/// Clears the bits that this version does not know.
fn clear_unknown_bits(bytes: &mut [u8], packet: &Packet) {
    let mut at = fitness_at(&packet.from) + 1 + 8 + 1;
    let itself = packet.version.map(|_| &packet.from);
    let peers = packet.beat.hears.iter().map(|hears| &hears.node);
    for node in itself.into_iter().chain(peers) {
        at += 1 + (node.as_str().len() - 2).div_ceil(2) + 8 + 2;
        bytes[at] &= HEARS_FAILED + HEARS_STOPPED;
        at += 1;
    }
}

#[test]
fn the_bits_of_the_fitness_never_change_their_meaning() {
    let byte = |fitness: Fitness| {
        let beat = Beat { fitness, ..Beat::default() };
        sender("nat", None).encode(&beat).bytes[fitness_at(&id("i-0123456789abcdef0"))]
    };
    let faults = [
        (Fault::Uplink, 0x01),
        (Fault::Forwarding, 0x02),
        (Fault::SourceDestCheck, 0x04),
        (Fault::Late, 0x08),
        (Fault::Departing, 0x10),
        (Fault::Transit, 0x20),
    ];
    for (fault, bit) in faults {
        assert_eq!(byte(Fitness::unfit(fault)), bit, "{fault}");
    }
    assert_eq!(byte(Fitness::unproven(Evidence::Uplink)), 0x40);
    assert_eq!(byte(Fitness::unproven(Evidence::Transit)), 0x80);
    assert_eq!(byte(Fitness::fit()), 0);
}

#[test]
fn a_packet_of_the_first_version_says_nothing_of_missing_evidence() {
    for old in 0..=FIRST_VERSION {
        let mut packet = sender("nat", None).encode(&Beat::default()).bytes;
        packet[fitness_at(&id("i-0123456789abcdef0"))] = old;
        let fitness = sender("nat", None).decode(&packet).unwrap().beat.fitness;
        assert!(fitness.unproven.is_empty() && !fitness.faults.contains(&Fault::Transit));
        assert_eq!(fitness.faults.len(), old.count_ones() as usize);
    }
}

#[test]
fn to_the_first_version_a_sender_that_lacks_evidence_is_fit() {
    let old_reader = |fitness: Fitness| bits_to_fitness(fitness_to_bits(&fitness) & FIRST_VERSION);
    for kind in Evidence::ALL {
        let mut fitness = Fitness::unproven(kind);
        assert_eq!(old_reader(fitness.clone()), Fitness::fit());
        fitness.faults.insert(Fault::Uplink);
        assert_eq!(old_reader(fitness), Fitness::unfit(Fault::Uplink));
    }
}

/// The tag covers the bits: nobody without the key can set one.
#[test]
fn a_bit_of_the_fitness_that_is_set_on_the_way_is_noticed() {
    let mut from = sender("nat", Some(KEY));
    for place in 0..8 {
        let mut bytes = from.encode(&Beat::default()).bytes;
        bytes[fitness_at(&id("i-0123456789abcdef0"))] |= 1 << place;
        assert_eq!(from.decode(&bytes).map(|_| ()), Err(Rejected::BadTag));
    }
}

#[test]
fn bits_that_a_later_version_adds_to_a_peers_line_are_ignored() {
    let mut from = sender("nat", None);
    for (failed, stopped) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut beat = small_beat();
        let node = id("i-89abcdef");
        beat.hears = vec![Hears { node, session: SessionId(3), age_ms: 9, failed, stopped }];
        beat.holds.clear();
        let mut bytes = from.encode(&beat).bytes;
        // Only the count of claims, 0, is behind the line's flags.
        let flags_at = bytes.len() - 2;
        bytes[flags_at] |= 0xfc;
        assert_eq!(from.decode(&bytes).unwrap().beat, beat);
    }
}

#[test]
fn a_second_key_is_accepted_and_not_used_to_send() {
    let (old, new) = (&b"the old key of a cluster"[..], &b"the new key of a cluster"[..]);
    let key = |bytes: &[u8]| Some(HeartbeatKey::derive(bytes));
    let nodes = || {
        let first = sender("nat", Some(old));
        let ready = sender("nat", Some(old)).accepting(key(new));
        let switched = sender("nat", Some(new)).accepting(key(old));
        let last = sender("nat", Some(new));
        [first, ready, switched, last]
    };
    // One step of the way apart, nodes hear each other; two steps apart, they may not.
    let heard = [
        [true, true, false, false],
        [true, true, true, true],
        [true, true, true, true],
        [false, false, true, true],
    ];
    for (receiver, heard) in nodes().iter().zip(heard) {
        let from = nodes().map(|mut from| from.encode(&small_beat()).bytes);
        assert_eq!(from.map(|bytes| receiver.decode(&bytes).is_ok()), heard);
    }
    let mut without = sender("nat", None).accepting(key(new));
    assert!(without.decode(&without.clone().encode(&small_beat()).bytes).is_ok());
    assert_eq!(
        without.decode(&sender("nat", Some(new)).encode(&small_beat()).bytes).map(|_| ()),
        Err(Rejected::Unverifiable)
    );
    assert!(!without.authenticates() && without.encode(&small_beat()).bytes[5] & FLAG_TAGGED == 0);
}

#[test]
fn every_proper_beginning_of_a_packet_is_truncated() {
    for beat in [small_beat(), serving_beat()] {
        let plain = sender("nat", None).encode(&beat).bytes;
        for length in 0..plain.len() {
            let result = sender("nat", None).decode(&plain[..length]);
            assert_eq!(result.map(|_| ()), Err(Rejected::Truncated), "at {length}");
        }
    }
}

#[test]
fn what_a_node_cannot_serve_goes_before_what_it_holds() {
    let mut beat = small_beat();
    let name = |n: u32| -> GroupName { format!("{n:0>32}").parse().unwrap() };
    beat.hears = (0..15)
        .map(|n| Hears {
            node: id(&format!("i-{n:0>17x}")),
            session: SessionId(n),
            age_ms: 1,
            failed: false,
            stopped: false,
        })
        .collect();
    beat.holds = (0..20)
        .map(|n| Claim { group: name(n), generation: n, to: Some(id("i-0123abcd")) })
        .collect();
    beat.unfit_for = (0..20).map(name).collect();
    let mut from = sender("nat", Some(KEY));
    let encoded = from.encode(&beat);
    let packet = from.decode(&encoded.bytes).unwrap();
    assert_eq!(packet.beat.unfit_for, beat.unfit_for, "20 groups of a cluster of 16 nodes fit");
    assert!(packet.claims_omitted && encoded.claims_omitted > 0);
    assert_eq!(packet.beat.holds, beat.holds[..20 - encoded.claims_omitted]);
}

#[test]
fn unsorted_or_duplicate_groups_are_malformed() {
    let from = sender("nat", None);
    let bytes = sender("nat", None).encode(&serving_beat()).bytes;
    let at = bytes.windows(7).position(|bytes| bytes == b"\x02db\x03web").unwrap();
    for names in [*b"\x03web\x02db", *b"\x02db\x03dba"] {
        let mut swapped = bytes.clone();
        swapped[at..at + 7].copy_from_slice(&names);
        let is_ordered = names.starts_with(b"\x02");
        assert_eq!(from.decode(&swapped).is_ok(), is_ordered, "{names:?}");
    }
    let mut twice = bytes.clone();
    twice.splice(at..at + 7, *b"\x02db\x02db");
    assert_eq!(from.decode(&twice).map(|_| ()), Err(Rejected::Malformed));
}

#[test]
fn a_packet_stays_within_its_limit_and_reports_omissions() {
    let mut beat = small_beat();
    beat.holds = (0..60)
        .map(|place| Claim {
            group: format!("{place:0>64}").parse().unwrap(),
            generation: place,
            to: None,
        })
        .collect();
    let mut from = sender("nat", Some(KEY));
    let encoded = from.encode(&beat);
    assert!(encoded.bytes.len() <= MAX_PACKET);
    assert!(encoded.claims_omitted > 0);
    let packet = from.decode(&encoded.bytes).unwrap();
    assert!(packet.claims_omitted);
    assert_eq!(packet.beat.holds, beat.holds[..60 - encoded.claims_omitted]);
}

#[test]
fn a_full_cluster_of_zone_groups_fits() {
    let mut beat = small_beat();
    beat.hears = (0..20)
        .map(|place| Hears {
            node: id(&format!("i-{place:0>17x}")),
            session: SessionId(place),
            age_ms: u16::MAX,
            failed: false,
            stopped: false,
        })
        .collect();
    beat.holds = (0..16)
        .map(|place| Claim {
            group: format!("ap-northeast-{place}").parse().unwrap(),
            generation: u32::MAX,
            to: None,
        })
        .collect();
    assert_eq!(sender("nat", Some(KEY)).encode(&beat).claims_omitted, 0);
}

#[test]
fn the_sequence_rises() {
    let mut from = sender("nat", None);
    let mut last = 0;
    for _ in 0..3 {
        let packet = from.encode(&small_beat());
        let sequence = from.decode(&packet.bytes).unwrap().sequence;
        assert!(sequence > last);
        last = sequence;
    }
}

/// The hash of its name separates a cluster from others in the same network. Nodes of different
/// versions must agree on the tag.
#[test]
fn the_bytes_of_a_packet_are_the_same_in_every_version() {
    let digits = |byte: &u8| format!("{byte:02x}");
    let hex = |bytes: &[u8]| bytes.iter().map(digits).collect::<Vec<String>>().concat();
    let plain = sender("nat", None).encode(&small_beat()).bytes;
    assert_eq!(
        hex(&plain),
        "4e5448410102a3bd041e1c450e19000000000000004d000000000000000111\
         0123456789abcdef0001000000000000000501080123abcd0000000000\
         00000900280101067a6f6e652d6100000003"
    );
    let serving = sender("nat", None).encode(&serving_beat()).bytes;
    assert_eq!(
        hex(&serving),
        "4e544841010aa3bd041e1c450e19000000000000004d000000000000000111\
         0123456789abcdef0001000000000000000501080123abcd0000000000\
         0000090028010202646203776562\
         01067a6f6e652d6100000003080123abcd"
    );
    let tagged = sender("nat", Some(KEY)).encode(&small_beat()).bytes;
    assert_eq!(
        hex(&tagged[plain.len()..]),
        "a7ae3b34a4fcabc1e4c2b1b93787f14c7a458bb455fd293e34c5b20c1c971f8e"
    );
}

#[test]
fn omissions_are_reported_only_if_there_are_any() {
    let mut from = sender("nat", None);
    let encoded = from.encode(&small_beat());
    assert_eq!(encoded.claims_omitted, 0);
    assert!(!from.decode(&encoded.bytes).unwrap().claims_omitted);
}

#[test]
fn claims_fill_a_packet_to_its_last_byte_and_not_beyond() {
    for key in [None, Some(KEY)] {
        let mut beat = small_beat();
        beat.holds.clear();
        let room = MAX_PACKET - sender("nat", key).encode(&beat).bytes.len();
        // A claim takes five bytes and its name.
        let claims = |last: usize| -> Vec<Claim> {
            let mut lengths = vec![59; room / 64 - 1];
            let left = room - 64 * lengths.len();
            lengths.extend([left / 2 - 5, left.div_ceil(2) - 5 + last]);
            lengths
                .iter()
                .map(|length| Claim {
                    group: "x".repeat(*length).parse().unwrap(),
                    generation: 1,
                    to: None,
                })
                .collect()
        };
        beat.holds = claims(0);
        let encoded = sender("nat", key).encode(&beat);
        assert_eq!((encoded.bytes.len(), encoded.claims_omitted), (MAX_PACKET, 0));
        let packet = sender("nat", key).decode(&encoded.bytes).unwrap();
        assert_eq!(packet.beat.holds, beat.holds, "and the longest packet is received");
        beat.holds = claims(1);
        let encoded = sender("nat", key).encode(&beat);
        assert_eq!(encoded.claims_omitted, 1);
        assert!(encoded.bytes.len() < MAX_PACKET);
    }
}

/// `unfit_for` leaves room for the count of `holds`.
#[test]
fn names_fill_a_packet_to_its_last_byte_and_not_beyond() {
    for key in [None, Some(KEY)] {
        let beat_of = |lengths: &[usize]| {
            let name = |(n, length): (usize, &usize)| -> GroupName {
                format!("{n:0>2}{}", "x".repeat(length - 2)).parse().unwrap()
            };
            let unfit_for = lengths.iter().enumerate().map(name).collect();
            Beat { unfit_for, holds: Vec::new(), ..small_beat() }
        };
        // A name takes one byte and its letters.
        let room = MAX_PACKET - sender("nat", key).encode(&beat_of(&[2])).bytes.len() + 3;
        let lengths = |more: usize| -> Vec<usize> {
            let mut lengths = vec![49; room / 50 - 1];
            let left = room - 50 * lengths.len();
            lengths.extend([left / 2 - 1, left.div_ceil(2) - 1 + more]);
            lengths
        };
        let beat = beat_of(&lengths(0));
        let encoded = sender("nat", key).encode(&beat);
        assert_eq!((encoded.bytes.len(), encoded.claims_omitted), (MAX_PACKET, 0));
        let packet = sender("nat", key).decode(&encoded.bytes).unwrap();
        assert_eq!(packet.beat.unfit_for, beat.unfit_for);
        for more in [1, 2] {
            let encoded = sender("nat", key).encode(&beat_of(&lengths(more)));
            assert!(encoded.bytes.len() < MAX_PACKET, "{more}: {}", encoded.bytes.len());
            assert_eq!(encoded.claims_omitted, 1);
        }
    }
}

#[test]
fn a_packet_speaks_of_as_many_peers_as_a_receiver_takes() {
    let mut beat = small_beat();
    beat.holds.clear();
    let one = beat.hears[0].clone();
    beat.hears = vec![one; MAX_HEARS + 8];
    let mut from = sender("nat", None);
    let bytes = from.encode(&beat).bytes;
    assert_eq!(from.decode(&bytes).unwrap().beat.hears.len(), MAX_HEARS);
    // Add one more by hand, of the same length as the others.
    let length = 1 + 4 + 8 + 2 + 1;
    let (count_at, end) = (bytes.len() - 1 - MAX_HEARS * length - 1, bytes.len() - 1);
    assert_eq!(usize::from(bytes[count_at]), MAX_HEARS);
    let mut more = bytes[..end].to_vec();
    more.extend_from_slice(&bytes[end - length..end]);
    more.push(0);
    more[count_at] += 1;
    assert_eq!(from.decode(&more).map(|_| ()), Err(Rejected::Malformed));
}

#[test]
fn version_zero_never_was() {
    let mut bytes = sender("nat", None).encode(&small_beat()).bytes;
    bytes[4] = 0;
    assert_eq!(sender("nat", None).decode(&bytes).map(|_| ()), Err(Rejected::Malformed));
}

#[test]
fn a_sender_knows_whether_its_packets_are_tagged_and_shows_no_key() {
    assert!(sender("nat", Some(KEY)).authenticates());
    assert!(!sender("nat", None).authenticates());
    assert_eq!(format!("{:?}", HeartbeatKey::derive(KEY)), "HeartbeatKey(…)");
}
