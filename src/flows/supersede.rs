//! What an heir still needs of several owners of the same egress IP.

use std::collections::BTreeSet;

use super::replica::Replica;
use crate::types::EgressId;

/// Drops what owners without a stream had of egress IPs whose connections another owner has shown.
///
/// `held`: what is held of each owner, and whether its stream is open. An owner whose stream is
/// open removes its records itself once it no longer has the egress IP. During a planned move both
/// nodes send, and neither one's records may be dropped: the owner would not send them again.
pub fn drop_superseded<'a>(held: impl IntoIterator<Item = (bool, &'a mut Replica)>) {
    let (open, closed): (Vec<_>, Vec<_>) = held.into_iter().partition(|(is_open, _)| *is_open);
    let shown = open.iter().filter(|(_, replica)| !replica.is_in_resync());
    let ids: BTreeSet<EgressId> =
        shown.flat_map(|(_, replica)| replica.records()).map(|record| record.egress).collect();
    for (_, replica) in closed {
        for id in &ids {
            replica.forget(*id);
        }
    }
}
