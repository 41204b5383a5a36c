//! The kernel's connection tracking while natha does not read its news. Needs root.

use std::net::Ipv4Addr;
use std::time::Duration;

use natha::flows::{Change, Entry, Flow, Inserted, Protocol, Tuple};
use natha::kernel::conntrack::{EventsOn, Listener, Requests};
use natha_lab::net::netns::Netns;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_connection_that_is_inserted_while_nothing_is_read_announces_its_end() {
    let tuple = Tuple {
        protocol: Protocol::Udp,
        source: Ipv4Addr::new(10, 9, 0, 2),
        destination: Ipv4Addr::new(198, 51, 100, 9),
        source_port: 53_000,
        destination_port: 53,
    };
    let flow = Flow {
        tuple,
        translated_port: 53_000,
        seen_reply: true,
        assured: true,
        tcp: None,
        timeout_s: 100,
        mark: 0,
    };
    let entry = Entry { landing: Ipv4Addr::new(198, 51, 100, 20), flow };
    let inside = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let _events_on = EventsOn::open()?;
            drop(Listener::open()?);
            let mut requests = Requests::open()?;
            assert_eq!(requests.insert(&[entry])?, [Inserted::New]);
            let mut listener = Listener::open()?;
            assert_eq!(requests.remove(&[tuple])?, 1);
            let mut changes = Vec::new();
            let read = listener.next(&mut changes);
            tokio::time::timeout(LIMIT, read).await.expect("its end is not announced")?;
            Ok(changes)
        })
    };
    assert_eq!(Netns::new().unwrap().run(inside).unwrap(), [Change::Gone(tuple)]);
}
