//! Inputs to begin with: what is well formed, so that changes of it reach further than noise does.

use natha::types::{Beat, Claim, Fault, Fitness, Hears, InstanceId, ProgramVersion, SessionId};
use natha::wire::{HeartbeatKey, Sender};

/// None: the target draws its decisions from its input, and any bytes are good.
pub(crate) fn none() -> Vec<Vec<u8>> {
    vec![(0..=255).collect()]
}

pub(crate) fn packets() -> Vec<Vec<u8>> {
    let id: InstanceId = "i-0123456789abcdef0".parse().expect("an id");
    let beat = Beat {
        fitness: Fitness::unfit(Fault::Uplink),
        leaving: true,
        restarting: false,
        latched: true,
        settings_digest: 5,
        hears: vec![Hears {
            node: "i-0123abcd".parse().expect("an id"),
            session: SessionId(9),
            age_ms: 40,
            failed: true,
            stopped: false,
        }],
        holds: vec![Claim {
            group: "zone-a".parse().expect("a name"),
            generation: 3,
            to: Some("i-0123abcd".parse().expect("an id")),
        }],
        unfit_for: ["zone-b".parse().expect("a name")].into(),
    };
    let whole = [None, Some(HeartbeatKey::derive(b"another key"))].map(|key| {
        let sender = Sender::new(id.clone(), SessionId(1), "blue", key);
        sender.with_version(ProgramVersion::own()).encode(&beat).bytes
    });
    let bodies = whole.clone().map(|packet| packet[14..].to_vec());
    whole.into_iter().chain(bodies).collect()
}

/// A resync and its end, behind the greeting.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    vec![crate::flows::resync()]
}

pub(crate) fn files() -> Vec<Vec<u8>> {
    let texts = [
        "cluster = \"blue\"\napi.timeout = \"3s\"\n[heartbeat]\ninterval = \"50ms\"\n",
        "[[group]]\nname = \"zone-a\"\ntables = [\"rtb-0123abcd\"]\nhome = \"nat-a\"\n",
        "[[group]]\nname = \"db\"\nprefer = [\"i-0123abcd\", \"nat-a\"]\nlocal = \"dnat:5432\"\n\
         [[group.resource]]\nkind = \"vip\"\naddress = \"192.168.9.9\"\n[group.check]\ntcp = 80\n",
        "observe = true\n[[group]]\nname = \"a\"\nhold = \"9s\"\nresource = [\
         { kind = \"private-ip\", address = \"10.0.0.9\" }, \
         { kind = \"eip\", allocation = \"eipalloc-0123abcd\" }]\n",
        "[repair]\nafter = \"20s\"\nsettle = \"19s\"\n[hand_back]\nhold = \"3s\"\n",
        "[uplink]\ntargets = [\"icmp:1.1.1.1\", \"tcp:8.8.8.8:53\"]\ninterval = \"1s\"\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn tags() -> Vec<Vec<u8>> {
    let texts = ["cluster=blue\nName=nat-a\nrepair.after=20s\nadopt=true\n"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn listings() -> Vec<Vec<u8>> {
    let text = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"ip",
        "name":"natha","handle":1}},{"set":{"name":"sources","elem":["10.0.0.0/16"]}},
        {"chain":{"name":"seal","handle":2}},{"counter":{"name":"out","packets":1,"bytes":2}},
        {"rule":{"chain":"seal","comment":"plan=00 listing=00"}},
        {"rule":{"chain":"postrouting","handle":3,"expr":[{"masquerade":null}]}}]}"#;
    vec![text.as_bytes().to_vec()]
}

/// The start of a kept case.
pub(crate) fn recordings() -> Vec<Vec<u8>> {
    let case = include_str!("../../cases/thawed.jsonl");
    let start: String = case.split_inclusive('\n').take(14).collect();
    vec![start.into_bytes()]
}
