//! What tests of tasks that keep this host share.

use std::time::Duration;

use super::inbox::{Inbox, Note};
use crate::failover::EventKind;
use crate::kernel::run::Program;

/// Runs a program in this thread's network namespace.
pub(super) async fn run(program: &'static str, args: &str) {
    let args: Vec<&str> = args.split(' ').collect();
    let program = Program::find(program, program).unwrap();
    program.run(&args, b"", Duration::from_secs(10)).await.unwrap();
}

/// The texts of the repairs that were reported.
pub(super) fn repairs(inbox: &mut Inbox) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(note) = inbox.take() {
        let Note::Event(event) = note else { panic!("{note:?}") };
        assert_eq!(event.kind, EventKind::HostDrift);
        found.push(event.text);
    }
    found
}
