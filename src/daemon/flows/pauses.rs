//! Pauses of the kernel's news of connections.
//!
//! While a program listens, the kernel makes a message for each connection that is inserted, which
//! takes as long as the insertion itself. The messages are not needed: a resync sends the
//! connections to the other heirs.

use std::rc::Rc;

use tokio::sync::watch;

/// Who wants a pause, and whether the news are being read.
#[derive(Debug)]
pub(super) struct Pauses {
    wanted: watch::Sender<usize>,
    listening: watch::Sender<bool>,
}

/// The news are not read until this is dropped.
#[derive(Debug)]
pub(super) struct Pause(Rc<Pauses>);

/// The news are being read until this is dropped.
#[derive(Debug)]
pub(super) struct Listening<'a>(&'a Pauses);

impl Pauses {
    pub(super) fn new() -> Rc<Self> {
        let (wanted, listening) = (watch::Sender::new(0), watch::Sender::new(false));
        Rc::new(Self { wanted, listening })
    }

    /// Ends the reading of news.
    pub(super) async fn begin(self: &Rc<Self>) -> Pause {
        let pause = Pause(self.clone());
        self.wanted.send_modify(|count| *count += 1);
        // The sender lives in `self`.
        let _ = self.listening.subscribe().wait_for(|listening| !listening).await;
        pause
    }

    /// Waits until no pause is wanted, and marks the news as being read. The future that it returns
    /// ends when a pause is wanted.
    pub(super) async fn listen(&self) -> (Listening<'_>, impl Future<Output = ()>) {
        let mut wanted = self.wanted.subscribe();
        let _ = wanted.wait_for(|count| *count == 0).await;
        self.listening.send_replace(true);
        let ends = async move {
            let _ = wanted.wait_for(|count| *count > 0).await;
        };
        (Listening(self), ends)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.wanted.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listening.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_news_are_read_again_once_the_last_pause_has_ended() {
        let pauses = Pauses::new();
        // The news are not being read yet.
        let first = pauses.begin().await;
        assert!(tokio::select! { biased; _ = pauses.listen() => false, () = async {} => true });
        drop(first);
        let (listening, ends) = pauses.listen().await;
        let reader = async {
            ends.await;
            assert!(*pauses.listening.borrow());
            drop(listening);
        };
        let (second, ()) = tokio::join!(pauses.begin(), reader);
        let third = pauses.begin().await;
        drop(second);
        assert!(tokio::select! { biased; _ = pauses.listen() => false, () = async {} => true });
        drop(third);
        let _ = pauses.listen().await;
    }
}
