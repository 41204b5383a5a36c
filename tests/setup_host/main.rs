//! `natha setup` and `natha teardown`: the real program on a real kernel, each test in network
//! namespaces of its own. Needs root, `bash`, `ip`, `nft`, `iptables`, `ufw`, `unshare` and
//! `ping`; a missing tool fails.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod fake_aws;
mod netns;

mod accepting;
mod against_aws;
mod carrying;
mod changes;
mod firewalls;
mod protecting;
mod refusals;
mod traffic;
