//! What natha costs on a host: time to set up and to start, memory, CPU, size.

use std::io::{ErrorKind, Read, Write, stdout};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::figures::Figures;
use super::pair::{Pair, api};
use super::{Bench, stats, summary};
use crate::lab::Lab;

/// How long a first heartbeat is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a monitor is left alone before it counts as idle.
const CALM: Duration = Duration::from_secs(5);
/// The port of the heartbeats.
const BEATS: u16 = 6284;

/// The size of the binary that is measured.
pub(super) fn binary(bench: &Bench<'_>) -> Result<Figures> {
    let path = &bench.options.natha;
    ensure!(
        path.parent().is_some_and(|profile| profile.ends_with("release")),
        "{} is not a release build",
        path.display()
    );
    let bytes = path.metadata().with_context(|| format!("no {}", path.display()))?.len();
    let kib = u32::try_from(bytes / 1024).context("a binary of terabytes")?;
    Ok(Figures::from([("binary.mib", stats::rounded(f64::from(kib) / 1024.0, 1))]))
}

/// `natha setup` on a host that it has set up already, timed on the host.
pub(super) fn setup(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(0))?;
    let script = "b=$(date +%s%N); natha setup >/dev/null; e=$(date +%s%N); echo $((e - b))";
    let mut times = Vec::new();
    for _ in 0..bench.scale.setups {
        let out = pair.lab.sh("nat-a", &format!("set -e; {script}"))?;
        times.push(ms(out.trim().parse().with_context(|| format!("no time: {out}"))?));
    }
    summary(&["setup.unchanged_ms", "setup.unchanged_ms.max"], &times)
}

/// From starting the monitor to its first heartbeat, taken where it arrives: at the peer.
pub(super) fn start(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(0))?;
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let from = pair.lab.host("nat-a")?.private;
    let from = from.first().context("nat-a has no address")?;
    let watch = format!("exec {} first-packet {from} {BEATS} >/run/first", program.display());
    let mut times = Vec::new();
    for _ in 0..bench.scale.starts {
        let killed = pair.lab.kill("nat-a", "natha")?;
        ensure!(killed == 1, "{killed} processes named natha on nat-a, not one");
        pair.lab.sh("nat-b", "rm -f /run/first")?;
        pair.lab.spawn("nat-b", &["sh", "-c", &watch])?;
        await_lines(&pair.lab, 1)?;
        let run = "date +%s%N >/run/began; exec natha monitor >/dev/null 2>&1";
        pair.lab.spawn("nat-a", &["sh", "-c", run])?;
        let seen = await_lines(&pair.lab, 2)?;
        let began: u64 = pair.lab.sh("nat-a", "cat /run/began")?.trim().parse()?;
        times.push(ms(seen.trim().parse::<u64>()?.saturating_sub(began)));
        pair.await_home()?;
    }
    summary(&["monitor.start_ms", "monitor.start_ms.max"], &times)
}

/// Waits until the watcher on the peer has written so many lines; returns the last one.
fn await_lines(lab: &Lab, count: usize) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let text = lab.sh("nat-b", "cat /run/first 2>/dev/null || true")?;
        if let Some(line) = text.lines().nth(count - 1) {
            return Ok(line.to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the watcher on nat-b has not written line {count} within {} s", PATIENCE.as_secs())
}

/// Waits for the first UDP packet from an address to a port of this host. Prints `ready` once it
/// listens, and then when that packet came, in nanoseconds since 1970.
///
/// # Errors
/// When a raw socket cannot be opened, or nothing comes within thirty seconds.
pub fn first_packet(from: Ipv4Addr, port: u16) -> Result<()> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))
        .context("cannot open a raw socket")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    writeln!(stdout(), "ready")?;
    let mut buffer = [0; 2048];
    loop {
        let count = match socket.read(&mut buffer) {
            Err(problem) if problem.kind() == ErrorKind::Interrupted => continue,
            other => other.with_context(|| format!("nothing from {from}"))?,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        if is_from(&buffer[..count], from, port) {
            return writeln!(stdout(), "{}", now.as_nanos()).context("cannot write the time");
        }
    }
}

/// Whether an IPv4 packet is a datagram from an address to a port.
fn is_from(packet: &[u8], from: Ipv4Addr, port: u16) -> bool {
    let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    packet.get(12..16) == Some(&from.octets())
        && packet.get(header + 2..header + 4) == Some(&port.to_be_bytes())
}

/// Memory and CPU of a monitor in whose cluster nothing happens.
pub(super) fn idle(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(50))?;
    thread::sleep(CALM);
    let used = || usage(&pair.lab, "nat-a", "natha");
    let (began, before) = (Instant::now(), used()?);
    thread::sleep(bench.scale.idle);
    let (after, elapsed) = (used()?, began.elapsed());
    let seconds = f64::from(after.ticks - before.ticks) / f64::from(TICKS);
    let percent = seconds / elapsed.as_secs_f64() * 100.0;
    Ok(Figures::from([
        ("monitor.rss_mib", stats::rounded(f64::from(after.kib) / 1024.0, 1)),
        ("monitor.cpu_percent", stats::rounded(percent, 2)),
    ]))
}

/// What a program has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// User and system time, in [`TICKS`].
    pub(super) ticks: u32,
    /// Its resident size in KiB.
    pub(super) kib: u32,
}

/// What the one program of this name on a host has used.
pub(super) fn usage(lab: &Lab, host: &str, program: &str) -> Result<Usage> {
    let script = format!(
        "set -e; comm=$(grep -slx {program} /proc/[0-9]*/comm || true); \
         cat \"${{comm%comm}}stat\" \"${{comm%comm}}status\""
    );
    let text = lab.sh(host, &script)?;
    let (stat, status) = text.split_once('\n').context("no line of a process")?;
    Ok(Usage {
        ticks: ticks(stat).context("no CPU time")?,
        kib: resident(status).context("no resident size")?,
    })
}

/// Ticks in a second of proc(5)'s times: the same on every Linux that natha runs on.
pub(super) const TICKS: u32 = 100;

/// User and system time in a `/proc/PID/stat`.
pub(super) fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<u32>().ok();
    Some(field(14)? + field(15)?)
}

/// The resident size in KiB in a `/proc/PID/status`.
fn resident(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn ms(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_proc() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 5 0 99";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(resident("VmPeak:\t  99 kB\nVmRSS:\t   20480 kB\n"), Some(20480));
        assert_eq!((ticks(""), resident("")), (None, None));
    }

    #[test]
    fn a_heartbeat_is_told_from_other_packets() {
        let from = Ipv4Addr::new(10, 0, 0, 10);
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&from.octets());
        packet[22..24].copy_from_slice(&BEATS.to_be_bytes());
        assert!(is_from(&packet, from, BEATS));
        assert!(!is_from(&packet, from, 53));
        assert!(!is_from(&packet, Ipv4Addr::new(10, 0, 1, 10), BEATS));
        assert!(!is_from(&packet[..20], from, BEATS) && !is_from(&[], from, BEATS));
    }
}
