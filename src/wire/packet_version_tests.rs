//! The version in a packet, and builds that know none.

use super::*;

const VERSION_BITS: u64 = 0x0001_0002_0003_0000;

fn naming(key: Option<&[u8]>) -> Sender {
    sender("nat", key).with_version(ProgramVersion::from_bits(VERSION_BITS))
}

/// The line of [`sender`] about itself.
fn line() -> Hears {
    Hears {
        node: id("i-0123456789abcdef0"),
        session: SessionId(VERSION_BITS),
        age_ms: u16::MAX,
        failed: false,
        stopped: false,
    }
}

#[test]
fn a_version_arrives_beside_the_beat() {
    for beat in [small_beat(), serving_beat(), Beat::default()] {
        for key in [None, Some(KEY)] {
            let packet = naming(key).decode(&naming(key).encode(&beat).bytes).unwrap();
            assert_eq!(packet.version.unwrap().to_string(), "1.2.3");
            assert_eq!(packet.beat, beat);
        }
    }
}

/// A build that knows no versions reads a line about the sender, in the layout that it knows. Only
/// a line that is about a peer, or has an age or a judgement, means something to it.
#[test]
fn to_an_earlier_build_a_version_is_a_line_without_consequence() {
    for key in [None, Some(KEY)] {
        let mut as_read = small_beat();
        as_read.hears.insert(0, line());
        let earlier = sender("nat", key).encode(&as_read).bytes;
        assert_eq!(naming(key).encode(&small_beat()).bytes, earlier);
        assert_eq!(earlier[4], VERSION, "the format is the same");
    }
    assert!(line().age().is_none() && !line().failed && !line().stopped);
}

#[test]
fn a_packet_of_an_earlier_build_has_no_version() {
    for beat in [small_beat(), serving_beat(), Beat::default()] {
        let packet = naming(None).decode(&sender("nat", None).encode(&beat).bytes).unwrap();
        assert_eq!((packet.version, packet.beat), (None, beat));
    }
}

#[test]
fn only_the_first_line_and_one_without_age_and_judgement_is_a_version() {
    let others = [
        Hears { node: id("i-0123abcd"), ..line() },
        Hears { age_ms: u16::MAX - 1, ..line() },
        Hears { failed: true, ..line() },
        Hears { stopped: true, ..line() },
    ];
    for first in others {
        let beat = Beat { hears: vec![first, line()], ..small_beat() };
        let packet = naming(None).decode(&sender("nat", None).encode(&beat).bytes).unwrap();
        assert_eq!((packet.version, packet.beat), (None, beat));
    }
}

#[test]
fn a_version_takes_one_line_and_no_more() {
    let mut beat = small_beat();
    beat.hears = vec![beat.hears[0].clone(); MAX_HEARS + 8];
    let packet = naming(None).decode(&naming(None).encode(&beat).bytes).unwrap();
    assert_eq!(packet.beat.hears.len(), MAX_HEARS - 1);
    assert_eq!(packet.version, Some(ProgramVersion::from_bits(VERSION_BITS)));
}

#[test]
fn the_bytes_of_a_version_are_the_same_in_every_version() {
    let digits = |byte: &u8| format!("{byte:02x}");
    let bytes = naming(None).encode(&small_beat()).bytes;
    assert_eq!(
        bytes.iter().map(digits).collect::<Vec<String>>().concat(),
        "4e5448410102a3bd041e1c450e19000000000000004d0000000000000001\
         110123456789abcdef00010000000000000005\
         02110123456789abcdef000001000200030000ffff00\
         080123abcd0000000000000009002801\
         01067a6f6e652d6100000003"
    );
}
