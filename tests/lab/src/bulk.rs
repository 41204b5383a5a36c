//! Many connections that no packets belong to, created in a host's kernel.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;

const SCRIPT: &str = include_str!("bulk.py");
/// How much longer than its rate says the creation may take.
const LATE: Duration = Duration::from_mins(2);

/// Connections of one private host, each from another port or to another address.
#[derive(Debug, Clone, Copy)]
pub struct Bulk {
    /// What the private host is translated to.
    pub landing: Ipv4Addr,
    /// The number of the first one: no two have the same.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// How many are created in a second.
    pub rate: u32,
}

impl Lab {
    /// Creates established TCP connections in a host's kernel. Returns the seconds that it took.
    ///
    /// # Errors
    /// When the kernel refuses one, or it takes much longer than it should.
    pub fn create_connections(&self, host: &str, bulk: &Bulk) -> Result<f64> {
        let landing = bulk.landing.to_string();
        let numbers = [bulk.first, bulk.count, bulk.rate].map(|number| number.to_string());
        let mut argv = vec!["python3", "-c", SCRIPT, &landing];
        argv.extend(numbers.iter().map(String::as_str));
        let limit = LATE + Duration::from_secs((bulk.count / bulk.rate.max(1)).into());
        let done = self.exec(host, &argv, limit)?;
        ensure!(done.code == 0, "{host} has not got its connections: {}", done.stderr);
        done.stdout.trim().parse().with_context(|| format!("no duration: {}", done.stdout))
    }
}
