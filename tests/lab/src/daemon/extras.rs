//! What a specification adds to the usual account: routes, route tables, Elastic IP addresses,
//! hosted zones, and user data that names any of them.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ipnet::Ipv4Net;

use super::account::{Account, Elastic, refused};
use crate::ec2::{RouteVia, World};
use crate::spec::{Role, Spec};

/// Makes all of it; the instances and the usual network are there.
///
/// # Errors
/// When EC2 or Route 53 refuses something, or user data names what does not exist.
pub(super) fn make(
    world: &mut World,
    account: &mut Account,
    spec: &Spec,
    now: Duration,
) -> Result<()> {
    for route in &spec.routes {
        let missing = || format!("there is no table {}", route.table);
        let table = account.table(&route.table).with_context(missing)?;
        let via = RouteVia::Interface(interface(world, &route.to)?);
        world.create_route(table, route.destination, &via, now).map_err(refused)?;
    }
    for home in &spec.more_tables {
        let tags = spec.table_tags.iter().map(|(key, value)| (&**key, &**value));
        let tags: Vec<(&str, &str)> = tags.chain([("natha:home", &**home)]).collect();
        let table = world.create_table(&account.vpc, &[], &tags, now).map_err(refused)?;
        let via = RouteVia::Interface(interface(world, home_of(account, spec, home))?);
        world.create_route(&table, Ipv4Net::default(), &via, now).map_err(refused)?;
    }
    for wanted in &spec.addresses {
        let tags = [("Name", &*wanted.name)];
        let (allocation, address) = world.allocate_address(&tags, now).map_err(refused)?;
        if let Some(host) = &wanted.on {
            let interface = interface(world, host)?;
            let there = world.associate_address(&allocation, &interface, wanted.private, now);
            there.map_err(refused)?;
        }
        account.elastic.insert(wanted.name.clone(), Elastic { allocation, address });
    }
    for wanted in &spec.zones {
        let zone = world.create_hosted_zone(&wanted.name, now).map_err(refused)?;
        for (name, record) in &wanted.records {
            let put = world.put_record(&zone, name, record.ttl, &record.addresses, now);
            put.map_err(refused)?;
        }
        account.hosted_zones.insert(wanted.name.clone(), zone);
    }
    for host in &spec.hosts {
        let Some(text) = &host.user_data else { continue };
        let text = fill(text, |kind, name| known(world, account, kind, name))
            .with_context(|| format!("the user data of {}", host.name))?;
        let instance = instance(world, &host.name)?;
        world.set_user_data(&instance, &text, now).map_err(refused)?;
    }
    Ok(())
}

/// The host that is meant by its name, or by its zone's as the first node there.
fn home_of<'a>(account: &Account, spec: &'a Spec, home: &'a str) -> &'a str {
    let zone = account.zones.iter().position(|zone| zone.name == home);
    let mut nodes = spec.hosts.iter().filter(|host| host.role == Role::Node);
    let first = nodes.find(|host| zone == Some(usize::from(host.zone)));
    first.map_or(home, |host| host.name.as_str())
}

fn instance(world: &World, host: &str) -> Result<String> {
    world.instance_named(host).with_context(|| format!("no host is named {host}"))
}

fn interface(world: &World, host: &str) -> Result<String> {
    let instance = instance(world, host)?;
    world.primary_interface(&instance).with_context(|| format!("{host} has no interface"))
}

/// The kinds of placeholders.
const KINDS: [&str; 7] =
    ["instance", "interface", "address", "eip", "eip-address", "zone", "table"];

/// What a placeholder stands for.
fn known(world: &World, account: &Account, kind: &str, name: &str) -> Option<String> {
    let interface = || interface(world, name).ok();
    match kind {
        "instance" => world.instance_named(name),
        "interface" => interface(),
        "address" => {
            let own = interface();
            let own = own.as_ref().and_then(|id| world.private_addresses(id)?.first());
            own.map(ToString::to_string)
        }
        "eip" => account.elastic.get(name).map(|it| it.allocation.clone()),
        "eip-address" => account.elastic.get(name).map(|it| it.address.to_string()),
        "zone" => account.hosted_zones.get(name).cloned(),
        _ => account.table(name).map(str::to_owned),
    }
}

/// Puts in what the placeholders `{{KIND.NAME}}` stand for. Braces that hold anything else stay.
fn fill(text: &str, known: impl Fn(&str, &str) -> Option<String>) -> Result<String> {
    let mut parts = text.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let place = part.split_once("}}").and_then(|(inside, after)| {
            let (kind, name) = inside.split_once('.')?;
            KINDS.contains(&kind).then(|| (known(kind, name), inside, after))
        });
        match place {
            None => {
                filled.push_str("{{");
                filled.push_str(part);
            }
            Some((value, inside, after)) => {
                let nothing = || anyhow!("`{{{{{inside}}}}}` stands for nothing in this lab");
                filled.push_str(&value.ok_or_else(nothing)?);
                filled.push_str(after);
            }
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::super::account;
    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let known = |kind: &str, name: &str| match (kind, name) {
            ("eip", "db") => Some("eipalloc-1".to_owned()),
            _ => None,
        };
        let filled = fill("a {{eip.db}} {{ x }} {{b.c}} {{{{eip.db}}}}", known).unwrap();
        assert_eq!(filled, "a eipalloc-1 {{ x }} {{b.c}} {{eipalloc-1}}");
        let error = fill("{{eip.web}}", known).unwrap_err();
        assert!(error.to_string().contains("{{eip.web}}"), "{error}");
    }

    #[test]
    fn a_specification_gets_its_routes_addresses_zones_and_ids() {
        let vip = "192.168.100.1/32".parse().unwrap();
        let text = "#!/bin/sh\n# {{instance.nat-b}} {{interface.nat-a}} {{address.nat-a}} \
                    {{eip.web}} {{eip-address.web}} {{zone.example.test}} {{table.private-b}}\n";
        let spec = Spec::nodes(2)
            .with_route(vip, "nat-b", &["public", "private-a"])
            .with_address("web", Some("nat-a"))
            .with_zone("example.test")
            .with_node_user_data(text);
        let now = Duration::ZERO;
        let (world, account) = account::make(&spec, now).unwrap();
        let [a, b] = ["nat-a", "nat-b"].map(|host| interface(&world, host).unwrap());
        for table in ["public", "private-a"] {
            let leads = world.route(account.table(table).unwrap(), vip);
            assert_eq!(leads, Some(RouteVia::Interface(b.clone())), "{table}");
        }
        assert_eq!(world.route(account.table("private-b").unwrap(), vip), None);
        let web = &account.elastic["web"];
        assert_eq!(world.address_at(&web.allocation).unwrap().0, a);
        let id = instance(&world, "nat-a").unwrap();
        let shown = world.dataplane(now).instances[&id].user_data.clone().unwrap();
        let expected = format!(
            "#!/bin/sh\n# {} {a} 10.0.0.4 {} {} {} {}\n",
            instance(&world, "nat-b").unwrap(),
            web.allocation,
            web.address,
            account.hosted_zones["example.test"],
            account.zones[1].private_table,
        );
        assert_eq!(shown, expected);
    }
}
