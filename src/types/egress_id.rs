//! The id of an egress IP.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::AllocationId;

/// An egress IP: a public address that follows a group. All nodes know it by the allocation
/// id of its Elastic IP.
///
/// It has a fixed size, because each replicated connection contains one: the number of hexadecimal
/// digits (8 or 17), then the digits, two per byte, then zeros. This is also how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "AllocationId", into = "AllocationId")]
pub struct EgressId([u8; Self::LEN]);

impl EgressId {
    /// Its length in bytes.
    pub const LEN: usize = 10;

    /// The bytes that are sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// An egress IP as received; none if the bytes are not those of an allocation id.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Option<Self> {
        let [digits, packed @ ..] = bytes;
        let used = match digits {
            8 => 8,
            17 => 17,
            _ => return None,
        };
        let rest_is_zero = (used..18).all(|place| nibble(&packed, place) == 0);
        rest_is_zero.then_some(Self(bytes))
    }
}

/// The digit at `place`, two of which are in each byte.
fn nibble(packed: &[u8; 9], place: usize) -> u8 {
    let byte = packed.get(place / 2).copied().unwrap_or_default();
    if place.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f }
}

impl From<&AllocationId> for EgressId {
    fn from(id: &AllocationId) -> Self {
        let digits = id.as_str().strip_prefix("eipalloc-").unwrap_or_default();
        let mut bytes = [0; Self::LEN];
        let [count, packed @ ..] = &mut bytes;
        *count = u8::try_from(digits.len()).unwrap_or_default();
        for (place, digit) in digits.chars().enumerate() {
            let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
            if let Some(byte) = packed.get_mut(place / 2) {
                *byte |= value.unwrap_or_default() << if place % 2 == 0 { 4 } else { 0 };
            }
        }
        Self(bytes)
    }
}

impl From<AllocationId> for EgressId {
    fn from(id: AllocationId) -> Self {
        Self::from(&id)
    }
}

impl From<EgressId> for AllocationId {
    fn from(id: EgressId) -> Self {
        let text = id.to_string();
        text.parse().expect("an egress id has the digits of an allocation id")
    }
}

impl fmt::Display for EgressId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [digits, packed @ ..] = &self.0;
        f.write_str("eipalloc-")?;
        (0..usize::from(*digits)).try_for_each(|place| write!(f, "{:x}", nibble(packed, place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_egress_id_is_the_allocation_id_in_other_words() {
        for text in ["eipalloc-0123abcd", "eipalloc-0123456789abcdef0", "eipalloc-ffffffff"] {
            let id: AllocationId = text.parse().unwrap();
            let egress = EgressId::from(&id);
            assert_eq!(egress.to_string(), text);
            assert_eq!(EgressId::from_bytes(*egress.as_bytes()), Some(egress));
            assert_eq!(AllocationId::from(egress), id);
            let json = serde_json::to_string(&egress).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<EgressId>(&json).unwrap(), egress);
        }
    }

    #[test]
    fn other_bytes_are_no_egress_id() {
        let good =
            *EgressId::from(&"eipalloc-0123abcd".parse::<AllocationId>().unwrap()).as_bytes();
        for (place, value) in [(0, 0), (0, 9), (0, 18), (5, 1), (9, 0x10)] {
            let mut bytes = good;
            bytes[place] = value;
            assert_eq!(EgressId::from_bytes(bytes), None, "{bytes:?}");
        }
        let mut odd = [0; EgressId::LEN];
        odd[0] = 17;
        odd[9] = 1;
        assert_eq!(EgressId::from_bytes(odd), None);
    }
}
