//! The main job as a story that a person can follow: a NAT fails, the other one takes over, has it
//! stopped and started, and gives the routes back. Every step is checked.

mod close;
mod facts;
mod names;
mod record;
pub mod scene;
mod stage;
mod steps;
mod watch;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab::Lab;
use crate::meter::ping;
pub use facts::Facts;
use facts::{Done, Pings, Summary};
use record::Moment;
use scene::{CLIENT, HEIR, OTHER, VICTIM};
use stage::{Stage, seconds};
use steps::Step;
use watch::Watch;

/// Time between two looks at what happened.
const LOOK: Duration = Duration::from_millis(200);
/// From one probe to the next, in milliseconds.
const PACE_MS: u64 = 10;
/// How long the pings go on after the takeover and after the hand-back.
const AFTERMATH: Duration = Duration::from_secs(2);
/// How long a private host may be cut off when a node fails, in milliseconds, with quick calls.
const OUTAGE_ALLOWED_MS: f64 = 1000.0;
/// How much of a console is shown when a step does not happen.
const CONSOLE_LINES: usize = 15;

/// What is told about the demo's own settings.
const SHORTENED: &str = "\
Settings are natha's defaults, including heartbeats and detection. Only the waits after the
takeover are shorter, to keep the demo short:
  repair.after          19 s instead of 1 min   how long a node is silent before it is stopped
  repair.settle         18 s instead of 30 s    how long its routes are elsewhere before that
  api.timeout            2 s instead of 5 s     must be short for a short repair.after
  failover.read_valid    3 s instead of 5 s     likewise
  hand_back.hold         3 s instead of 30 s    how long a node is healthy before a hand-back
";

/// What the nodes run.
#[derive(Debug, Clone)]
pub enum Under {
    /// This natha binary, started by a script.
    Binary(PathBuf),
    /// This root file system, booted: its natha, started by its units.
    Image(PathBuf),
}

/// What is chosen about the story.
#[derive(Debug, Clone)]
pub struct Options {
    /// The natha under test.
    pub natha: Under,
    /// What the nodes' settings file says.
    pub settings: String,
    /// How long each step may take.
    pub patience: Duration,
    /// Where logs go when a step does not happen.
    pub logs: PathBuf,
    /// Whether the lab stays.
    pub keep: bool,
}

/// A step that did not happen.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Missed(String);

/// Tells the story in a lab of its own, and hands the lab to `started` as soon as it runs.
///
/// # Errors
/// When the lab cannot start, or nothing can be printed. A step that does not happen is in the
/// facts.
pub fn tell(options: &Options, started: impl FnOnce(&Lab)) -> Result<Facts> {
    let began = Instant::now();
    let mut stage = Stage::new();
    stage.say("Starting a simulated EC2 and a VPC of network namespaces on this machine.")?;
    let spec = scene::spec(&options.natha, &options.settings)?;
    let lab = if options.keep { Lab::start_detached(&spec)? } else { Lab::start(&spec)? };
    started(&lab);
    let watch = Watch::new(&lab, &[VICTIM, HEIR])?;
    let facts = Facts {
        settings: options.settings.clone(),
        ec2: scene::EC2,
        summary: Summary { outage_allowed_ms: OUTAGE_ALLOWED_MS, ..Summary::default() },
        ..Facts::default()
    };
    let mut story =
        Story { lab, watch, stage, options, facts, record: Vec::new(), killed: None, step: None };
    let ended = story.acts();
    story.facts.summary.run_ms = began.elapsed().as_secs_f64() * 1e3;
    story.close(ended)?;
    Ok(story.facts)
}

struct Story<'a> {
    lab: Lab,
    watch: Watch,
    stage: Stage,
    options: &'a Options,
    facts: Facts,
    record: Vec<Moment>,
    /// When the victim was killed, on the lab's clock.
    killed: Option<f64>,
    /// The step that is being waited for: its name and what it expects.
    step: Option<(&'static str, &'static str)>,
}

/// Two running meters: the victim's private host and the heir's.
#[derive(Debug, Clone, Copy)]
struct Meters([u64; 2]);

impl Story<'_> {
    fn acts(&mut self) -> Result<()> {
        let picture = scene::picture(&self.lab)?;
        self.stage.say(&format!("\n{picture}"))?;
        self.introduce()?;
        self.get_ready()?;
        let takeover = self.start_meters()?;
        self.see_served(takeover)?;
        let takeover = self.start_meters()?;
        thread::sleep(AFTERMATH / 2);
        self.kill()?;
        self.follow(&steps::NOTICED)?;
        self.follow(&steps::TAKEN_OVER)?;
        self.pass(AFTERMATH)?;
        let rest = self.start_meters()?;
        self.see_carried_on(takeover)?;
        self.follow(&steps::STOPPED)?;
        self.follow(&steps::STARTED)?;
        self.follow(&steps::REJOINED)?;
        self.follow(&steps::HANDED_BACK)?;
        self.pass(AFTERMATH)?;
        self.see_nothing_lost(rest)?;
        self.see_well_again()
    }

    fn introduce(&mut self) -> Result<()> {
        let ec2 = scene::EC2;
        let ms = |ms: u64| seconds(Duration::from_millis(ms).as_secs_f64() * 1e3);
        let (call, boot, stop) = (ms(ec2.latency_ms), ms(ec2.boot_ms), ms(ec2.stop_ms));
        self.stage.say(&format!(
            "Real: the packets, the kernel's NAT, and the natha binary, which finds its peer and\n\
             the route tables by their tags. Simulated: EC2. An API call takes {call}, a boot\n\
             {boot}, a stop {stop}."
        ))?;
        if self.options.settings == scene::SETTINGS {
            return self.stage.say(SHORTENED);
        }
        let settings = self.options.settings.trim_end().replace('\n', "\n  ");
        self.stage.say(&format!("Settings that are not the defaults:\n  {settings}\n"))
    }

    fn get_ready(&mut self) -> Result<()> {
        self.step = Some(("ready", "both nodes run, hear each other, and serve their zones"));
        self.await_well()?;
        let nodes = format!("{VICTIM} and {HEIR} have booted: `natha setup` made each a NAT, and ");
        self.passed(None, &(nodes + "`natha monitor` watches the other"))
    }

    /// Waits until both nodes find nothing amiss.
    fn await_well(&mut self) -> Result<()> {
        let end = Instant::now() + self.options.patience;
        loop {
            self.look()?;
            let wrong = scene::unwell(&self.watch.status);
            if wrong.is_empty() {
                return Ok(());
            }
            self.wait_until(end, &wrong.join("; "))?;
        }
    }

    fn see_served(&mut self, meters: Meters) -> Result<()> {
        self.step = Some(("served", "both private hosts reach the internet"));
        thread::sleep(Duration::from_millis(300));
        let [client, other] = self.stop_meters(meters)?;
        for (host, report) in [(CLIENT, &client), (OTHER, &other)] {
            if report.sent == 0 || report.lost > 0 {
                return Err(Missed(format!("{host}: {}", Pings::of(report).words())).into());
            }
        }
        self.passed(None, &format!("{CLIENT} and {OTHER} ping the internet every {PACE_MS} ms"))
    }

    fn kill(&mut self) -> Result<()> {
        self.stage.say("")?;
        self.lab.panic(VICTIM)?;
        self.follow(&steps::KILLED)
    }

    fn see_carried_on(&mut self, meters: Meters) -> Result<()> {
        self.step = Some(("carried-on", "host-a's pings are answered again, host-b's were always"));
        let [client, other] = self.stop_meters(meters)?;
        let (pings, others) = (Pings::of(&client), Pings::of(&other));
        self.facts.summary.takeover = Some(pings);
        self.facts.summary.takeover_other = Some(others);
        let answered = client.probes.last().is_some_and(|(_, answer)| answer.is_some());
        if !answered || client.outages.is_empty() || others.lost > 0 {
            let words = (pings.words(), others.words());
            return Err(Missed(format!("{CLIENT}: {}; {OTHER}: {}", words.0, words.1)).into());
        }
        let outage = client.worst_ms();
        self.facts.summary.outage_ms = Some(outage);
        let end = client.outages.last().map(|outage| outage.end_ms);
        let detail = format!(
            "{CLIENT} was cut off for {} ({}); {OTHER}, served by {HEIR} all the time: {}",
            seconds(outage),
            pings.words(),
            others.words(),
        );
        self.passed(end, &detail)
    }

    fn see_nothing_lost(&mut self, meters: Meters) -> Result<()> {
        self.step = Some(("nothing-lost", "no ping is lost from the takeover to the hand-back"));
        let [client, other] = self.stop_meters(meters)?;
        let (pings, others) = (Pings::of(&client), Pings::of(&other));
        self.facts.summary.hand_back = Some(pings);
        self.facts.summary.hand_back_other = Some(others);
        let detail = format!("{CLIENT}: {}; {OTHER}: {}", pings.words(), others.words());
        if pings.lost + others.lost > 0 {
            let killed = self.killed.unwrap_or_default();
            let when = client.outages.iter().chain(&other.outages);
            let when: Vec<String> =
                when.map(|it| format!("{:+.3} s", (it.start_ms - killed) / 1e3)).collect();
            return Err(Missed(format!("{detail}; the lost ones: {}", when.join(", "))).into());
        }
        self.passed(None, &format!("from the takeover until after the hand-back, {detail}"))
    }

    fn see_well_again(&mut self) -> Result<()> {
        self.step = Some(("well-again", "both nodes are as before, after one stop and one start"));
        self.await_well()?;
        let mut wrong = steps::surplus(&self.record);
        wrong.extend(self.lab.status()?.problems);
        if !wrong.is_empty() {
            return Err(Missed(wrong.join("; ")).into());
        }
        self.passed(None, "both nodes are as before, after one stop and one start")
    }

    fn start_meters(&self) -> Result<Meters> {
        Ok(Meters([self.lab.ping(CLIENT, PACE_MS)?, self.lab.ping(OTHER, PACE_MS)?]))
    }

    fn stop_meters(&self, Meters([client, other]): Meters) -> Result<[ping::Report; 2]> {
        Ok([self.lab.pinged(client)?, self.lab.pinged(other)?])
    }

    /// Waits for a step, telling all that happens meanwhile.
    fn follow(&mut self, step: &Step) -> Result<()> {
        self.step = Some((step.name, step.expects));
        let end = Instant::now() + self.options.patience;
        loop {
            self.look()?;
            if let Some(at) = (step.check)(&self.record) {
                if step.name == steps::KILLED.name {
                    self.killed = Some(at);
                }
                let after = at - self.killed.unwrap_or(at);
                let detail = if after > 0.0 {
                    format!("{} after the kill: {}", seconds(after), step.expects)
                } else {
                    step.expects.to_owned()
                };
                return self.passed(Some(at), &detail);
            }
            self.wait_until(end, "it has not happened")?;
        }
    }

    /// Lets time pass, telling all that happens meanwhile.
    fn pass(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look()?;
            thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Waits for the next look, or fails with what is `wrong` when it is too late.
    fn wait_until(&mut self, end: Instant, wrong: &str) -> Result<()> {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(Missed(wrong.to_owned()).into());
        }
        let expects = self.step.map_or("", |(_, expects)| expects);
        let waited = self.options.patience.saturating_sub(rest);
        self.stage.wait(expects, waited.as_secs())?;
        thread::sleep(LOOK.min(rest));
        Ok(())
    }

    /// Takes in and tells what happened since the last look. What was before the kill is not told.
    fn look(&mut self) -> Result<()> {
        for moment in self.watch.gather(&self.lab)? {
            let kill = (steps::KILLED.check)(std::slice::from_ref(&moment));
            self.killed = self.killed.or(kill);
            if let Some(killed) = self.killed {
                self.stage.tell(&moment, killed)?;
            }
            self.record.push(moment);
        }
        Ok(())
    }

    fn passed(&mut self, at: Option<f64>, detail: &str) -> Result<()> {
        self.note(true, at, detail);
        match self.step {
            // It is told already, as it is the beginning.
            Some((name, _)) if name == steps::KILLED.name => Ok(()),
            Some((name, _)) => self.stage.tick(name, detail),
            None => Ok(()),
        }
    }

    fn note(&mut self, ok: bool, at: Option<f64>, detail: &str) {
        let Some((name, expects)) = self.step else { return };
        let at_ms = at.map(|at| at - self.killed.unwrap_or(at));
        let before = self.facts.steps.iter().rev().find_map(|step| step.at_ms);
        self.facts.steps.push(Done {
            name: name.to_owned(),
            ok,
            at_ms,
            took_ms: at_ms.zip(before).map(|(at, before)| at - before),
            limit_ms: u64::try_from(self.options.patience.as_millis()).unwrap_or(u64::MAX),
            expects: expects.to_owned(),
            detail: detail.to_owned(),
        });
    }
}
