//! What a run was like, in order: what was staged, what each node said, what EC2 did.

use std::io::Write;

use natha::types::Time;

use super::cluster::Sim;

/// Lines shown where a test fails.
const TAIL: usize = 80;

impl Sim {
    /// The whole story, a line each.
    #[must_use]
    pub fn story(&self) -> Vec<String> {
        let told = (0..self.nodes.len()).flat_map(|n| {
            let events = self.nodes[n].events.iter();
            events.map(move |event| {
                let group = event.group.as_ref().map(|group| format!(" group {group}:"));
                let node = event.node.as_ref().map(|id| format!(" {id}:"));
                let about = group.or(node).unwrap_or_default();
                (event.at, format!("node {n} says:{about} {}", event.text))
            })
        });
        let done = self
            .done
            .iter()
            .map(|done| (done.at, format!("EC2 does for node {}: {}", done.by, done.what)));
        let staged = self.staged.iter().map(|(at, what)| (*at, format!("staged: {what}")));
        let mut story: Vec<(Time, String)> = staged.chain(told).chain(done).collect();
        // Within a moment the order of the three stays; sorting is stable.
        story.sort_by_key(|(at, _)| *at);
        let line =
            |(at, what): (Time, String)| format!("{:>10} ms  {what}", at.since_boot().as_millis());
        story.into_iter().map(line).collect()
    }
}

/// Tells the end of the story where a test fails.
impl Drop for Sim {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let story = self.story();
        let mut out = std::io::stderr().lock();
        for line in &story[story.len().saturating_sub(TAIL)..] {
            // Nothing can be done about a closed terminal here.
            let _ = writeln!(out, "{line}");
        }
        let now = self.now.since_boot().as_millis();
        let _ = writeln!(out, "{now:>10} ms  the end of {}", self.label);
    }
}
