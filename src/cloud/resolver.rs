//! Resolves the API's name, and remembers the result: a resolver that is down must not delay a
//! takeover, and EC2's addresses rarely change.
//!
//! A connection tries the addresses in order, and gets no further than the first one that does not
//! answer. So each result begins with another address: some of them may be in a zone that has
//! failed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long to wait for the system's resolver if an older answer is known. Well within the time
/// limit of a connection.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many names are remembered; natha needs one per API.
const NAMES_MAX: usize = 16;

/// The system's resolver with a cache for when it fails. Clones share the cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver {
    known: Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>,
    turn: Arc<AtomicUsize>,
}

impl Resolver {
    /// The result of `ask`, which is remembered. If `ask` fails or takes longer than `patience`,
    /// the previous result; without one, `ask` is awaited without limit.
    async fn resolve<F>(
        &self,
        name: &str,
        ask: F,
        patience: Duration,
    ) -> std::io::Result<Vec<IpAddr>>
    where
        F: Future<Output = std::io::Result<Vec<IpAddr>>>,
    {
        let Some(known) = self.recall(name) else {
            let found = ask.await?;
            self.learn(name, &found);
            return Ok(found);
        };
        match timeout(patience, ask).await {
            Ok(Ok(found)) if !found.is_empty() => {
                self.learn(name, &found);
                Ok(found)
            }
            failure => {
                tracing::debug!(
                    name,
                    ?failure,
                    "the resolver does not answer; using its previous answer"
                );
                Ok(known)
            }
        }
    }

    /// The addresses, of which another one comes first each time. Those of the family that the
    /// system prefers come before the others.
    fn in_turn(&self, found: Vec<IpAddr>) -> Vec<IpAddr> {
        let is_six = found.first().is_some_and(IpAddr::is_ipv6);
        let (mut first, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| address.is_ipv6() == is_six);
        // The system's order changes from one result to the next.
        first.sort_unstable();
        if !first.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % first.len();
            first.rotate_left(turn);
        }
        first.extend(others);
        first
    }

    fn recall(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn learn(&self, name: &str, found: &[IpAddr]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.is_empty() && (known.len() < NAMES_MAX || known.contains_key(name)) {
            known.insert(name.to_owned(), found.to_vec());
        }
    }
}

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let ask = async move {
            let found = lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        };
        DnsFuture::new(async move {
            let found = self.resolve(name, ask, PATIENCE).await.map_err(ResolveDnsError::new)?;
            Ok(self.in_turn(found))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::io;
    use std::net::Ipv4Addr;

    use super::*;

    const NAME: &str = "ec2.example";

    fn at(last: u8) -> Vec<IpAddr> {
        vec![Ipv4Addr::new(192, 0, 2, last).into()]
    }

    fn failure() -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("no resolver"))
    }

    #[tokio::test]
    async fn what_was_found_is_used_while_the_resolver_fails_or_is_silent() {
        let resolver = Resolver::default();
        let ask = |answer| resolver.resolve(NAME, ready(answer), Duration::from_mins(1));
        assert_eq!(ask(Ok(at(1))).await.unwrap(), at(1));
        assert_eq!(ask(failure()).await.unwrap(), at(1));
        assert_eq!(ask(Ok(Vec::new())).await.unwrap(), at(1));
        let silent = resolver.resolve(NAME, pending(), Duration::ZERO).await;
        assert_eq!(silent.unwrap(), at(1));
        assert_eq!(ask(Ok(at(2))).await.unwrap(), at(2), "a new answer counts");
        assert_eq!(ask(failure()).await.unwrap(), at(2));
    }

    #[tokio::test]
    async fn a_name_that_was_never_found_is_not_made_up() {
        let resolver = Resolver::default();
        let learnt = resolver.resolve(NAME, ready(Ok(at(1))), Duration::ZERO).await;
        assert!(learnt.is_ok());
        let other = resolver.resolve("other.example", ready(failure()), Duration::ZERO).await;
        assert!(other.is_err());
    }

    #[test]
    fn each_result_begins_with_another_address_of_the_preferred_family() {
        let resolver = Resolver::default();
        let six = IpAddr::V6("2001:db8::1".parse().unwrap());
        let mut begun_with = Vec::new();
        for shuffled in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            let four = shuffled.into_iter().flat_map(at);
            let found = resolver.in_turn(four.chain([six]).collect());
            assert_eq!((found.len(), found[3]), (4, six));
            begun_with.push(found[0]);
        }
        assert_eq!(begun_with, [at(1), at(2), at(3)].concat());
        assert_eq!(resolver.in_turn(Vec::new()), Vec::<IpAddr>::new());
    }
}
