//! What the kernel can do, and the program that sets its rules.

use super::facts::{Facts, known};
use super::finding::{Judged, Outcome, joined};

/// `kernel-nft`
pub(super) fn nft(facts: &Facts) -> Judged {
    Ok(match known(&facts.nft)? {
        Ok(version) => Outcome::passed(format!("{version} works")),
        Err(why) => Outcome::failed(
            why.clone(),
            "install the package nftables, and boot a kernel with nf_tables",
        ),
    })
}

/// `kernel-flowtable`
pub(super) fn flowtable(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let has = *known(&facts.flowtable)?;
    let wanted = facts.settings.host.flowtable;
    Ok(match (has, wanted) {
        (true, true) => Outcome::passed("this kernel has flowtables, and host.flowtable is on"),
        (true, false) => Outcome::passed("this kernel has flowtables; host.flowtable is off"),
        (false, false) => {
            Outcome::not_needed("this kernel has no flowtables, and host.flowtable is off")
        }
        (false, true) => Outcome::failed(
            "host.flowtable is on, but this kernel has no flowtables",
            "boot a kernel with the modules nf_flow_table_inet and nft_flow_offload, or set \
             host.flowtable = false",
        ),
    })
}

/// `kernel-timeouts`
pub(super) fn timeouts(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    Ok(if *known(&facts.timeouts)? {
        Outcome::passed("the timeouts of tracked connections can be set")
    } else {
        Outcome::failed(
            "this kernel tracks no connections: net.netfilter is missing from /proc/sys",
            "modprobe nf_conntrack; the file /usr/lib/modules-load.d/natha.conf of the package \
             loads it at boot",
        )
    })
}

/// `kernel-tun`
pub(super) fn tun(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() || facts.settings.host.transit_network.0.is_none() {
        return Ok(Outcome::not_needed("forwarding is not tested on this host"));
    }
    Ok(match known(&facts.tun)? {
        None => Outcome::passed("/dev/net/tun is there"),
        Some(why) => Outcome::failed(
            why.clone(),
            "modprobe tun; in a container, pass the device /dev/net/tun in",
        ),
    })
}

/// `kernel-conntrack`
pub(super) fn conntrack(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    Ok(match known(&facts.conntrack_netlink)? {
        None => Outcome::passed("the kernel lists tracked connections by netlink"),
        Some(why) => Outcome::warning(
            format!(
                "{why}. This host forwards and fails over without it. But it replicates no \
                 connections, cannot prove that adopted tables are served, and does not see how \
                 full its port space is or who uses the bandwidth"
            ),
            "boot a kernel with the module nf_conntrack_netlink",
        ),
    })
}

/// `kernel-copies`
pub(super) fn copies(facts: &Facts) -> Judged {
    if !facts.settings.is_nat() {
        return Ok(Outcome::not_needed("this host is no NAT"));
    }
    let parts = [(&facts.vxlan, "vxlan"), (&facts.dup, "nft_dup_ipv4")];
    let replicate = &facts.settings.replicate;
    if !(replicate.enabled && replicate.relay) {
        let has_all = parts.iter().all(|(fact, _)| matches!(fact, Ok(true)));
        return Ok(if has_all {
            Outcome::passed("this kernel can copy packets to another node; replication is off")
        } else {
            Outcome::not_needed("planned moves copy no packets with these settings")
        });
    }
    let mut missing = Vec::new();
    for (fact, module) in parts {
        if !*known(fact)? {
            missing.push(module);
        }
    }
    if missing.is_empty() {
        return Ok(Outcome::passed("this kernel can copy packets to another node"));
    }
    Ok(Outcome::warning(
        format!(
            "this kernel lacks {}. Connections are replicated without it, but planned moves lose \
             packets until they have taken effect",
            joined(missing)
        ),
        "boot a kernel with these modules, or set replicate.relay = false on all nodes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TransitNetwork;
    use crate::doctor::finding::State;

    #[test]
    fn flowtables_are_needed_only_where_they_are_turned_on() {
        for (has, wanted, state) in [
            (true, true, State::Passed),
            (true, false, State::Passed),
            (false, false, State::NotNeeded),
            (false, true, State::Failed),
        ] {
            let mut facts = Facts { flowtable: Ok(has), ..Facts::default() };
            facts.settings.host.flowtable = wanted;
            assert_eq!(flowtable(&facts).unwrap().state, state, "{has} {wanted}");
        }
    }

    #[test]
    fn a_host_that_is_no_nat_needs_none_of_it() {
        let mut facts = Facts::default();
        facts.settings.host.nat = Some(false);
        for judge in [flowtable, timeouts, tun, conntrack, copies] {
            assert_eq!(judge(&facts).unwrap().state, State::NotNeeded);
        }
    }

    #[test]
    fn what_copies_need_is_a_warning_only_where_they_are_on() {
        let judged = |vxlan, dup, enabled, relay| {
            let mut facts = Facts { vxlan: Ok(vxlan), dup: Ok(dup), ..Facts::default() };
            (facts.settings.replicate.enabled, facts.settings.replicate.relay) = (enabled, relay);
            copies(&facts).unwrap()
        };
        for (vxlan, dup, enabled, relay, state) in [
            (true, true, true, true, State::Passed),
            (true, true, false, true, State::Passed),
            (false, true, false, true, State::NotNeeded),
            (false, false, true, false, State::NotNeeded),
            (false, true, true, true, State::Warning),
            (true, false, true, true, State::Warning),
        ] {
            let found = judged(vxlan, dup, enabled, relay).state;
            assert_eq!(found, state, "{vxlan} {dup} {enabled} {relay}");
        }
        let what = judged(false, false, true, true).what;
        assert!(what.contains("lacks vxlan, nft_dup_ipv4"), "{what}");
        let mut unread = Facts::default();
        assert_eq!(copies(&unread).unwrap().state, State::NotNeeded);
        unread.settings.replicate.enabled = true;
        assert!(copies(&unread).is_err());
    }

    #[test]
    fn a_kernel_that_lists_no_connections_is_a_warning_that_says_what_works() {
        let found = |why: Option<&str>| {
            let conntrack_netlink = Ok(why.map(str::to_owned));
            conntrack(&Facts { conntrack_netlink, ..Facts::default() }).unwrap()
        };
        assert_eq!(found(None).state, State::Passed);
        let missing = found(Some("it refuses"));
        assert_eq!(missing.state, State::Warning);
        assert!(missing.what.starts_with("it refuses. This host forwards"), "{}", missing.what);
        assert!(conntrack(&Facts::default()).is_err());
    }

    #[test]
    fn what_is_missing_fails() {
        let missing = || "no such file".to_owned();
        let mut facts = Facts {
            nft: Ok(Err(missing())),
            timeouts: Ok(false),
            tun: Ok(Some(missing())),
            ..Facts::default()
        };
        for judge in [nft, timeouts, tun] {
            assert_eq!(judge(&facts).unwrap().state, State::Failed);
        }
        facts.settings.host.transit_network = TransitNetwork(None);
        assert_eq!(tun(&facts).unwrap().state, State::NotNeeded);
        let there =
            Facts { nft: Ok(Ok("nft 1.1".to_owned())), timeouts: Ok(true), tun: Ok(None), ..facts };
        for judge in [nft, timeouts] {
            assert_eq!(judge(&there).unwrap().state, State::Passed);
        }
    }
}
