//! As much of the DNS protocol as asking for the addresses of a name takes (RFC 1035), both sides.

use std::net::Ipv4Addr;

use crate::dataplane::Lookup;

/// The longest message over UDP (RFC 1035, 2.3.4).
pub const LONGEST: usize = 512;
/// A header, in bytes.
const HEADER: usize = 12;
/// Type A and class IN, as a question has them.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];
/// Where the question's name is: what a record's name refers to.
const POINTER: [u8; 2] = [0xc0, 12];
/// Response codes: no error, no such name.
const NO_ERROR: u8 = 0;
const NO_NAME: u8 = 3;

/// The answer to a query, given what is known about a name; none to what is no query.
pub fn answer(query: &[u8], lookup: impl FnOnce(&str) -> Lookup) -> Option<Vec<u8>> {
    let (header, rest) = query.split_at_checked(HEADER)?;
    let is_query = header[2] & 0x80 == 0 && header[4..6] == [0, 1];
    let (name, rest) = read_name(rest)?;
    let question = &query[HEADER..query.len() - rest.len().checked_sub(4)?];
    let asks_address = rest.get(..4)? == ADDRESS;
    if !is_query {
        return None;
    }
    let (code, ttl, mut addresses) = match lookup(&name) {
        Lookup::Addresses { ttl, addresses } => (NO_ERROR, ttl, addresses),
        Lookup::NoAddress => (NO_ERROR, 0, Vec::new()),
        Lookup::Unknown => (NO_NAME, 0, Vec::new()),
    };
    // A name that exists without an address of the kind asked for is no error (RFC 2308, 2.2).
    addresses.truncate(if asks_address { (LONGEST - HEADER - question.len()) / 16 } else { 0 });
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    let mut answer = header[..2].to_vec();
    answer.extend([0x84 | header[2] & 1, 0x80 | code]);
    answer.extend([0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        answer.extend(POINTER);
        answer.extend(ADDRESS);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// A query for the addresses of a name, to a resolver; none where it is no name.
#[must_use]
pub fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(ADDRESS);
    (message.len() <= HEADER + 255 + 4).then_some(message)
}

/// What a reply to the query with this id says; none to what is no such reply.
#[must_use]
pub fn read_reply(reply: &[u8], id: u16) -> Option<Lookup> {
    let (header, rest) = reply.split_at_checked(HEADER)?;
    let is_reply = header[..2] == id.to_be_bytes() && header[2] & 0x80 != 0;
    if !is_reply || header[4..6] != [0, 1] {
        return None;
    }
    match header[3] & 0x0f {
        NO_ERROR => {}
        NO_NAME => return Some(Lookup::Unknown),
        _ => return None,
    }
    let mut rest = read_name(rest)?.1.get(4..)?;
    let (mut shortest, mut addresses) = (u32::MAX, Vec::new());
    for _ in 0..u16::from_be_bytes([header[6], header[7]]) {
        let record = skip_name(rest)?;
        let (fixed, data) = record.split_at_checked(10)?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let (data, after) = data.split_at_checked(length)?;
        rest = after;
        if fixed[..4] == ADDRESS {
            let octets: [u8; 4] = data.try_into().ok()?;
            let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            shortest = shortest.min(ttl);
            addresses.push(Ipv4Addr::from(octets));
        }
    }
    Some(match addresses.as_slice() {
        [] => Lookup::NoAddress,
        _ => Lookup::Addresses { ttl: shortest, addresses },
    })
}

/// Reads a name that refers to nowhere else, as those of questions do.
fn read_name(mut rest: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (&length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        if length == 0 {
            return Some((labels.join("."), rest));
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
}

/// What follows a name, which may end in a reference.
fn skip_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, after) = rest.split_first()?;
        match length {
            0 => return Some(after),
            0xc0.. => return after.get(1..),
            _ => rest = after.get(usize::from(length)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "db.example.test";

    fn known(name: &str) -> Lookup {
        match name {
            NAME => Lookup::Addresses {
                ttl: 5,
                addresses: vec![Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 8)],
            },
            "example.test" => Lookup::NoAddress,
            _ => Lookup::Unknown,
        }
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        for name in [NAME, "DB.example.TEST.", "example.test", "other.test"] {
            let reply = answer(&query(7, name).unwrap(), known).unwrap();
            let plain = name.trim_end_matches('.').to_lowercase();
            assert_eq!(read_reply(&reply, 7), Some(known(&plain)), "{name}");
            assert_eq!(read_reply(&reply, 8), None, "a reply to somebody else");
        }
    }

    #[test]
    fn an_answer_has_the_flags_and_the_record_that_it_should() {
        let asked = query(0xabcd, NAME).unwrap();
        let reply = answer(&asked, known).unwrap();
        assert_eq!(&reply[..8], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 2]);
        assert_eq!(&reply[12..asked.len()], &asked[12..]);
        assert_eq!(reply.len(), asked.len() + 32);
        assert_eq!(&reply[reply.len() - 10..], [0, 0, 0, 5, 0, 4, 192, 0, 2, 8]);
        let mut six = asked.clone();
        let kind = six.len() - 3;
        six[kind] = 28;
        let reply = answer(&six, known).unwrap();
        assert_eq!(&reply[2..8], [0x85, 0x80, 0, 1, 0, 0], "no address of that kind, no error");
        let unknown = answer(&query(1, "a.b").unwrap(), known).unwrap();
        assert_eq!(&unknown[2..8], [0x85, 0x83, 0, 1, 0, 0]);
    }

    #[test]
    fn what_is_no_query_and_no_reply_is_ignored() {
        let asked = query(1, NAME).unwrap();
        for length in 0..asked.len() {
            assert_eq!(answer(&asked[..length], known), None, "{length} bytes");
        }
        let reply = answer(&asked, known).unwrap();
        assert_eq!(answer(&reply, known), None);
        for length in 0..reply.len() {
            assert_eq!(read_reply(&reply[..length], 1), None, "{length} bytes");
        }
        assert_eq!(read_reply(&asked, 1), None);
        for name in ["", "a..b", &"a".repeat(64), &"a.".repeat(200)] {
            assert_eq!(query(1, name), None, "{name}");
        }
    }
}
