//! Alerts: conditions that an operator should look at and that trigger no failover. An alert is
//! raised for as long as its cause lasts.

use super::inbox::{Note, Notes};

/// One alert, owned by the task that watches for its cause.
#[derive(Debug)]
pub(super) struct Alert {
    name: &'static str,
    text: Option<String>,
    notes: Notes,
}

impl Alert {
    /// An alert that is not raised yet. `name` is unique in the program.
    pub(super) fn new(name: &'static str, notes: &Notes) -> Self {
        Self { name, text: None, notes: notes.clone() }
    }

    pub(super) const fn is_raised(&self) -> bool {
        self.text.is_some()
    }

    /// Raises the alert with this text, or clears it. A changed text of a raised alert reaches the
    /// status report but is not logged again.
    pub(super) async fn set(&mut self, text: Option<String>) {
        if self.text == text {
            return;
        }
        match (&self.text, &text) {
            (None, Some(text)) => tracing::warn!("{text}"),
            (Some(_), None) => tracing::info!(alert = self.name, "alert cleared"),
            _ => {}
        }
        self.text.clone_from(&text);
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
        assert!(inbox.take().is_none() && !alert.is_raised());
    }
}
