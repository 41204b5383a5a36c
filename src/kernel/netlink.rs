//! One question to the kernel by rtnetlink, on a socket of its own.

use std::io;
use std::time::Duration;

use rtnetlink::Handle;

/// How long the kernel may take. It normally answers within a millisecond.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// What comes of `question`; none if that takes longer than [`LIMIT`].
///
/// # Errors
/// If no netlink socket can be opened.
pub(super) async fn ask<T>(question: impl AsyncFnOnce(&Handle) -> T) -> io::Result<Option<T>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let answer = tokio::time::timeout(LIMIT, question(&handle)).await;
    connection.abort();
    Ok(answer.ok())
}
