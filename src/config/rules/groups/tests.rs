use std::path::PathBuf;

use crate::config::{Local, Problems, Resolved, ServiceProbe, Settings, Sources, resolve};

fn resolved(text: &str) -> Result<Resolved, Problems> {
    let file = Some((PathBuf::from("/n.toml"), text.to_owned()));
    resolve(&Sources { file, ..Sources::default() })
}

fn settings(text: &str) -> Settings {
    resolved(text).unwrap_or_else(|problems| panic!("{problems}\nof {text}")).settings
}

fn only_problem(text: &str) -> String {
    let Problems(all) = resolved(text).expect_err(text);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].to_string()
}

/// A group with resources, each the inside of an inline table.
fn group(name: &str, resources: &[&str], rest: &str) -> String {
    let resources: Vec<String> = resources.iter().map(|one| format!("{{ {one} }}")).collect();
    format!("[[group]]\nname = \"{name}\"\nresource = [{}]\n{rest}\n", resources.join(", "))
}

const VIP: &str = "kind = \"vip\", address = \"192.168.9.9\"";
const PRIVATE: &str = "kind = \"private-ip\", address = \"10.0.0.9\"";
const EIP: &str = "kind = \"eip\", allocation = \"eipalloc-0123abcd\"";
const DNS: &str = "kind = \"dns\", zone = \"Z1\", name = \"a.b\"";
const TABLES: &str = "[[group]]\nname = \"nat\"\ntables = [\"rtb-0123abcd\"]\n";

#[test]
fn nothing_is_moved_by_two_groups_or_twice() {
    for (resource, thing) in [
        (VIP, "the virtual IP 192.168.9.9"),
        (PRIVATE, "the private IP 10.0.0.9"),
        (DNS, "the record a.b of Z1"),
    ] {
        let two = group("a", &[resource], "") + &group("b", &[resource], "");
        let told = only_problem(&two);
        assert!(told.contains(&format!("{thing} is in the groups a and b")), "{told}");
        assert!(told.contains("/n.toml:1, /n.toml:5"), "{told}");
        let told = only_problem(&group("a", &[resource, resource], ""));
        assert!(told.contains(&format!("group a has {thing} twice")), "{told}");
    }
    let listed = "kind = \"vip\", address = \"192.168.9.9\", tables = [\"rtb-0123abcd\"]";
    let routed =
        "[[group]]\nname = \"b\"\ntables = [\"rtb-0123abcd\"]\ncidr = \"192.168.9.9/32\"\n";
    let told = only_problem(&(group("a", &[listed], "") + routed));
    assert!(told.contains("the route to 192.168.9.9/32 of rtb-0123abcd"), "{told}");
}

#[test]
fn a_private_ip_has_one_elastic_ip() {
    let other = "kind = \"eip\", allocation = \"eipalloc-0123abce\"";
    let told = only_problem(&(group("a", &[EIP], "") + &group("b", &[other], "")));
    assert!(told.contains("an Elastic IP on the primary private IP is in the groups a and b"));
    let on = format!("{other}, on = \"10.0.0.9\"");
    settings(&(group("a", &[EIP], "") + &group("b", &[&on, PRIVATE], "")));
}

#[test]
fn the_local_side_needs_an_address_of_its_kind() {
    for (resource, local, wanted) in [
        (PRIVATE, "redirect", Some("no virtual IP whose packets")),
        (PRIVATE, "dnat:80", Some("no virtual IP whose packets")),
        (PRIVATE, "lo", None),
        (EIP, "lo", Some("no virtual or private IP to add to the host")),
        (DNS, "off", None),
        (VIP, "dnat:80", None),
    ] {
        let text = group("a", &[resource], &format!("local = \"{local}\""));
        match wanted {
            None => drop(settings(&text)),
            Some(part) => {
                let told = only_problem(&text);
                assert!(
                    told.contains(part) && told.contains("group a, local (/n.toml:1)"),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn what_the_holder_alone_takes_in_is_not_accepted_at_all_times() {
    let accepting = "host.accept = [\"192.168.9.9\", \"10.0.0.9\"]\n";
    for (resource, address) in [(VIP, "192.168.9.9"), (PRIVATE, "10.0.0.9")] {
        let told = only_problem(&(accepting.to_owned() + &group("a", &[resource], "")));
        for part in [
            "host.accept = [\"192.168.9.9\", \"10.0.0.9\"] (/n.toml:1): ",
            &format!("{address} also belongs to group a (/n.toml:2)"),
            &format!("remove {address} from host.accept"),
            "local = \"off\"",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let off = group("a", &[resource], "local = \"off\"");
        settings(&(accepting.to_owned() + &off));
    }
    let translated = group("a", &[VIP], "local = \"redirect\"");
    only_problem(&(accepting.to_owned() + &translated));
    // Where natha follows, it carries nothing, whatever the group says.
    settings(&format!("observe = true\n{accepting}{translated}"));
    settings(&(accepting.to_owned() + &group("a", &[EIP], "")));
}

#[test]
fn what_is_followed_is_an_address_that_somebody_else_puts_on_the_host() {
    let check = "check = { address = true }";
    let told = only_problem(&group("a", &[VIP], &format!("local = \"lo\"\n{check}")));
    assert!(told.contains("other software adds the address to the host"), "{told}");
    let told = only_problem(&group("a", &[EIP], check));
    assert!(told.contains("check.address") && told.contains("that natha could follow"));
}

#[test]
fn observing_turns_off_whatever_decides() {
    let followed = group(
        "a",
        &[VIP],
        "local = \"redirect\"\nhand_back = true\ncheck = { tcp = 80, fall = 7 }",
    );
    let found = settings(&format!("observe = true\n{followed}{}", group("b", &[PRIVATE], "")));
    assert!(!found.timing.repair.enabled && !found.timing.hand_back.enabled);
    for (group, fall) in found.groups.iter().zip([7, 3]) {
        let check = group.check.as_ref().unwrap();
        assert_eq!((&check.probe, check.fall), (&ServiceProbe::Address, fall));
        assert_eq!((group.local, group.hand_back), (Local::Off, None));
    }
    for (text, part) in [
        (TABLES.to_owned(), "group nat, observe (/n.toml:3)"),
        (String::new(), "there is no group whose address natha could follow"),
    ] {
        let told = only_problem(&format!("observe = true\n\n{text}"));
        assert!(told.contains(part), "{told}");
    }
    for setting in ["repair.enabled", "hand_back.enabled"] {
        let told = only_problem(&format!("{setting} = true\nobserve = true\n{followed}"));
        assert!(told.contains(setting) && told.contains("only follows"), "{told}");
    }
}

#[test]
fn a_node_is_a_nat_and_is_repaired_where_default_routes_are_moved() {
    let vip = group("a", &[VIP], "");
    for (text, nat, packets) in [
        (String::new(), true, true),
        (TABLES.to_owned(), true, true),
        (vip.clone(), false, true),
        (group("a", &[PRIVATE], ""), false, false),
        (format!("{TABLES}{vip}"), true, true),
    ] {
        let found = settings(&text);
        assert_eq!(found.is_nat(), nat, "{text}");
        assert_eq!(found.takes_foreign_packets(), packets, "{text}");
        assert_eq!(found.timing.repair.enabled, nat, "{text}");
        assert_eq!(!found.uplink.targets.is_empty(), nat, "{text}");
    }
    let asked = format!(
        "repair.enabled = true\nuplink.targets = [\"tcp:10.0.0.2:53\"]\nhost.nat = true\n{vip}"
    );
    let found = settings(&asked);
    assert!(found.is_nat() && found.timing.repair.enabled);
    assert_eq!(found.uplink.targets.len(), 1);
    let found = settings(&format!("host.nat = false\n{TABLES}"));
    assert!(!found.is_nat() && found.timing.repair.enabled && found.uplink.targets.is_empty());
}

#[test]
fn an_egress_ip_needs_private_hosts_and_what_is_about_one_needs_it() {
    let egress = "kind = \"egress-ip\", allocation = \"eipalloc-0123abcd\"";
    let sources = "egress_sources = [\"10.0.9.0/24\"]";
    let found = settings(&group("a", &[egress], sources));
    assert!(found.is_nat() && !found.moves_public_addresses() && found.moves_elastic_ips());
    settings(&group("a", &[egress], "tables = [\"rtb-0123abcd\"]\negress = \"strict\""));
    for (text, part) in [
        (group("a", &[egress], ""), "no private host would reach the internet by it"),
        (group("a", &[VIP], sources), "no egress IP for these networks"),
        (group("a", &[VIP], "egress = \"strict\""), "no egress IP to wait for"),
        (format!("host.nat = false\n{}", group("a", &[egress], sources)), "host.nat is false"),
        (
            group("a", &[egress], sources) + &group("b", &[EIP], ""),
            "the Elastic IP eipalloc-0123abcd is in the groups a and b",
        ),
    ] {
        let told = only_problem(&text);
        assert!(told.contains(part), "{told}");
    }
    let landing = format!("{egress}, landing = [\"10.0.0.9\"]");
    let other = "kind = \"eip\", allocation = \"eipalloc-0123abce\", on = \"10.0.0.9\"";
    let told =
        only_problem(&(group("a", &[&landing], sources) + &group("b", &[other, PRIVATE], "")));
    assert!(told.contains("an Elastic IP on 10.0.0.9 is in the groups a and b"), "{told}");
}

#[test]
fn an_address_that_no_route_can_lead_is_no_virtual_ip() {
    for (address, part) in [
        ("127.0.0.2", "loopback"),
        ("169.254.169.254", "link-local"),
        ("0.0.0.0", "not the address of a host"),
        ("224.0.0.18", "multicast"),
        ("255.255.255.255", "multicast or reserved"),
    ] {
        let vip = format!("kind = \"vip\", address = \"{address}\"");
        let told = only_problem(&group("a", &[&vip], ""));
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_hold_leaves_the_check_the_time_to_fail() {
    let check = "check = { tcp = 80, interval = \"5s\", fall = 4 }";
    settings(&group("a", &[VIP], check));
    let told = only_problem(&group("a", &[VIP], &format!("hold = \"19s\"\n{check}")));
    assert!(told.contains("at least 20s"), "{told}");
    settings(&group("a", &[VIP], &format!("hold = \"19s\"\nhand_back = false\n{check}")));
    let told = only_problem(&format!("hand_back.hold = \"10s\"\n{}", group("a", &[VIP], check)));
    assert!(told.contains("or hand_back.hold"), "{told}");
    let told = only_problem(&group("a", &[VIP], "hold = \"2h\""));
    assert!(told.contains("hand_back.hold_max (30m)"), "{told}");
}

#[test]
fn a_record_of_the_elastic_ip_would_never_change() {
    let public = format!("{DNS}, public = true");
    let told = only_problem(&group("a", &[EIP, &public], ""));
    assert!(told.contains("the group's Elastic IP"), "{told}");
    let on = format!("{EIP}, on = \"10.0.0.9\"");
    settings(&group("a", &[&on, PRIVATE, &public], ""));
}

#[test]
fn a_fallback_is_for_default_routes_that_may_leave_by_its_address() {
    let fallback = "fallback = \"nat-0123abcd\"";
    let tables = "tables = [\"rtb-0123abcd\"]";
    let found = settings(&format!("{TABLES}{fallback}\n"));
    let gateway = found.groups[0].fallback.as_ref().map(ToString::to_string);
    assert_eq!(gateway.as_deref(), Some("nat-0123abcd"));
    let egress = "kind = \"egress-ip\", allocation = \"eipalloc-0123abcd\"";
    settings(&group("a", &[egress], &format!("{tables}\n{fallback}")));
    let strict = format!("{tables}\n{fallback}\negress = \"strict\"");
    for (text, told) in [
        (group("a", &[VIP], fallback), "default routes only"),
        (group("a", &[VIP], &format!("{tables}\n{fallback}")), "default routes only"),
        (group("a", &[egress], &strict), "allows only its egress IPs"),
    ] {
        let problem = only_problem(&text);
        assert!(problem.contains(told), "{problem}");
    }
    let wrong = only_problem(&format!("{TABLES}fallback = \"igw-0123abcd\"\n"));
    assert!(wrong.contains("is not a NAT gateway id"), "{wrong}");
}
