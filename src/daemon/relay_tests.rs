use super::*;
use crate::daemon::host_fixture::{repairs, run};
use crate::daemon::inbox;
use crate::kernel::sysctl;
use crate::plan::tunnel_sysctls;

const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

fn member(id: &str, address: Ipv4Addr) -> Member {
    Member {
        id: id.parse().unwrap(),
        interface: "eni-0000000000000000a".parse().unwrap(),
        address,
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: [("eipalloc-00000001".parse().unwrap(), address)].into(),
    }
}

#[test]
fn what_another_program_removes_is_restored_with_an_event_each() {
    let in_own_network = async || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("run the tests as root");
        let (notes, mut inbox) = inbox::channel().unwrap();
        let me = member("i-00000001", OWN);
        let members = vec![me.clone(), member("i-00000002", PEER)];
        let (_members, members) = watch::channel(members);
        let (_wanted, wanted) = watch::channel(Vec::new());
        let mut keeper = Keeper::new(&Settings::default(), &me, 0, (members, wanted), notes);
        let look = Due::Look(Cause::Round);
        keeper.round(look, clock::now()).await.unwrap();
        keeper.round(look, clock::now()).await.unwrap();
        assert_eq!(repairs(&mut inbox), [""; 0], "what is new is no drift");
        run("nft", "flush ruleset").await;
        run("ip", "link del natha1").await;
        keeper.round(look, clock::now()).await.unwrap();
        let wanted = [
            "repaired interface `natha1`, found by a regular check: it was absent",
            "repaired nft table ip natha_relay, found by a regular check: it was absent",
        ];
        assert_eq!(repairs(&mut inbox), wanted);
        assert!(relay::is_there().await.unwrap());
        keeper.round(look, clock::now()).await.unwrap();
        assert_eq!(repairs(&mut inbox), [""; 0], "nothing is left to repair");
        // As udev does, some time after the interface has appeared.
        for one in tunnel_sysctls() {
            sysctl::write(&one.key, u64::from(!one.forwards())).unwrap();
        }
        keeper.round(Due::Changes, clock::now()).await.unwrap();
        let wanted = "repaired interface `natha1`, found by a regular check: \
                      net.ipv4.conf.natha1.rp_filter is 1, should be 2; \
                      net.ipv4.conf.natha1.forwarding is 0, should be 1";
        assert_eq!(repairs(&mut inbox), [wanted]);
        assert!(relay::hold().unwrap().is_empty());
    };
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(in_own_network());
}

fn counts(made: u64, sent_on: u64) -> RelayCounts {
    let tally = |packets| Tally { packets, bytes: packets * 100 };
    RelayCounts { made: tally(made), sent_on: tally(sent_on) }
}

#[test]
fn what_was_copied_is_the_sum_of_all_tables() {
    let mut copied = Copied::default();
    copied.read(counts(3, 1));
    copied.read(counts(5, 1));
    copied.restart();
    copied.read(counts(2, 4));
    let wanted = |packets| PacketCount { packets, bytes: packets * 100 };
    assert_eq!(copied.total, CopiesReport { made: wanted(7), sent_on: wanted(5) });
    // Another program has loaded the table anew.
    copied.read(counts(1, 4));
    assert_eq!(copied.total, CopiesReport { made: wanted(8), sent_on: wanted(5) });
}

#[test]
fn packets_are_copied_with_the_peers_of_groups_that_have_hosts() {
    let rules = |peer, sources| RelayRules {
        uplink: "ens5".to_owned(),
        sources,
        vpc_networks: Vec::new(),
        peer,
        copies: false,
    };
    let other = Ipv4Addr::new(10, 0, 2, 10);
    let hosts = vec![Ipv4Net::from(OWN)];
    let groups = vec![rules(PEER, hosts), rules(other, Vec::new())];
    let table = RelayTable { port: 6_286, peers: vec![PEER, other], groups };
    let [near, far]: [InstanceId; 2] = ["i-00000002", "i-00000003"].map(|id| id.parse().unwrap());
    let peers = BTreeMap::from([(near.clone(), PEER), (far, other)]);
    assert_eq!(active(&table, &peers), [near].into());
}
