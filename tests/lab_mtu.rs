//! Packets of 9001 bytes in the VPC, and of 1500 beyond its internet gateway.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::Scene;
use natha_lab::net::internet::{ECHO_PORT, INTERNET_HOST};
use natha_lab::scene::{self, QUICK, element};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// What a host with 9001 bytes a packet announces as its largest TCP segment.
const JUMBO: &str = "8961";

/// Lets something from these addresses into the members of a security group.
fn let_in(scene: &Scene, group: &str, what: &[(&str, &str)], from: &str) {
    let at = |name: &str| format!("IpPermissions.1.{name}");
    let mut rule = vec![("GroupId".to_owned(), group), (at("IpRanges.1.CidrIp"), from)];
    rule.extend(what.iter().map(|(name, value)| (at(name), *value)));
    let rule: Vec<(&str, &str)> = rule.iter().map(|(name, value)| (&**name, *value)).collect();
    scene.ec2("AuthorizeSecurityGroupIngress", &rule).unwrap();
}

/// Gives nat-a a security group that lets in what the private hosts and the other node send, and
/// nothing of the gateway of its own subnet.
fn let_in_hosts_only(scene: &Scene) -> String {
    let vpc = scene.account().unwrap().vpc;
    let wanted = [("VpcId", &*vpc), ("GroupName", "hosts"), ("GroupDescription", "hosts")];
    let group = element(&scene.ec2("CreateSecurityGroup", &wanted).unwrap(), "groupId");
    for from in ["10.0.1.0/24", "10.0.100.0/24"] {
        let_in(scene, &group, &[("IpProtocol", "-1")], from);
    }
    let interface = scene.host("nat-a").unwrap().interface;
    let change = [("NetworkInterfaceId", &*interface), ("SecurityGroupId.1", &group)];
    scene.ec2("ModifyNetworkInterfaceAttribute", &change).unwrap();
    group
}

/// Sends some hundred thousand bytes to the internet and gets them back, by one TCP connection.
fn moves_much(scene: &Scene) -> bool {
    const BYTES: &str = "400000";
    let echo = format!(
        "timeout 20 bash -c 'exec 3<>/dev/tcp/{INTERNET_HOST}/{ECHO_PORT}; \
         head -c {BYTES} /dev/zero >&3 & head -c {BYTES} <&3 | wc -c' || true"
    );
    scene.sh("host-a", &echo).unwrap().trim() == BYTES
}

/// Whether SYNs that announce this size have arrived in the internet since the last look.
fn announced(scene: &Scene, size: &str) -> bool {
    let counted = "nft reset counter ip watch";
    let found = scene.sh("internet", &format!("{counted} size{size}")).unwrap();
    !found.contains("packets 0 ")
}

/// What the host has learned of the path to the internet from errors.
fn learned(scene: &Scene) -> bool {
    let route = scene.sh("host-a", &format!("ip route get {INTERNET_HOST}")).unwrap();
    route.contains("mtu 1500")
}

#[test]
fn jumbo_frames_meet_1500_bytes_beyond_the_gateway_and_tcp_passes_with_and_without_the_clamp() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    assert!(scene.sh("host-a", "cat /sys/class/net/ens5/mtu").unwrap().contains("9001"));
    // The far host has jumbo frames in its own network, so that its answers do not hide the path.
    let watch = format!(
        "ip route replace default via 203.0.113.1 dev eth0 src {INTERNET_HOST} advmss 8960 && \
         nft 'table ip watch {{ counter size1460 {{ }}; counter size{JUMBO} {{ }}; \
         chain input {{ type filter hook input priority 0; \
         tcp flags syn tcp dport {ECHO_PORT} tcp option maxseg size 1460 counter name size1460; \
         tcp flags syn tcp dport {ECHO_PORT} tcp option maxseg size {JUMBO} \
         counter name size{JUMBO}; }}; }}'"
    );
    scene.sh("internet", &watch).unwrap();

    // No ICMP error is let in, as by most security groups. The clamp needs none.
    let group = let_in_hosts_only(&scene);
    assert!(moves_much(&scene), "TCP does not pass with the clamp");
    assert!(announced(&scene, "1460") && !announced(&scene, JUMBO));
    let ping = format!("ping -c 2 -i 0.2 -W 1 -M do -s 3000 {INTERNET_HOST} || true");
    let told = scene.sh("host-a", &ping).unwrap();
    assert!(told.contains("100% packet loss") && !told.contains("mtu"), "{told}");
    assert!(!learned(&scene));

    let errors = [("IpProtocol", "icmp"), ("FromPort", "3"), ("ToPort", "4")];
    let_in(&scene, &group, &errors, "0.0.0.0/0");
    scene.sh("nat-a", "NATHA_HOST_CLAMP_MSS=false natha setup").unwrap();
    assert!(moves_much(&scene), "TCP does not pass by discovery of the path's MTU");
    assert!(announced(&scene, JUMBO) && !announced(&scene, "1460"));
    assert!(learned(&scene), "no error has reached the host");
    scene.sh("host-a", "ip route flush cache").unwrap();
    let told = scene.sh("host-a", &ping).unwrap();
    assert!(told.contains("Frag needed and DF set (mtu = 1500)"), "{told}");

    // Without DF, the packet is fragmented.
    scene.sh("host-a", "ip route flush cache").unwrap();
    let whole = format!("ping -c 2 -i 0.2 -W 2 -M dont -s 3000 {INTERNET_HOST}");
    scene.sh("host-a", &whole).unwrap();
    scene.nobody_stopped().unwrap();
}
