//! Whether the members' security groups let heartbeats and echo through.

use std::fmt;
use std::net::Ipv4Addr;

use super::facts::{MemberGroups, SecurityFacts};
use super::finding::{Gap, joined};
use crate::config::Settings;
use crate::types::{InstanceId, SecurityGroup, TrafficPeer, TrafficRule};

/// The type of an ICMP echo request (RFC 792).
const ECHO_REQUEST: i32 = 8;

/// What the nodes send each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// UDP to this port.
    Heartbeat(u16),
    /// TCP to this port.
    Replication(u16),
    /// UDP to this port.
    Copies(u16),
    /// ICMP echo requests.
    Echo,
}

impl Traffic {
    const fn protocol(self) -> &'static str {
        match self {
            Self::Heartbeat(_) | Self::Copies(_) => "udp",
            Self::Replication(_) => "tcp",
            Self::Echo => "icmp",
        }
    }

    /// Whether a rule for these ports, or this type and code of ICMP, covers it.
    fn is_within(self, ports: Option<(i32, i32)>) -> bool {
        let Some((first, last)) = ports.filter(|(first, _)| *first != -1) else { return true };
        match self {
            Self::Heartbeat(port) | Self::Replication(port) | Self::Copies(port) => {
                (first..=last).contains(&i32::from(port))
            }
            Self::Echo => first == ECHO_REQUEST && (last == -1 || last == 0),
        }
    }

    /// The flags of the AWS CLI for a rule that admits it.
    fn flags(self) -> String {
        match self {
            Self::Heartbeat(port) | Self::Replication(port) | Self::Copies(port) => {
                format!("--protocol {} --port {port}", self.protocol())
            }
            Self::Echo => "--protocol icmp --port -1".to_owned(),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat(port) => write!(f, "heartbeats (UDP {port})"),
            Self::Replication(port) => write!(f, "replication (TCP {port})"),
            Self::Copies(port) => write!(f, "copies of packets during planned moves (UDP {port})"),
            Self::Echo => f.write_str("ICMP echo"),
        }
    }
}

/// The direction of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Inbound,
    Outbound,
}

/// A rule that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    traffic: Traffic,
    from: InstanceId,
    to: InstanceId,
    direction: Direction,
    /// A group of the node that lacks the rule.
    group: String,
    /// A group of the other node.
    other: String,
}

impl Missing {
    /// What is missing where. `name` names a node.
    pub(super) fn describe(&self, name: &impl Fn(&InstanceId) -> String) -> String {
        let Self { traffic, group, .. } = self;
        let (from, to) = (name(&self.from), name(&self.to));
        match self.direction {
            Direction::Inbound => {
                format!("no inbound rule of {to} ({group}) admits {traffic} from {from}")
            }
            Direction::Outbound => {
                format!("no outbound rule of {from} ({group}) admits {traffic} to {to}")
            }
        }
    }

    /// The command that adds it.
    pub(super) fn command(&self) -> String {
        let Self { traffic, group, other, .. } = self;
        match self.direction {
            Direction::Inbound => format!(
                "aws ec2 authorize-security-group-ingress --group-id {group} {} --source-group \
                 {other}",
                traffic.flags()
            ),
            Direction::Outbound => {
                let (protocol, ports) = match traffic {
                    Traffic::Heartbeat(port)
                    | Traffic::Replication(port)
                    | Traffic::Copies(port) => {
                        (traffic.protocol(), format!("FromPort={port},ToPort={port}"))
                    }
                    Traffic::Echo => (traffic.protocol(), "FromPort=-1,ToPort=-1".to_owned()),
                };
                format!(
                    "aws ec2 authorize-security-group-egress --group-id {group} --ip-permissions \
                     'IpProtocol={protocol},{ports},UserIdGroupPairs=[{{GroupId={other}}}]'"
                )
            }
        }
    }
}

/// The rules that are missing between `me` and every other member, both ways.
///
/// # Errors
/// If groups are not known, or whether a rule admits something depends on a prefix list.
pub(super) fn missing(
    facts: &SecurityFacts,
    me: &InstanceId,
    settings: &Settings,
) -> Result<Vec<Missing>, Gap> {
    let mut wanted = vec![Traffic::Heartbeat(settings.heartbeat.port), Traffic::Echo];
    let replicate = &settings.replicate;
    if replicate.enabled {
        wanted.push(Traffic::Replication(replicate.port.unwrap_or(settings.heartbeat.port)));
    }
    if replicate.enabled && replicate.relay {
        wanted.push(Traffic::Copies(replicate.relay_port));
    }
    let own = member(facts, me)?;
    let mut found = Vec::new();
    for (id, groups) in facts.of_member.iter().filter(|(id, _)| *id != me) {
        for (from, to) in [((id, groups), (me, own)), ((me, own), (id, groups))] {
            for traffic in &wanted {
                found.extend(between(facts, from, to, *traffic)?);
            }
        }
    }
    Ok(found)
}

fn member<'a>(facts: &'a SecurityFacts, id: &InstanceId) -> Result<&'a MemberGroups, Gap> {
    let unknown = || Gap::new(format!("the security groups of {id} are not known"));
    facts.of_member.get(id).ok_or_else(unknown)
}

/// A member and its groups.
type Side<'a> = (&'a InstanceId, &'a MemberGroups);

/// What keeps traffic from getting from one member to another, if anything does.
fn between(
    facts: &SecurityFacts,
    (from, sender): Side<'_>,
    (to, receiver): Side<'_>,
    traffic: Traffic,
) -> Result<Option<Missing>, Gap> {
    for (direction, side, other) in
        [(Direction::Outbound, sender, receiver), (Direction::Inbound, receiver, sender)]
    {
        if admits(facts, side, direction, other, traffic)? {
            continue;
        }
        let first = |side: &MemberGroups| side.groups.first().cloned().unwrap_or_default();
        return Ok(Some(Missing {
            traffic,
            from: from.clone(),
            to: to.clone(),
            direction,
            group: first(side),
            other: first(other),
        }));
    }
    Ok(None)
}

/// Whether a member's groups admit traffic with another one. The rules of all its groups count.
fn admits(
    facts: &SecurityFacts,
    side: &MemberGroups,
    direction: Direction,
    other: &MemberGroups,
    traffic: Traffic,
) -> Result<bool, Gap> {
    let mut lists = Vec::new();
    for id in &side.groups {
        let unknown = || Gap::new(format!("EC2 did not show the security group {id}"));
        let group = facts.groups.get(id).ok_or_else(unknown)?;
        for rule in rules(group, direction).iter().filter(|rule| is_about(rule, traffic)) {
            if rule.peers.iter().any(|peer| includes(peer, other)) {
                return Ok(true);
            }
            lists.extend(rule.peers.iter().filter_map(|peer| match peer {
                TrafficPeer::PrefixList(id) => Some(id),
                TrafficPeer::Block(_) | TrafficPeer::Group(_) => None,
            }));
        }
    }
    if lists.is_empty() {
        return Ok(false);
    }
    Err(Gap::new(format!(
        "whether {traffic} passes depends on prefix lists, which natha does not read: {}",
        joined(lists)
    )))
}

fn rules(group: &SecurityGroup, direction: Direction) -> &[TrafficRule] {
    match direction {
        Direction::Inbound => &group.inbound,
        Direction::Outbound => &group.outbound,
    }
}

fn is_about(rule: &TrafficRule, traffic: Traffic) -> bool {
    match &*rule.protocol {
        "-1" => true,
        protocol => protocol == traffic.protocol() && traffic.is_within(rule.ports),
    }
}

fn includes(peer: &TrafficPeer, other: &MemberGroups) -> bool {
    let address: Ipv4Addr = other.address;
    match peer {
        TrafficPeer::Block(block) => block.contains(&address),
        TrafficPeer::Group(id) => other.groups.contains(id),
        TrafficPeer::PrefixList(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rule(protocol: &str, ports: Option<(i32, i32)>, peer: TrafficPeer) -> TrafficRule {
        TrafficRule { protocol: protocol.to_owned(), ports, peers: vec![peer] }
    }

    fn any() -> TrafficRule {
        rule("-1", None, TrafficPeer::Block("0.0.0.0/0".parse().unwrap()))
    }

    fn of(id: &str) -> TrafficPeer {
        TrafficPeer::Group(id.to_owned())
    }

    fn node(n: u8) -> InstanceId {
        format!("i-0000000{n}").parse().unwrap()
    }

    /// Node 1 with the group `sg-a` and node 2 with `sg-b`, which admit this.
    fn facts(inbound: [Vec<TrafficRule>; 2], outbound: [Vec<TrafficRule>; 2]) -> SecurityFacts {
        let names = ["sg-a", "sg-b"];
        let groups = names.into_iter().zip(inbound.into_iter().zip(outbound)).map(
            |(id, (inbound, outbound))| {
                (id.to_owned(), SecurityGroup { id: id.to_owned(), inbound, outbound })
            },
        );
        let member = |(n, group): (u8, &str)| {
            let address = Ipv4Addr::new(10, 0, 0, n);
            (node(n), MemberGroups { address, groups: vec![group.to_owned()] })
        };
        let of_member = (1..).zip(names).map(member).collect();
        SecurityFacts { of_member, groups: groups.collect() }
    }

    fn told(facts: &SecurityFacts) -> Result<Vec<String>, Gap> {
        let missing = missing(facts, &node(1), &Settings::default())?;
        Ok(missing.iter().map(|one| one.describe(&|id: &InstanceId| id.to_string())).collect())
    }

    #[test]
    fn rules_by_group_by_block_and_for_everything_admit() {
        let by_group = |id: &str| {
            vec![rule("udp", Some((6284, 6284)), of(id)), rule("icmp", Some((8, -1)), of(id))]
        };
        let block = TrafficPeer::Block("10.0.0.0/24".parse().unwrap());
        let by_block = vec![
            rule("udp", Some((6000, 7000)), block.clone()),
            rule("icmp", Some((-1, -1)), block),
        ];
        for inbound in [
            [by_group("sg-b"), by_group("sg-a")],
            [by_block.clone(), by_block],
            [vec![any()], vec![any()]],
        ] {
            let facts = facts(inbound, [vec![any()], vec![any()]]);
            assert_eq!(told(&facts).unwrap(), Vec::<String>::new());
        }
    }

    #[test]
    fn the_rule_that_is_missing_is_named_with_the_command_that_adds_it() {
        let echo = |id: &str| vec![rule("icmp", None, of(id))];
        let blocked = facts([vec![any()], echo("sg-a")], [vec![any()], vec![any()]]);
        assert_eq!(
            told(&blocked).unwrap(),
            ["no inbound rule of i-00000002 (sg-b) admits heartbeats (UDP 6284) from i-00000001"]
        );
        let [first] = &missing(&blocked, &node(1), &Settings::default()).unwrap()[..] else {
            panic!("several rules are missing")
        };
        assert_eq!(
            first.command(),
            "aws ec2 authorize-security-group-ingress --group-id sg-b --protocol udp --port 6284 \
             --source-group sg-a"
        );
        let mute = facts([vec![any()], vec![any()]], [Vec::new(), vec![any()]]);
        let mute = missing(&mute, &node(1), &Settings::default()).unwrap();
        assert_eq!(mute.len(), 2, "heartbeats and echo to node 2");
        let command = mute[0].command();
        assert!(command.contains("egress --group-id sg-a"), "{command}");
        assert!(command.contains("UserIdGroupPairs=[{GroupId=sg-b}]"), "{command}");
    }

    #[test]
    fn ports_beside_the_heartbeat_and_replies_alone_do_not_admit() {
        for (protocol, ports) in
            [("udp", Some((6285, 7000))), ("tcp", Some((6284, 6284))), ("icmp", Some((0, -1)))]
        {
            let narrow = vec![rule(protocol, ports, of("sg-a"))];
            let facts = facts([vec![any()], narrow], [vec![any()], vec![any()]]);
            assert_eq!(told(&facts).unwrap().len(), 2, "{protocol} {ports:?}");
        }
    }

    #[test]
    fn replication_needs_its_port_only_while_it_is_on() {
        let mut settings = Settings::default();
        let open = |id: &str| vec![rule("udp", None, of(id)), rule("icmp", None, of(id))];
        let facts = facts([open("sg-b"), open("sg-a")], [vec![any()], vec![any()]]);
        assert_eq!(missing(&facts, &node(1), &settings).unwrap(), []);
        settings.replicate.enabled = true;
        assert_eq!(missing(&facts, &node(1), &settings).unwrap().len(), 2);
    }

    #[test]
    fn copies_need_their_port_unless_they_are_off() {
        let mut settings = Settings::default();
        settings.replicate.enabled = true;
        let open = |id: &str| {
            let ports = [("udp", Some((6284, 6284))), ("tcp", None), ("icmp", None)];
            ports.map(|(protocol, ports)| rule(protocol, ports, of(id))).into()
        };
        let facts = facts([open("sg-b"), open("sg-a")], [vec![any()], vec![any()]]);
        let found = missing(&facts, &node(1), &settings).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].command().contains("--protocol udp --port 6286"), "{found:?}");
        settings.replicate.relay = false;
        assert_eq!(missing(&facts, &node(1), &settings).unwrap(), []);
    }

    #[test]
    fn what_depends_on_a_prefix_list_or_an_unknown_group_is_a_gap() {
        let list = rule("-1", None, TrafficPeer::PrefixList("pl-1".to_owned()));
        let listed = facts([vec![any()], vec![list]], [vec![any()], vec![any()]]);
        assert!(told(&listed).unwrap_err().to_string().contains("pl-1"));
        let unknown = SecurityFacts { groups: BTreeMap::new(), ..listed };
        assert!(told(&unknown).unwrap_err().to_string().contains("sg-"));
        assert!(told(&SecurityFacts::default()).is_err());
    }
}
