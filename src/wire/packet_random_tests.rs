//! Random packets.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn any_id() -> impl Strategy<Value = InstanceId> {
    prop_oneof!["i-[0-9a-f]{8}", "i-[0-9a-f]{17}"].prop_map(|text| text.parse().unwrap())
}

fn any_hears() -> impl Strategy<Value = Hears> {
    (any_id(), any::<u64>(), any::<u16>(), any::<[bool; 2]>()).prop_map(
        |(node, session, age_ms, [failed, stopped])| Hears {
            node,
            session: SessionId(session),
            age_ms,
            failed,
            stopped,
        },
    )
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let to = prop::option::of(any_id());
    ("[a-zA-Z0-9._-]{1,64}", any::<u32>(), to).prop_map(|(name, generation, to)| Claim {
        group: name.parse().unwrap(),
        generation,
        to,
    })
}

fn any_beat() -> impl Strategy<Value = Beat> {
    let faults = prop::collection::btree_set(prop::sample::select(&Fault::ALL[..]), 0..=6);
    let unproven = prop::collection::btree_set(prop::sample::select(&Evidence::ALL[..]), 0..=2);
    let unfit_for = prop::collection::btree_set("[a-z]{1,8}", 0..4)
        .prop_map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
    let told = (vec(any_hears(), 0..16), vec(any_claim(), 0..6), unfit_for);
    ((faults, unproven), any::<[bool; 3]>(), any::<u64>(), told).prop_map(
        |((faults, unproven), marks, settings_digest, (hears, holds, unfit_for))| Beat {
            fitness: Fitness { faults, unproven },
            leaving: marks[0],
            restarting: marks[1],
            latched: marks[2],
            settings_digest,
            hears,
            holds,
            unfit_for,
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        beat in any_beat(),
        me in any_id(),
        keyed: bool,
        version in prop::option::of(any::<u64>()),
    ) {
        let key = keyed.then(|| HeartbeatKey::derive(KEY));
        let version = version.map(ProgramVersion::from_bits);
        let from = Sender::new(me.clone(), SessionId(4), "nat", key);
        let mut from = Sender { version, ..from };
        let encoded = from.encode(&beat);
        let packet = from.decode(&encoded.bytes).unwrap();
        prop_assert_eq!(packet.from, me);
        prop_assert_eq!(packet.session, SessionId(4));
        prop_assert_eq!(packet.version, version);
        prop_assert_eq!(packet.beat, beat);
    }

    #[test]
    fn any_flipped_bit_of_a_tagged_packet_is_noticed(
        beat in any_beat(),
        at: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let mut from = sender("nat", Some(KEY));
        let mut bytes = from.encode(&beat).bytes;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(from.decode(&bytes).is_err());
    }

    #[test]
    fn random_bytes_never_pass_or_panic(bytes in vec(any::<u8>(), 0..1300)) {
        prop_assert!(sender("nat", Some(KEY)).decode(&bytes).is_err());
        prop_assert!(sender("nat", None).decode(&bytes).is_err());
    }

    #[test]
    fn random_bodies_that_decode_are_what_would_be_encoded(
        body in vec(any::<u8>(), 0..200),
        flags in any::<u8>(),
    ) {
        let mut bytes = sender("nat", None).encode(&small_beat()).bytes;
        bytes.truncate(14);
        bytes[5] = flags & !FLAG_TAGGED;
        bytes.extend(&body);
        if let Ok(packet) = sender("nat", None).decode(&bytes) {
            // If the only receiver had no room, the flag is set without need.
            prop_assume!((flags & FLAG_SERVICES != 0) == uses_services(&packet.beat));
            clear_unknown_bits(&mut bytes, &packet);
            let mut same = Sender::new(packet.from, packet.session, "nat", None);
            (same.sequence, same.version) = (packet.sequence.wrapping_sub(1), packet.version);
            let mut again = same.encode(&packet.beat).bytes;
            again[5] = bytes[5];
            prop_assert_eq!(again, bytes);
        }
    }
}
