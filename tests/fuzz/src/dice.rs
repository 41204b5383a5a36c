//! Decisions drawn from a target's input, so that the engine that changes the input steers them.

use std::collections::BTreeSet;

use natha::types::{Beat, Claim, Evidence, Fault, Fitness, Hears, InstanceId, SessionId};

/// What is left of an input. When it is used up, every draw is the smallest one.
#[derive(Debug, Clone)]
pub(crate) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let high = if limit > 256 { usize::from(self.byte()) << 8 } else { 0 };
        (high | usize::from(self.byte())) % limit
    }

    pub(crate) fn chance(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// The next bytes, up to this many.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    pub(crate) fn pick<'b, T>(&mut self, of: &'b [T]) -> &'b T {
        &of[self.below(of.len())]
    }

    /// The body of a heartbeat that speaks of these nodes and groups, in the sender's session or
    /// any other.
    pub(crate) fn beat(&mut self, nodes: &[InstanceId], groups: &[&str]) -> Beat {
        // Fit more often than not, or little else would ever happen.
        let bits = self.byte().saturating_sub(0xbf);
        let is_set = |place: usize| bits >> place & 1 == 1;
        let faults = Fault::ALL.into_iter().enumerate();
        let faults = faults.filter(|(place, _)| is_set(*place)).map(|(_, fault)| fault).collect();
        let kind = *self.pick(&Evidence::ALL);
        let unproven = BTreeSet::from_iter((self.byte() % 8 == 7).then_some(kind));
        let fitness = Fitness { faults, unproven };
        let hears = (0..self.below(6))
            .map(|_| Hears {
                node: self.pick(nodes).clone(),
                session: SessionId(u64::from(self.byte() % 4)),
                age_ms: u16::from_be_bytes([self.byte(), self.byte()]),
                failed: self.chance(),
                stopped: self.chance(),
            })
            .collect();
        let holds = (0..self.below(5))
            .map(|_| Claim {
                group: self.pick(groups).parse().expect("a name of the target's own"),
                generation: u32::from(self.byte()),
                to: self.chance().then(|| self.pick(nodes).clone()),
            })
            .collect();
        let unfit_for = (0..self.below(3))
            .map(|_| self.pick(groups).parse().expect("a name of the target's own"))
            .collect();
        let ends = self.byte() % 8;
        let (leaving, restarting, latched) = (ends == 7, ends == 6, ends == 5);
        let settings_digest = u64::from(self.byte() % 2);
        Beat { fitness, leaving, restarting, latched, settings_digest, hears, holds, unfit_for }
    }
}
