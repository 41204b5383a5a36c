//! The VPC's resolver and the internet's: they know the names of the AWS APIs, and those in the
//! account's hosted zones.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use super::dns;
use super::internet::EC2_API;
use crate::daemon::account::REGION;
use crate::dataplane::Lookup;

/// The VPC's, the same in every VPC (VPC guide, "Amazon DNS").
pub const RESOLVER: &str = "169.254.169.253";
/// How long the address of an API stays true, in seconds.
const LIFE: u32 = 60;

/// Tells what is known about a name.
pub type Names = Arc<dyn Fn(&str) -> Lookup + Send + Sync>;

/// Answers on an address of the calling thread's network, on a thread of its own, until the lab
/// ends.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(address: Ipv4Addr, names: Names) -> Result<()> {
    let socket = UdpSocket::bind((address, 53))
        .with_context(|| format!("cannot listen as the resolver {address}"))?;
    thread::spawn(move || {
        let mut query = [0; dns::LONGEST];
        loop {
            let (length, from) = match socket.recv_from(&mut query) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the resolver {address} has ended");
                    return;
                }
            };
            if let Some(answer) = dns::answer(&query[..length], |name| find(name, &names)) {
                // Whoever asked asks again.
                drop(socket.send_to(&answer, from));
            }
        }
    });
    Ok(())
}

fn find(name: &str, names: &Names) -> Lookup {
    let of_an_api = [format!("ec2.{REGION}.amazonaws.com"), "route53.amazonaws.com".to_owned()];
    if of_an_api.iter().any(|api| api == name) {
        return Lookup::Addresses { ttl: LIFE, addresses: vec![EC2_API] };
    }
    names(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apis_names_have_their_address_and_others_are_looked_up() {
        let own = Lookup::Addresses { ttl: 5, addresses: vec![Ipv4Addr::new(192, 0, 2, 7)] };
        let known = own.clone();
        let names: Names = Arc::new(move |name| match name {
            "db.example.test" => known.clone(),
            _ => Lookup::Unknown,
        });
        let api = Lookup::Addresses { ttl: LIFE, addresses: vec![EC2_API] };
        assert_eq!(find("ec2.us-east-1.amazonaws.com", &names), api);
        assert_eq!(find("route53.amazonaws.com", &names), api);
        assert_eq!(find("db.example.test", &names), own);
        assert_eq!(find("example.com", &names), Lookup::Unknown);
    }
}
