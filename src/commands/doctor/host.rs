//! Facts about this host: what `natha setup` left, the kernel, the interfaces, the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use tokio::task::spawn_blocking;

use super::limit::within;
use super::refresh;
use crate::config::Settings;
use crate::daemon::parse_allowances;
use crate::doctor::{ConntrackFacts, Fact, Gap, KeyDirectory, KeyFile, LinkFacts, Ring};
use crate::kernel::conntrack::{ConntrackError, Requests};
use crate::kernel::forwarding::{ForwardingError, check_plan};
use crate::kernel::journal::last_plan;
use crate::kernel::nft::{Nft, NftError};
use crate::kernel::{ethtool, facts, links, privilege, sysctl, tun, units};
use crate::plan::{
    CopyTrial, HostPlan, Item, Link, Route, SysctlKey, TableSpec, misrouted, warnings,
};

/// Where systemd looks for the credential `natha.key` (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS: [&str; 3] =
    ["/etc/credstore/natha.key", "/run/credstore/natha.key", "/usr/lib/credstore/natha.key"];

/// The file that names the SSM parameter with the cluster key, where the image fetches it.
const KEY_FROM_SSM: &str = "/etc/natha/key.ssm";

/// The timeout of connections that natha sets.
const TIMEOUT: &str = "net/netfilter/nf_conntrack_tcp_timeout_established";

/// The driver of the tunnel for copies.
const VXLAN: &str = "vxlan";

/// Statistics of the driver ENA that count packets for which the receive ring had no room.
const OVERRUNS: [&str; 2] = ["rx_drops", "rx_overruns"];

/// The facts about this host.
pub(super) struct HostFound {
    pub(super) key: Fact<Option<KeyFile>>,
    /// The key in that file.
    pub(super) secret: Option<Vec<u8>>,
    pub(super) plan: Fact<Option<HostPlan>>,
    pub(super) drift: Fact<Vec<Item>>,
    pub(super) firewalls: Fact<Vec<String>>,
    pub(super) misrouted: Fact<Vec<String>>,
    pub(super) refresh: Fact<bool>,
    pub(super) links: Fact<BTreeMap<String, LinkFacts>>,
    pub(super) conntrack: Fact<Option<ConntrackFacts>>,
    pub(super) memory: Fact<u64>,
    pub(super) nft: Fact<Result<String, String>>,
    pub(super) flowtable: Fact<bool>,
    pub(super) timeouts: Fact<bool>,
    pub(super) tun: Fact<Option<String>>,
    pub(super) conntrack_netlink: Fact<Option<String>>,
    pub(super) vxlan: Fact<bool>,
    pub(super) dup: Fact<bool>,
    pub(super) units: Fact<Option<BTreeMap<String, String>>>,
    pub(super) free: Fact<u64>,
}

/// Reads the facts about this host.
pub(super) async fn gather(settings: &Settings, state_dir: &Path, pre: bool) -> HostFound {
    let plan = last_plan(state_dir).map_err(Gap::new);
    let known_plan = plan.as_ref().ok().and_then(Option::as_ref);
    let network = within("the kernel", links::read()).await;
    let spec = known_plan.map(|plan| plan.table.clone());
    let spec = spec.or_else(|| minimal(network.as_ref().ok()?));
    let wanted = wanted_units();
    let (drift, firewalls, nft, flowtable, dup, conntrack_netlink, links, units) = tokio::join!(
        drift(state_dir, known_plan),
        firewalls(known_plan),
        nft(),
        flowtable(spec),
        dup(),
        conntrack_netlink(),
        of_links(forwarding(known_plan, &network, pre)),
        within("systemd", units::states(&wanted)),
    );
    let (key, secret) = key(settings);
    HostFound {
        key,
        secret,
        drift,
        firewalls,
        misrouted: misrouted_hosts(known_plan, &network),
        refresh: refresh::is_on(Path::new("/"), pre),
        links,
        conntrack: conntrack(),
        memory: facts::memory().map_err(Gap::new),
        nft,
        flowtable,
        timeouts: number(TIMEOUT).map(|found| found.is_some()),
        conntrack_netlink,
        vxlan: has_module(Path::new("/"), VXLAN),
        dup,
        tun: Ok(tun::check().err().map(|error| format!("cannot open /dev/net/tun: {error}"))),
        units,
        free: free(state_dir),
        plan,
    }
}

/// The interfaces and routes of this host.
type Network = Fact<(Vec<Link>, Vec<Route>)>;

/// The interfaces that forward. Before the installation, all of them might.
fn forwarding(plan: Option<&HostPlan>, network: &Network, pre: bool) -> Fact<BTreeSet<String>> {
    match plan {
        Some(plan) => Ok(plan.table.links.clone()),
        None if pre => {
            let (links, _) = network.as_ref().map_err(Clone::clone)?;
            Ok(links.iter().map(|link| link.name.clone()).collect())
        }
        None => Err(not_set_up()),
    }
}

fn not_set_up() -> Gap {
    Gap::new(ForwardingError::NotSetUp)
}

fn without_privilege() -> Option<Gap> {
    let missing = !privilege::may_change_the_network();
    missing.then(|| Gap::new("root or the capability CAP_NET_ADMIN is needed: run it with sudo"))
}

async fn drift(state_dir: &Path, plan: Option<&HostPlan>) -> Fact<Vec<Item>> {
    if let Some(gap) = without_privilege() {
        return Err(gap);
    }
    if plan.is_none() {
        return Err(not_set_up());
    }
    within("nft", check_plan(state_dir)).await
}

/// Other programs' rules that may drop what this host forwards, each with its remedy.
async fn firewalls(plan: Option<&HostPlan>) -> Fact<Vec<String>> {
    if let Some(gap) = without_privilege() {
        return Err(gap);
    }
    let plan = plan.ok_or_else(not_set_up)?;
    let others = async { Nft::find()?.others().await };
    Ok(warnings(&plan.table, &within("nft", others).await?))
}

fn misrouted_hosts(plan: Option<&HostPlan>, network: &Network) -> Fact<Vec<String>> {
    let plan = plan.ok_or_else(not_set_up)?;
    let (links, routes) = network.as_ref().map_err(Clone::clone)?;
    Ok(misrouted(&plan.table, links, routes))
}

/// The nft program, and whether the kernel lists its tables.
async fn nft() -> Fact<Result<String, String>> {
    if let Some(gap) = without_privilege() {
        return Err(gap);
    }
    let asked = async {
        let nft = match Nft::find() {
            Ok(nft) => nft,
            Err(missing) => return Ok::<_, Infallible>(Err(missing.to_string())),
        };
        let listed = async {
            nft.table().await?;
            nft.version().await
        };
        Ok(listed.await.map_err(|error| error.to_string()))
    };
    within("nft", asked).await
}

/// Whether the kernel takes a table with a flowtable. It is checked and not loaded.
async fn flowtable(spec: Option<TableSpec>) -> Fact<bool> {
    if let Some(gap) = without_privilege() {
        return Err(gap);
    }
    let spec = spec.ok_or_else(|| Gap::new("this host has no default route"))?;
    let spec = TableSpec { flowtable: true, ..spec };
    let asked = async {
        match Nft::find()?.check_flowtable(&spec).await {
            Ok(()) => Ok(true),
            Err(NftError::NoFlowtables(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    within("nft", asked).await
}

/// Whether the kernel takes a rule that copies packets. It is checked and not loaded.
async fn dup() -> Fact<bool> {
    if let Some(gap) = without_privilege() {
        return Err(gap);
    }
    let asked = async {
        let nft = Nft::find()?;
        match nft.check(&CopyTrial { copies: true }).await {
            Ok(()) => Ok(true),
            Err(refused) => match nft.check(&CopyTrial { copies: false }).await {
                Ok(()) => Ok(false),
                Err(_) => Err(refused),
            },
        }
    };
    within("nft", asked).await
}

/// Why tracked connections cannot be listed; none if they can. Asks for one that is not there.
async fn conntrack_netlink() -> Fact<Option<String>> {
    if let Some(gap) = without_privilege() {
        return Err(gap);
    }
    let ask = || -> Result<(), ConntrackError> { Requests::open()?.probe() };
    let answer = spawn_blocking(ask).await.map_err(Gap::new)?;
    Ok(answer.err().map(|error| format!("{:#}", anyhow::Error::new(error))))
}

/// Whether the kernel of the system below `root` has this module: loaded, built in, or on the disk.
fn has_module(root: &Path, name: &str) -> Fact<bool> {
    if root.join("sys/module").join(name).exists() {
        return Ok(true);
    }
    let unknown = |error: std::io::Error| {
        Gap::new(format!("cannot find out whether the kernel has the module {name}: {error}"))
    };
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).map_err(unknown)?;
    let modules = root.join("lib/modules").join(release.trim());
    // As depmod(8) lists them: the path of a module, which may be compressed, and of those that it
    // needs.
    let is_it = |line: &str| {
        let path = line.split(':').next().unwrap_or(line);
        let file = path.rsplit('/').next().unwrap_or(path);
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with(".ko"))
    };
    for list in ["modules.builtin", "modules.dep"] {
        let text = fs::read_to_string(modules.join(list)).map_err(unknown)?;
        if text.lines().any(is_it) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A table for a host that is not set up yet, to try a flowtable with.
fn minimal((_, routes): &(Vec<Link>, Vec<Route>)) -> Option<TableSpec> {
    let uplink = routes.iter().find_map(Route::default_link)?;
    Some(TableSpec {
        uplink: uplink.clone(),
        links: BTreeSet::from([uplink.clone()]),
        sources: Vec::new(),
        transit: None,
        vpc_networks: Vec::new(),
        address: None,
        clamp_mss: false,
        mss: 1460,
        flowtable: true,
        nat: true,
        protect: None,
        accept: BTreeSet::new(),
        primaries: BTreeMap::new(),
    })
}

async fn of_links(names: Fact<BTreeSet<String>>) -> Fact<BTreeMap<String, LinkFacts>> {
    let mut found = BTreeMap::new();
    for name in names? {
        let link = of_link(name.clone()).await?;
        found.insert(name, link);
    }
    Ok(found)
}

async fn of_link(name: String) -> Fact<LinkFacts> {
    let asked = name.clone();
    let read = move || (links::mtu(&asked), links::driver(&asked), ethtool::statistics(&asked));
    let (mtu, driver, statistics) = spawn_blocking(read).await.map_err(Gap::new)?;
    let mtu = mtu.ok_or_else(|| Gap::new(format!("the interface {name} is gone")))?;
    let overruns = statistics.iter().filter(|(name, _)| OVERRUNS.contains(&name.as_str()));
    let overruns: u64 = overruns.map(|(_, count)| count).sum();
    // Only a device has a ring, and asking for one needs a program that may be missing.
    let ring = match driver {
        Some(_) => ring(&name).await,
        None => None,
    };
    let allowances = parse_allowances(statistics);
    Ok(LinkFacts { mtu, driver, ring, allowances, overruns })
}

async fn ring(name: &str) -> Option<Fact<Ring>> {
    let read = within("ethtool", ethtool::receive_ring(name)).await;
    let ring = |found: ethtool::RingSize| Ring { size: found.size, most: found.most };
    read.map(|found| found.map(ring)).transpose()
}

fn conntrack() -> Fact<Option<ConntrackFacts>> {
    let tracked = number("net/netfilter/nf_conntrack_count")?;
    let max = sysctl::read(&SysctlKey::new("net/netfilter/nf_conntrack_max")).map_err(Gap::new)?;
    Ok(tracked.zip(max).map(|(tracked, max)| ConntrackFacts {
        tracked,
        max: max.value,
        settable: max.settable,
    }))
}

/// A number of the kernel; none if it has no such sysctl.
fn number(path: &str) -> Fact<Option<u64>> {
    let read = sysctl::read(&SysctlKey::new(path)).map_err(Gap::new)?;
    Ok(read.map(|reading| reading.value))
}

/// The units that must start at boot.
fn wanted_units() -> Vec<&'static str> {
    let key = Path::new(KEY_FROM_SSM).exists().then_some("natha-key.service");
    ["natha-setup.service", "natha-monitor.service"].into_iter().chain(key).collect()
}

/// The file with the cluster key, and the key: the one that the settings name, else the credential
/// that systemd gives the monitor.
fn key(settings: &Settings) -> (Fact<Option<KeyFile>>, Option<Vec<u8>>) {
    let named = settings.heartbeat.key_file.as_ref();
    let paths: Vec<PathBuf> = match named {
        Some(path) => vec![path.clone()],
        None => CREDENTIALS.iter().map(PathBuf::from).collect(),
    };
    for path in paths {
        match read_key(&path, &settings.state_dir) {
            Ok((file, secret)) => return (Ok(Some(file)), Some(secret)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if named.is_some() {
                    return (Ok(Some(KeyFile { path, ..KeyFile::default() })), None);
                }
            }
            Err(error) => {
                let why = format!("cannot read the key {}: {error}", path.display());
                return (Err(Gap::new(why)), None);
            }
        }
    }
    (Ok(None), None)
}

fn read_key(path: &Path, state_dir: &Path) -> std::io::Result<(KeyFile, Vec<u8>)> {
    let found = fs::metadata(path)?;
    let mut secret = fs::read(path)?;
    // As the settings read it: without the line break that editors add.
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    let file = KeyFile {
        path: path.to_owned(),
        mode: found.mode() & 0o777,
        owner: found.uid(),
        service: fs::metadata(state_dir).ok().map(|directory| directory.uid()),
        directories: directories(path)?,
        length: Some(secret.len()),
    };
    Ok((file, secret))
}

/// The directories on the way to a file: of its path, and of where links in it lead.
fn directories(path: &Path) -> std::io::Result<Vec<KeyDirectory>> {
    let (absolute, real) = (std::path::absolute(path)?, path.canonicalize()?);
    let above = absolute.ancestors().skip(1).chain(real.ancestors().skip(1));
    let above: BTreeSet<&Path> = above.collect();
    let one = |path: &Path| {
        let found = fs::metadata(path)?;
        let (mode, owner) = (found.mode() & 0o1777, found.uid());
        Ok(KeyDirectory { path: path.to_owned(), mode, owner })
    };
    above.into_iter().map(one).collect()
}

/// Free space for the state directory, or where it will be.
fn free(state_dir: &Path) -> Fact<u64> {
    let place = state_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let found = statvfs(place).map_err(Gap::new)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn at(path: &Path) -> (Fact<Option<KeyFile>>, Option<Vec<u8>>) {
        let mut settings = Settings::default();
        settings.heartbeat.key_file = Some(path.to_owned());
        key(&settings)
    }

    #[test]
    fn a_key_file_is_looked_at_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert_eq!(at(&path).0.unwrap().unwrap().length, None);
        assert!(at(&path.join("deep")).0.unwrap().is_some());
        assert!(at(directory.path()).0.unwrap_err().to_string().contains("cannot read the key"));
        fs::write(&path, "short\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (file, secret) = at(&path);
        let file = file.unwrap().unwrap();
        assert_eq!((&file.path, file.mode, file.length), (&path, 0o644, Some(5)));
        assert_eq!(file.owner, fs::metadata(&path).unwrap().uid());
        assert_eq!(secret.as_deref(), Some(&b"short"[..]));
    }

    #[test]
    fn every_directory_on_the_way_to_the_key_is_looked_at_through_links_too() {
        let directory = tempfile::tempdir().unwrap();
        let [open, linked] = ["open", "linked"].map(|name| directory.path().join(name));
        for path in [&open, &linked] {
            fs::create_dir(path).unwrap();
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(open.join("key"), "a key of 16 bytes").unwrap();
        symlink(open.join("key"), linked.join("key")).unwrap();
        let file = at(&linked.join("key")).0.unwrap().unwrap();
        let mode =
            |path: &Path| file.directories.iter().find(|one| one.path == path).map(|one| one.mode);
        assert_eq!(mode(&open), Some(0o1777));
        assert!(mode(&linked).is_some() && mode(Path::new("/")).is_some());
    }

    #[test]
    fn a_module_is_found_loaded_built_in_or_on_the_disk() {
        let root = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let found = || has_module(root.path(), VXLAN);
        put("proc/sys/kernel/osrelease", "6.1.0-9-cloud\n");
        assert!(found().unwrap_err().to_string().contains("the module vxlan"), "no list");
        let (net, other) = ("kernel/drivers/net", "kernel/net/openvswitch/vport-vxlan.ko");
        put("lib/modules/6.1.0-9-cloud/modules.builtin", &format!("{net}/tun.ko\n"));
        let list = "lib/modules/6.1.0-9-cloud/modules.dep";
        put(list, &format!("{other}: {net}/vxlan/vxlan.ko\n"));
        assert_eq!(found(), Ok(false), "another module that needs it");
        put(list, &format!("{other}: {net}/vxlan/vxlan.ko\n{net}/vxlan/vxlan.ko.xz: a.ko\n"));
        assert_eq!(found(), Ok(true));
        put(list, "");
        put("lib/modules/6.1.0-9-cloud/modules.builtin", &format!("{net}/vxlan/vxlan.ko\n"));
        assert_eq!(found(), Ok(true));
        put("lib/modules/6.1.0-9-cloud/modules.builtin", "");
        put("sys/module/vxlan/parameters/udp_port", "0\n");
        assert_eq!(found(), Ok(true));
    }

    #[test]
    fn free_space_is_that_of_the_nearest_directory_that_exists() {
        let directory = tempfile::tempdir().unwrap();
        let free = |path: &Path| free(path).unwrap() > 0;
        assert!(free(directory.path()) && free(&directory.path().join("a/b")));
    }

    #[tokio::test]
    async fn an_interface_that_is_gone_is_a_gap() {
        let gone = of_link("natha-missing0".to_owned()).await;
        assert!(gone.unwrap_err().to_string().contains("natha-missing0"));
        assert!(of_link("lo".to_owned()).await.unwrap().ring.is_none());
    }
}
