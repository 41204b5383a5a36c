//! Keys for tags. Each purpose has a key of its own, derived from the cluster key.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type Tagger = Hmac<Sha256>;

/// Length of a tag, in bytes.
pub const TAG_LEN: usize = 32;

/// A key for one purpose.
#[derive(Clone)]
struct TagKey(Tagger);

impl TagKey {
    fn derive(cluster_key: &[u8], label: &[u8]) -> Self {
        let mut extract = tagger(cluster_key);
        extract.update(label);
        Self(tagger(&extract.finalize().into_bytes()))
    }

    fn over(&self, parts: &[&[u8]]) -> Tagger {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

fn tagger(key: &[u8]) -> Tagger {
    Tagger::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104, section 2)")
}

macro_rules! purpose_key {
    ($(#[$doc:meta])* $name:ident, $label:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(TagKey);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl $name {
            /// Derives the key from the cluster key.
            #[must_use]
            pub fn derive(cluster_key: &[u8]) -> Self {
                Self(TagKey::derive(cluster_key, $label))
            }

            /// The tag of these bytes, which count as one text.
            pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_LEN] {
                self.0.over(parts).finalize().into_bytes().into()
            }

            /// Compares in constant time.
            pub(crate) fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
                self.0.over(parts).verify_slice(tag).is_ok()
            }
        }
    };
}

purpose_key!(
    /// The key for the tags of heartbeats.
    HeartbeatKey,
    b"natha heartbeat 1"
);
purpose_key!(
    /// The key for the tags of the streams that replicate connections.
    StreamKey,
    b"natha flows 1"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_a_key_of_its_own_and_none_is_shown() {
        let (heartbeat, stream) = (HeartbeatKey::derive(b"key"), StreamKey::derive(b"key"));
        assert_ne!(heartbeat.tag(&[b"a"]), stream.tag(&[b"a"]));
        assert_eq!(stream.tag(&[b"a", b"b"]), stream.tag(&[b"ab"]));
        assert!(stream.verify(&[b"ab"], &stream.tag(&[b"a", b"b"])));
        assert!(!stream.verify(&[b"ab"], &heartbeat.tag(&[b"ab"])));
        assert_eq!(format!("{heartbeat:?} {stream:?}"), "HeartbeatKey(…) StreamKey(…)");
    }
}
