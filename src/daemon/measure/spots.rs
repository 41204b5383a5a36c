//! Which private addresses of a subnet a measurement may use. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// AWS reserves the first four addresses of a subnet, and the last (VPC user guide, "Subnet
/// sizing").
const RESERVED: usize = 4;

/// The highest address of a subnet that is not in `used` and that is above all of `below`; none if
/// there is no such address.
pub(super) fn highest_free(
    subnet: Ipv4Net,
    used: &BTreeSet<Ipv4Addr>,
    below: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    // The hosts leave out the first and the last address.
    let lowest = subnet.hosts().nth(RESERVED - 1)?;
    let highest = u32::from(subnet.broadcast()).checked_sub(1)?;
    let candidates = (u32::from(lowest)..=highest).rev().map(Ipv4Addr::from);
    let mut candidates = candidates.take_while(|one| below.last().is_none_or(|last| one > last));
    candidates.find(|one| !used.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn chosen(used: &[u8], below: &[u8]) -> Option<Ipv4Addr> {
        let set = |all: &[u8]| all.iter().map(|last| at(*last)).collect();
        highest_free("10.0.0.0/28".parse().unwrap(), &set(used), &set(below))
    }

    #[test]
    fn it_is_the_highest_that_no_interface_has() {
        assert_eq!(chosen(&[], &[]), Some(at(14)));
        assert_eq!(chosen(&[14, 12], &[]), Some(at(13)));
    }

    #[test]
    fn it_is_none_that_aws_reserves() {
        let all_but = |free| (4..15).filter(|one| *one != free).collect::<Vec<u8>>();
        assert_eq!(chosen(&all_but(4), &[]), Some(at(4)));
        assert_eq!(chosen(&all_but(15), &[]), None);
    }

    #[test]
    fn it_is_above_the_addresses_that_must_stay_the_first_in_order() {
        assert_eq!(chosen(&[14, 12], &[12]), Some(at(13)));
        assert_eq!(chosen(&[14, 13], &[13]), None);
        assert_eq!(chosen(&[14], &[14]), None);
    }
}
