//! The VPC's resolver: it knows the name of the EC2 API, and no other.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

use anyhow::{Context, Result};

use super::internet::EC2_API;
use crate::daemon::account::REGION;

/// Its address, the same in every VPC (VPC guide, "Amazon DNS").
pub const RESOLVER: &str = "169.254.169.253";
/// The longest message over UDP (RFC 1035, 2.3.4).
const LONGEST: usize = 512;
/// A header, in bytes, and how long an answer stays true, in seconds.
const HEADER: usize = 12;
const LIFE: u32 = 60;

/// Answers on [`RESOLVER`] from a thread of its own, until the lab ends.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve() -> Result<()> {
    let socket = UdpSocket::bind((RESOLVER, 53)).context("cannot listen as the VPC's resolver")?;
    thread::spawn(move || {
        let mut query = [0; LONGEST];
        loop {
            let (length, from) = match socket.recv_from(&mut query) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the VPC's resolver has ended");
                    return;
                }
            };
            if let Some(answer) = answer(&query[..length], EC2_API) {
                // Whoever asked asks again.
                drop(socket.send_to(&answer, from));
            }
        }
    });
    Ok(())
}

/// The answer to a query; none to what is no query.
fn answer(query: &[u8], api: Ipv4Addr) -> Option<Vec<u8>> {
    let (header, mut rest) = query.split_at_checked(HEADER)?;
    let is_query = header[2] & 0x80 == 0 && header[4..6] == [0, 1];
    let mut name = Vec::new();
    loop {
        let (&length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        if length == 0 {
            break;
        }
        name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
    let question = &query[HEADER..query.len() - rest.len().checked_sub(4)?];
    let kind = rest.get(..4)?;
    let known = name.join(".") == format!("ec2.{REGION}.amazonaws.com");
    // A name that exists without an address of the kind asked for is no error (RFC 2308, 2.2).
    let has_address = known && kind == [0, 1, 0, 1];
    let mut answer = header[..2].to_vec();
    answer.extend([0x84 | header[2] & 1, if known { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(question);
    if has_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(LIFE.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(api.octets());
    }
    is_query.then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn the_apis_name_has_its_address_and_no_other() {
        let asked = query("EC2.us-east-1.amazonaws.com", 1);
        let answer = answer(&asked, API).unwrap();
        assert_eq!(&answer[..8], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1]);
        assert_eq!(&answer[12..asked.len()], &asked[12..]);
        assert_eq!(answer.len(), asked.len() + 16);
        assert_eq!(&answer[answer.len() - 6..], [0, 4, 192, 0, 2, 7]);
        let six = super::answer(&query("ec2.us-east-1.amazonaws.com", 28), API).unwrap();
        assert_eq!(&six[2..8], [0x85, 0x80, 0, 1, 0, 0]);
    }

    #[test]
    fn other_names_do_not_exist_and_what_is_no_query_is_ignored() {
        let other = answer(&query("example.com", 1), API).unwrap();
        assert_eq!(&other[2..8], [0x85, 0x83, 0, 1, 0, 0]);
        let asked = query("ec2.us-east-1.amazonaws.com", 1);
        for length in 0..asked.len() {
            assert_eq!(answer(&asked[..length], API), None, "{length} bytes");
        }
        let mut reply = asked;
        reply[2] |= 0x80;
        assert_eq!(answer(&reply, API), None);
    }
}
