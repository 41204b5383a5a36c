//! What setup refuses, each with its own message, and that nothing is changed then.

use std::fs;

use crate::netns::{Netns, Ran};

const SETUP: &str = "setup --source 10.0.0.0/16 --no-source-dest-check";

/// Runs setup and asserts that it failed with 1 and changed nothing.
#[track_caller]
fn refused(host: &Netns, wrapper: &[&str], args: &str) -> Ran {
    let before = host.everything_else();
    let ran = host.natha_under(wrapper, args).exits(1);
    assert_eq!(host.everything_else(), before);
    assert!(!host.journal().exists());
    ran
}

#[test]
fn without_privilege() {
    let host = Netns::one_armed();
    let ran = refused(&host, &["setpriv", "--bounding-set=-net_admin"], SETUP);
    ran.complains(&["CAP_NET_ADMIN", "sudo"]);
}

#[test]
fn without_nft() {
    let host = Netns::one_armed();
    let hide = "mount --bind /dev/null /usr/sbin/nft && exec \"$0\" \"$@\"";
    let ran = refused(&host, &["unshare", "-m", "sh", "-c", hide], SETUP);
    ran.complains(&["`nft` is not installed", "/usr/sbin", "nftables"]);
}

#[test]
fn an_unknown_interface() {
    let host = Netns::one_armed();
    let ran = refused(&host, &[], &format!("{SETUP} --uplink ens9"));
    ran.complains(&["no interface `ens9`", "ens5", "`host.uplink`"]);
    let ran = refused(&host, &[], &format!("{SETUP} --uplink lo"));
    ran.complains(&["`lo` cannot be", "ens5", "`host.uplink`"]);
}

#[test]
fn no_default_route() {
    let host = Netns::one_armed();
    host.ip("route delete default");
    refused(&host, &[], SETUP).complains(&["no default route", "--uplink", "`host.uplink`"]);
}

#[test]
fn two_equal_default_routes() {
    let host = Netns::new();
    host.interface("ens5", "10.0.0.10/24", "02:00:00:00:00:05");
    host.interface("ens6", "10.0.1.10/24", "02:00:00:00:00:06");
    host.ip("route add default nexthop via 10.0.0.1 nexthop via 10.0.1.1");
    refused(&host, &[], SETUP).complains(&["ens5, ens6", "--uplink"]);
    host.natha(&format!("{SETUP} --uplink ens6")).exits(0);
}

#[test]
fn several_default_routes_with_a_clear_best_one_are_fine() {
    let host = Netns::one_armed();
    host.interface("ens6", "10.0.1.10/24", "02:00:00:00:00:06");
    host.ip("route add default via 10.0.1.1 metric 512");
    host.natha(SETUP).exits(0);
    assert!(host.nft("list chain ip natha postrouting").contains("\"ens5\""));
}

#[test]
fn no_instance_metadata() {
    let host = Netns::one_armed();
    let ran = refused(&host, &[], "setup --no-source-dest-check");
    ran.complains(&["instance metadata", "--source", "--no-source-dest-check"]);
}

#[test]
fn a_read_only_proc_sys() {
    let host = Netns::one_armed();
    let script = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && \
                  exec \"$0\" \"$@\"";
    let ran = refused(&host, &["unshare", "-m", "sh", "-c", script], SETUP);
    ran.complains(&["net.ipv4.ip_forward is 0, should be 1", "container"]);
}

/// Whatever the kernel below has: puts an nft in the place of the real one that says what nft says
/// where the kernel has no flowtables.
const NO_FLOWTABLES: &str = r#"mount -t tmpfs none /mnt && cp /usr/sbin/nft /mnt/real &&
cat >/mnt/nft <<'END' && chmod 755 /mnt/nft && mount --bind /mnt/nft /usr/sbin/nft && exec "$0" "$@"
#!/bin/sh
case "$*" in *-f*) input=$(cat) ;; esac
case $input in
    *'"flowtable"'*)
        echo 'Error: Could not process rule: No such file or directory' >&2
        exit 1
        ;;
esac
printf %s "$input" | exec /mnt/real "$@"
END"#;

#[test]
fn a_kernel_without_flowtables() {
    let host = Netns::one_armed();
    let wrapper = ["unshare", "-m", "sh", "-c", NO_FLOWTABLES];
    for args in [format!("{SETUP} --flowtable"), format!("{SETUP} --flowtable --dry-run")] {
        let ran = refused(&host, &wrapper, &args);
        ran.complains(&["no nft flowtables", "nft_flow_offload", "leave `host.flowtable` off"]);
    }
    host.natha_under(&wrapper, SETUP).exits(0);
}

#[test]
fn a_journal_that_cannot_be_read() {
    let host = Netns::one_armed();
    fs::write(host.journal(), "not json").unwrap();
    let before = host.everything_else();
    host.natha(SETUP).exits(1).complains(&["journal.json is not an undo journal"]);
    assert_eq!(host.everything_else(), before);
}
