//! The loop that makes the network and the instances follow the simulated EC2.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::booting::{self, Booted, Halted, Made, Started};
use super::shared::{FaultChange, Happening, Host, HostView, Order, Power, RouteView, Shared};
use crate::dataplane::{self, Dataplane, Target};
use crate::guest::init::Boot;
use crate::guest::machine::{self, Halt, Machine};
use crate::guest::processes;
use crate::net::fabric::{Fabric, Plug};
use crate::net::faults::NetFaults;
use crate::net::netns::Netns;
use crate::net::plan::{Change, VPC_TABLE};
use crate::spec::Role;

/// How long the loop sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// The loop's own state.
pub struct Conductor {
    shared: Arc<Shared>,
    fabric: Fabric,
    orders: Receiver<Order>,
    running: BTreeMap<String, Running>,
    /// The NAT gateways that exist.
    nat_gateways: BTreeMap<String, Netns>,
    seen: Dataplane,
    faults: NetFaults,
    leaving: Vec<watch::Receiver<()>>,
    booting: BTreeSet<String>,
    booted: (Sender<Booted>, Receiver<Booted>),
    halted: (Sender<Halted>, Receiver<Halted>),
    /// Whether something has changed that the dataplane does not say.
    stale: bool,
}

/// An instance that has power.
struct Running {
    machine: Option<Machine>,
    netns: Netns,
    boot: u64,
    power: Power,
    name: String,
}

impl Conductor {
    /// A conductor of an empty VPC.
    #[must_use]
    pub fn new(shared: Arc<Shared>, fabric: Fabric, orders: Receiver<Order>) -> Self {
        Self {
            shared,
            fabric,
            orders,
            running: BTreeMap::new(),
            nat_gateways: BTreeMap::new(),
            seen: Dataplane::default(),
            faults: NetFaults::default(),
            leaving: Vec::new(),
            booting: BTreeSet::new(),
            booted: mpsc::channel(64),
            halted: mpsc::channel(64),
            stale: false,
        }
    }

    /// Follows EC2 until someone ends the lab.
    pub async fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let changed = shared.world.changed();
            let due = self.follow().await;
            let now = self.shared.clock.now();
            let rest = due.map_or(IDLE, |due| due.saturating_sub(now));
            let order = tokio::select! {
                () = changed => None,
                () = tokio::time::sleep(rest) => None,
                Some((instance, boot, halt)) = self.halted.1.recv() => {
                    self.guest_halted(&instance, boot, halt);
                    None
                }
                Some(booted) = self.booted.1.recv() => {
                    self.finish(booted);
                    None
                }
                order = self.orders.recv() => order,
            };
            match order {
                Some(Order::Down(answer)) => {
                    drop(answer.send(Ok(())));
                    return;
                }
                Some(Order::Faults(change, answer)) => {
                    drop(answer.send(self.change_faults(change)));
                }
                Some(Order::Kernel(name, power, answer)) => {
                    drop(answer.send(self.change_kernel(&name, power)));
                }
                None => {}
            }
        }
    }

    /// Follows EC2 until every instance that should run does.
    ///
    /// # Errors
    /// When one does not within 30 seconds, or the network cannot be made.
    pub async fn settle(&mut self) -> Result<()> {
        let limit = self.shared.clock.now() + Duration::from_secs(30);
        loop {
            let due = self.follow().await;
            if let Some(problem) = self.shared.state().problems.first() {
                bail!("{problem}");
            }
            if self.running.len() >= self.shared.spec.hosts.len() && !self.stale {
                return Ok(());
            }
            let rest = limit.saturating_sub(self.shared.clock.now());
            let due = due.unwrap_or(limit).saturating_sub(self.shared.clock.now()).min(rest);
            tokio::select! {
                Some(booted) = self.booted.1.recv() => self.finish(booted),
                () = tokio::time::sleep(due) => {}
            }
            if self.shared.clock.now() >= limit {
                bail!("the instances do not start");
            }
        }
    }

    fn finish(&mut self, booted: Booted) {
        self.stale = true;
        if let Err(problem) = self.take_booted(booted) {
            self.problem("an instance has no power", &problem);
        }
    }

    /// One pass: everything as EC2 has it now. Returns when EC2 next changes by itself.
    async fn follow(&mut self) -> Option<Duration> {
        let now = self.shared.clock.now();
        let (dataplane, due) = {
            let mut world = self.shared.world.lock();
            world.advance(now);
            (world.dataplane(now), world.next_change(now))
        };
        let stale = std::mem::take(&mut self.stale);
        if dataplane == self.seen && !stale {
            return due;
        }
        self.power_down(&dataplane).await;
        self.apply(&dataplane).await;
        self.power_up(&dataplane);
        self.open_nat_gateways(&dataplane);
        let machines = self.running.values_mut().filter_map(|running| running.machine.as_mut());
        machines.for_each(Machine::release);
        self.seen = dataplane;
        if let Err(problem) = self.reload_faults() {
            self.problem("cannot keep the network's faults", &problem);
        }
        self.publish();
        due
    }

    async fn apply(&mut self, dataplane: &Dataplane) {
        match self.fabric.apply(dataplane).await {
            Ok(changes) => self.note_routes(dataplane, &changes),
            Err(problem) => self.problem("the network does not follow EC2", &problem),
        }
    }

    fn note_routes(&self, dataplane: &Dataplane, changes: &[Change]) {
        for change in changes {
            let (Change::Set(table, net, _) | Change::Remove(table, net, _)) = *change;
            if table == VPC_TABLE {
                continue;
            }
            let Some(subnet) = self.fabric.subnet_of(table) else { continue };
            let target = dataplane.subnets.get(subnet).and_then(|it| it.routes.get(&net));
            let route = RouteView {
                subnet: subnet.to_owned(),
                destination: net.to_string(),
                to: self.describe(dataplane, target),
            };
            self.shared.note(match change {
                Change::Set(..) => Happening::Route(route),
                Change::Remove(..) => Happening::RouteRemoved(route),
            });
        }
    }

    fn describe(&self, dataplane: &Dataplane, target: Option<&Target>) -> String {
        match target {
            Some(Target::InternetGateway) => "internet".into(),
            Some(Target::Interface(id)) if self.fabric.links().contains_key(id) => {
                let owner = dataplane.interfaces.get(id).map_or(id, |it| &it.instance);
                let host = dataplane.instances.get(owner);
                host.map_or_else(|| owner.clone(), |host| host.name.clone())
            }
            _ => "nowhere".into(),
        }
    }

    async fn power_down(&mut self, dataplane: &Dataplane) {
        let (mut off, mut told) = (Vec::new(), Vec::new());
        for (id, running) in &mut self.running {
            let wanted = dataplane.instances.get(id);
            match wanted.map(|instance| (instance.power, instance.boot)) {
                Some((dataplane::Power::On, boot)) if boot == running.boot => {}
                Some((dataplane::Power::ShuttingDown, _)) => {
                    let machine = running.machine.as_ref();
                    if let (Power::On, Some(machine)) = (running.power, machine) {
                        running.power = Power::ShuttingDown;
                        told.push((running.name.clone(), running.boot));
                        // A guest that has gone already needs no telling.
                        drop(processes::signal_all(machine.place().init, Signal::SIGTERM));
                    }
                }
                _ => off.push(id.clone()),
            }
        }
        for (host, boot) in told {
            self.shared.note(Happening::Power { host, power: Power::ShuttingDown, boot });
        }
        let machines: Vec<(String, Running)> = off
            .into_iter()
            .filter_map(|id| Some((id.clone(), self.running.remove(&id)?)))
            .collect();
        self.nat_gateways.retain(|id, _| dataplane.nat_gateways.contains(id));
        let stays =
            |id: &String| self.running.contains_key(id) || self.nat_gateways.contains_key(id);
        let mut links = Vec::new();
        for (id, link) in self.fabric.links() {
            let owner = dataplane.interfaces.get(&id).map(|it| &it.instance);
            if owner.is_none_or(|owner| !stays(owner)) {
                self.fabric.power_off(&id);
                links.push(link);
            }
        }
        if links.is_empty() && machines.is_empty() {
            return;
        }
        self.apply(dataplane).await;
        let mut gone = Vec::new();
        for (id, running) in machines {
            let (host, boot) = (running.name.clone(), running.boot);
            self.shared.note(Happening::Power { host, power: Power::Off, boot });
            // A terminated instance's disk is gone.
            let disk = machine::home(&self.shared.places.disks(), &id);
            let terminated = !dataplane.instances.contains_key(&id);
            gone.push((running.machine, terminated.then_some(disk)));
        }
        // The kernel takes its time to end processes and links; packets are dropped already.
        let (done, leaving) = watch::channel(());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let left = spawn_blocking(move || booting::leave(gone, &links)).await;
            if let Err(problem) = left.context("a thread panicked").flatten() {
                let text = format!("cannot end an instance: {problem:#}");
                shared.note(Happening::Problem { text });
            }
            drop(done);
        });
        self.leaving.retain(|leaving| leaving.has_changed().is_ok());
        self.leaving.push(leaving);
    }

    /// Starts whatever should run and does not, each in a task of its own: a boot must not hold
    /// up the routes.
    fn power_up(&mut self, dataplane: &Dataplane) {
        for (id, instance) in &dataplane.instances {
            if instance.power != dataplane::Power::On || self.booting.contains(id) {
                continue;
            }
            let plugs = self.missing(dataplane, id);
            if plugs.is_empty() && self.running.contains_key(id) {
                continue;
            }
            let (boot, running) = (self.boot_of(dataplane, id, instance), self.running.get(id));
            let netns = running.map(|running| running.netns.clone());
            let boot = running.is_none().then_some(boot);
            let start = move || booting::start(boot.as_ref(), netns, &plugs);
            self.set_out((id, &instance.name), start);
        }
    }

    fn open_nat_gateways(&mut self, dataplane: &Dataplane) {
        for id in &dataplane.nat_gateways {
            if self.booting.contains(id) || self.nat_gateways.contains_key(id) {
                continue;
            }
            let plugs = self.missing(dataplane, id);
            self.set_out((id, id), move || booting::open_gateway(&plugs));
        }
    }

    /// Starts something with an id and a name in a task of its own.
    fn set_out(
        &mut self,
        (id, name): (&str, &str),
        start: impl FnOnce() -> Result<Started> + Send + 'static,
    ) {
        let leaving = self.leaving.clone();
        let (id, name, sender) = (id.to_owned(), name.to_owned(), self.booted.0.clone());
        self.booting.insert(id.clone());
        tokio::spawn(async move {
            // What runs no more may still hold this instance's links.
            for mut leaving in leaving {
                while leaving.changed().await.is_ok() {}
            }
            let started = spawn_blocking(start).await.context("a thread panicked").flatten();
            // The receiver is gone when the lab is ending.
            drop(sender.send(Booted { id, name, started }).await);
        });
    }

    fn missing(&mut self, dataplane: &Dataplane, id: &str) -> Vec<Plug> {
        let own = dataplane.interfaces.iter().filter(|(_, it)| it.instance == id);
        let plugs = own.filter_map(|(interface, it)| {
            let subnet = dataplane.subnets.get(&it.subnet)?;
            self.fabric.prepare(interface, it, subnet.cidr)
        });
        plugs.collect()
    }

    fn take_booted(&mut self, booted: Booted) -> Result<()> {
        let Booted { id, name, started } = booted;
        self.booting.remove(&id);
        let started = started.with_context(|| format!("cannot boot {name}"))?;
        for plug in &started.plugs {
            self.fabric.plugged(plug)?;
        }
        let (machine, boot) = match started.made {
            Made::Machine(machine, boot) => (machine, boot),
            Made::NatGateway => {
                self.nat_gateways.insert(id, started.netns);
                return Ok(());
            }
            Made::Nothing => return Ok(()),
        };
        let halted = self.halted.0.clone();
        let which = id.clone();
        machine.when_halted(move |halt| drop(halted.blocking_send((which, boot, halt))));
        let power = Power::On;
        self.shared.note(Happening::Power { host: name.clone(), power, boot });
        let running = Running { machine: Some(machine), netns: started.netns, boot, power, name };
        self.running.insert(id, running);
        Ok(())
    }

    fn boot_of(&self, dataplane: &Dataplane, id: &str, instance: &dataplane::Instance) -> Boot {
        let shared = &self.shared;
        let spec = shared.spec.hosts.iter().find(|host| host.name == instance.name);
        // An instance launched later, such as a replacement, is a node if it is named like one.
        let node = spec.is_none_or(|host| host.role == Role::Node);
        let own = spec.and_then(|host| host.image.clone());
        let interfaces = dataplane.interfaces.values();
        let mut first = interfaces.filter(|it| it.instance == id && it.device_index == 0);
        let address = first.find_map(|it| it.addresses.first());
        let hostname = address.map_or_else(
            || instance.name.clone(),
            |address| format!("ip-{}", address.to_string().replace('.', "-")),
        );
        Boot {
            hostname,
            home: machine::home(&shared.places.disks(), id),
            boot: instance.boot,
            natha: shared.spec.natha.clone().filter(|_| node),
            image: own.or_else(|| shared.spec.image.clone().filter(|_| node)),
            user_data: instance.user_data.clone(),
            environment: shared.account.guest_environment(),
            console: shared.console(&instance.name, instance.boot),
            clock: shared.clock,
        }
    }

    fn guest_halted(&mut self, instance: &str, boot: u64, halt: Halt) {
        let running = self.running.get(instance);
        let running = running.filter(|it| it.boot == boot && it.power != Power::Panicked);
        let Some(name) = running.map(|running| running.name.clone()) else { return };
        let now = self.shared.clock.now();
        if halt == Halt::Off {
            self.shared.world.lock().guest_shut_down(instance, now);
        } else if halt == Halt::Reboots {
            self.shared.world.lock().guest_reboots(instance, now);
        } else if let Err(problem) = self.change_kernel(&name, Power::Panicked) {
            self.problem("a panic has no effect", &problem);
        }
    }

    fn change_faults(&mut self, change: FaultChange) -> Result<()> {
        let before = self.faults.clone();
        change(&mut self.faults);
        // It takes effect while it is made: what goes wrong is noted before, what is mended after.
        let joint = before.and(&self.faults);
        if joint != before {
            self.shared.note(Happening::Faults(joint.clone()));
        }
        let made = self.reload_faults();
        let is_noted = joint != before && made.is_ok() && self.faults == joint;
        if made.is_err() {
            self.faults = before;
        }
        if !is_noted {
            self.shared.note(Happening::Faults(self.faults.clone()));
        }
        made?;
        self.publish();
        Ok(())
    }

    fn change_kernel(&mut self, name: &str, power: Power) -> Result<()> {
        let running = self.running.values_mut().find(|running| running.name == name);
        let running = running.with_context(|| format!("no host named `{name}` runs"))?;
        let init = running.machine.as_ref().map(|machine| machine.place().init);
        let init = init.with_context(|| format!("the kernel of {name} has panicked"))?;
        let boot = running.boot;
        running.power = power;
        let noted = Happening::Power { host: name.to_owned(), power, boot };
        // Its death is noted before it dies: a busy machine needs longer than a peer that notices.
        match power {
            Power::Frozen => {
                self.shared.note(noted);
                self.reload_faults()?;
                processes::freeze(init)?;
            }
            Power::Panicked => {
                let machine = running.machine.take();
                self.shared.note(noted);
                self.reload_faults()?;
                machine.into_iter().for_each(Machine::kill);
            }
            _ => {
                processes::thaw(init)?;
                self.reload_faults()?;
                self.shared.note(noted);
            }
        }
        self.publish();
        Ok(())
    }

    fn reload_faults(&mut self) -> Result<()> {
        let still = |running: &&Running| matches!(running.power, Power::Frozen | Power::Panicked);
        let silent = self.running.values().filter(still).map(|running| running.name.clone());
        self.faults.silent = silent.collect();
        let unseen = self.faults.silent.union(&self.faults.cut_link).cloned().collect();
        self.shared.world.lock().lose_sight(&unseen, self.shared.clock.now());
        self.fabric.apply_faults(&self.faults, &self.seen)
    }

    fn publish(&self) {
        let mut hosts = BTreeMap::new();
        for (id, instance) in &self.seen.instances {
            let running = self.running.get(id);
            let interfaces = self.seen.interfaces.iter();
            let mut own: Vec<_> = interfaces.filter(|(_, it)| it.instance == *id).collect();
            own.sort_by_key(|(_, it)| it.device_index);
            let first = own.first();
            let view = HostView {
                name: instance.name.clone(),
                instance: id.clone(),
                power: running.map_or(Power::Off, |running| running.power),
                boot: instance.boot,
                interface: first.map(|(id, _)| (*id).clone()).unwrap_or_default(),
                subnet: first.map(|(_, it)| it.subnet.clone()).unwrap_or_default(),
                private: own.iter().flat_map(|(_, it)| it.addresses.clone()).collect(),
                public: own.iter().flat_map(|(_, it)| it.public.values().copied()).collect(),
            };
            let machine = running.and_then(|running| running.machine.as_ref());
            let place = machine.map(|machine| machine.place().clone());
            hosts.insert(id.clone(), Host { view, place });
        }
        let mut routes = Vec::new();
        for (subnet, it) in &self.seen.subnets {
            for (net, target) in &it.routes {
                let to = self.describe(&self.seen, Some(target));
                let destination = net.to_string();
                routes.push(RouteView { subnet: subnet.clone(), destination, to });
            }
        }
        {
            let mut state = self.shared.state();
            state.hosts = hosts;
            state.routes = routes;
            state.faults = self.faults.clone();
        }
        self.shared.changed();
    }

    fn problem(&self, what: &str, problem: &anyhow::Error) {
        self.shared.note(Happening::Problem { text: format!("{what}: {problem:#}") });
    }
}
