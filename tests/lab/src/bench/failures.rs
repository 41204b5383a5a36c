//! Failures short of a dead kernel: one that stands still, no uplink, no monitor.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::pair::{PACE_MS, PROBE, Pair, api, outage, spread};
use super::{Bench, stats, summary};
use crate::ec2::{CallRecord, Principal};

pub(super) const FROZEN: [&str; 3] =
    ["frozen.outage_ms.median", "frozen.outage_ms.max", "frozen.writes_before_reread"];
pub(super) const UPLINK: [&str; 2] = ["uplink_lost.outage_ms.median", "uplink_lost.outage_ms.max"];
pub(super) const DAEMON: [&str; 2] = ["daemon_killed.pings_lost", "daemon_killed.stops"];

/// How long a node stands still.
const FROZEN_FOR: Duration = Duration::from_secs(20);
/// The interval of heartbeats, whose phases should be met anywhere.
const BEAT: Duration = Duration::from_millis(100);

pub(super) fn frozen(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(50))?;
    let node = Principal::Instance(pair.lab.host("nat-a")?.instance);
    let rounds = bench.scale.freezes;
    let (mut outages, mut writes) = (Vec::new(), 0);
    for round in 0..rounds {
        let meter = pair.lab.ping("host-a", PACE_MS)?;
        spread(round, rounds, BEAT);
        pair.lab.freeze("nat-a")?;
        pair.await_route(0, "nat-b")?;
        let ms = outage(&pair.lab, meter)?;
        outages.push(ms);
        thread::sleep(FROZEN_FOR);
        let thawed = Duration::from_secs_f64(pair.lab.status()?.now_ms / 1e3);
        pair.lab.thaw("nat-a")?;
        pair.await_home()?;
        let early = early_writes(&pair.lab.timeline()?.calls, &node, thawed)
            .context("the thawed node never read the routes")?;
        Bench::say(&format!("freeze {} of {rounds}: {ms:.0} ms, {early} early writes", round + 1));
        writes += early;
    }
    let mut figures = summary(&[FROZEN[0], FROZEN[1]], &outages)?;
    figures.insert(FROZEN[2], stats::count(writes));
    Ok(figures)
}

/// How many changes `node` made from some moment on until it had read the routes; none where it
/// did not read them.
fn early_writes(calls: &[CallRecord], node: &Principal, since: Duration) -> Option<usize> {
    let mut own = calls.iter().filter(|call| call.principal == *node && call.at >= since);
    let mut writes = 0;
    loop {
        let call = own.next()?;
        if call.action == "DescribeRouteTables" && call.error.is_none() && !call.unanswered {
            return Some(writes);
        }
        if !call.action.starts_with("Describe") {
            writes += 1;
        }
    }
}

pub(super) fn uplink_lost(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(50))?;
    let rounds = bench.scale.uplinks;
    let mut outages = Vec::new();
    for round in 0..rounds {
        // An uplink can be lost only after it was seen to work.
        thread::sleep(2 * PROBE);
        let meter = pair.lab.ping("host-a", PACE_MS)?;
        spread(round, rounds, PROBE);
        pair.lab.cut_uplink("nat-a")?;
        pair.await_route(0, "nat-b")?;
        let ms = outage(&pair.lab, meter)?;
        Bench::say(&format!("lost uplink {} of {rounds}: {ms:.0} ms", round + 1));
        outages.push(ms);
        pair.lab.mend("nat-a")?;
        pair.await_home()?;
    }
    summary(&UPLINK, &outages)
}

pub(super) fn daemon_killed(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(50))?;
    let meter = pair.lab.ping("host-a", PACE_MS)?;
    thread::sleep(Duration::from_millis(500));
    let killed = pair.lab.kill("nat-a", "natha")?;
    ensure!(killed == 1, "{killed} processes named natha on nat-a, not one");
    thread::sleep(bench.scale.daemon_dead);
    pair.lab.spawn("nat-a", &["natha", "monitor"])?;
    pair.await_home()?;
    thread::sleep(Duration::from_secs(1));
    let lost = pair.lab.pinged(meter)?.lost;
    let stops = pair.stops()?;
    Bench::say(&format!("killed monitor: {lost} pings lost, {stops} stops"));
    Ok(DAEMON.into_iter().zip([lost, stops].map(stats::count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(at: u64, who: &str, action: &str, error: Option<&str>) -> CallRecord {
        CallRecord {
            at: Duration::from_secs(at),
            principal: Principal::Instance(who.into()),
            action: action.into(),
            params: String::new(),
            error: error.map(str::to_owned),
            unanswered: false,
            in_force: None,
        }
    }

    #[test]
    fn only_own_changes_between_the_thaw_and_the_first_good_read_count() {
        let calls = [
            call(1, "i-a", "ReplaceRoute", None),
            call(5, "i-b", "ReplaceRoute", None),
            call(6, "i-a", "DescribeInstances", None),
            call(6, "i-a", "DescribeRouteTables", Some("RequestLimitExceeded")),
            call(7, "i-a", "ReplaceRoute", None),
            call(8, "i-a", "DescribeRouteTables", None),
            call(9, "i-a", "ReplaceRoute", None),
        ];
        let node = Principal::Instance("i-a".into());
        assert_eq!(early_writes(&calls, &node, Duration::from_secs(5)), Some(1));
        assert_eq!(early_writes(&calls, &node, Duration::from_secs(8)), Some(0));
        assert_eq!(early_writes(&calls, &node, Duration::from_secs(9)), None);
    }
}
