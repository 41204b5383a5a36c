//! Alerts that stand for as long as their cause does: what a person should look at, and what
//! moves nothing by itself.

use super::inbox::{Note, Notes};

/// One possible alert: whoever watches for its cause keeps it.
#[derive(Debug)]
pub(super) struct Alert {
    name: &'static str,
    standing: Option<String>,
    notes: Notes,
}

impl Alert {
    /// An alert that does not stand yet. `name` is unique in the program.
    pub(super) fn new(name: &'static str, notes: &Notes) -> Self {
        Self { name, standing: None, notes: notes.clone() }
    }

    /// Whether it stands.
    pub(super) const fn stands(&self) -> bool {
        self.standing.is_some()
    }

    /// Makes it stand with this text, or lifts it. Where nothing has changed, nothing is told;
    /// a text that only says the same in other numbers is passed on, but logged no second time.
    pub(super) async fn set(&mut self, text: Option<String>) {
        if self.standing == text {
            return;
        }
        match (&self.standing, &text) {
            (None, Some(text)) => tracing::warn!("{text}"),
            (Some(_), None) => tracing::info!(alert = self.name, "alert cleared"),
            _ => {}
        }
        self.standing.clone_from(&text);
        self.notes.send(Note::Alert { name: self.name, text }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::inbox;

    #[tokio::test]
    async fn an_alert_is_passed_on_when_it_changes_and_only_then() {
        let (notes, mut inbox) = inbox::channel().unwrap();
        let mut alert = Alert::new("tide", &notes);
        alert.set(None).await;
        for text in [Some("high"), Some("high"), None] {
            alert.set(text.map(str::to_owned)).await;
        }
        for wanted in [Some("high"), None] {
            let note = inbox.take();
            let Some(Note::Alert { name: "tide", text }) = note else { panic!("{note:?}") };
            assert_eq!(text.as_deref(), wanted);
        }
        assert!(inbox.take().is_none() && !alert.stands());
    }
}
