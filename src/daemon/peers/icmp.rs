//! ICMP echo messages (RFC 792): encoding requests and recognising replies.

/// Identifies echo replies to this process.
///
/// The 16-bit identifier is not enough, since `ping` and others choose it freely too; the token in
/// the payload makes it unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EchoMark {
    /// The identifier field.
    pub(crate) ident: u16,
    /// The payload.
    pub(crate) token: u64,
}

/// The type of an echo reply.
pub(crate) const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const MIN_IP_HEADER: usize = 20;

impl EchoMark {
    /// `token` must be random.
    pub(crate) fn new(token: u64) -> Self {
        let [high, low, ..] = token.to_be_bytes();
        Self { ident: u16::from_be_bytes([high, low]), token }
    }

    /// An echo request.
    pub(crate) fn request(self, sequence: u16) -> [u8; 16] {
        let mut message = [0; 16];
        let fields = [ECHO_REQUEST, 0, 0, 0]
            .into_iter()
            .chain(self.ident.to_be_bytes())
            .chain(sequence.to_be_bytes())
            .chain(self.token.to_be_bytes());
        for (place, byte) in message.iter_mut().zip(fields) {
            *place = byte;
        }
        let [high, low] = checksum(&message).to_be_bytes();
        let [_, _, first, second, ..] = &mut message;
        (*first, *second) = (high, low);
        message
    }

    /// Whether an IP packet, as read from a raw socket, is a reply to one of these requests.
    pub(crate) fn is_reply(self, packet: &[u8]) -> bool {
        self.reply(packet).is_some()
    }

    /// The sequence number of the request to which an IP packet, as read from a raw socket, is the
    /// reply; none if it is no reply to one of these requests.
    pub(crate) fn reply(self, packet: &[u8]) -> Option<u16> {
        let first = packet.first()?;
        let header = usize::from(first & 0x0f) * 4;
        if header < MIN_IP_HEADER {
            return None;
        }
        let [kind, 0, _, _, i0, i1, s0, s1, token @ ..] = packet.get(header..)? else {
            return None;
        };
        let is_reply = *kind == ECHO_REPLY
            && u16::from_be_bytes([*i0, *i1]) == self.ident
            && token.starts_with(&self.token.to_be_bytes());
        is_reply.then(|| u16::from_be_bytes([*s0, *s1]))
    }
}

/// The internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, _) = bytes.as_chunks::<2>();
    let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply_to(request: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45; MIN_IP_HEADER];
        packet.extend(request);
        packet[MIN_IP_HEADER] = ECHO_REPLY;
        packet
    }

    #[test]
    fn a_request_has_the_checksum_that_makes_its_sum_zero() {
        assert_eq!(checksum(&EchoMark::new(0xfedc_ba98_7654_3210).request(513)), 0);
    }

    #[test]
    fn only_ones_own_replies_are_recognised() {
        let mark = EchoMark::new(0x0102_0304_0506_0708);
        let reply = reply_to(&mark.request(513));
        assert_eq!(mark.reply(&reply), Some(513));
        assert!(!EchoMark::new(0x0102_ffff_0506_0708).is_reply(&reply));
        assert!(!EchoMark::new(0xffff_0304_0506_0708).is_reply(&reply));
        let mut request = reply.clone();
        request[MIN_IP_HEADER] = ECHO_REQUEST;
        assert!(!mark.is_reply(&request));
    }

    #[test]
    fn shortened_packets_are_no_replies() {
        let mark = EchoMark::new(7);
        let reply = reply_to(&mark.request(1));
        assert!((0..reply.len()).all(|length| !mark.is_reply(&reply[..length])));
    }
}
