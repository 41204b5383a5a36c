//! What `nft -j list` prints, and the seal that stands in it: any JSON is judged, and a table that
//! somebody has changed is never taken for the one that was loaded.

use natha::plan::Listing;
use serde_json::Value;

/// A listing of any text. Where it can be read, it is sealed as natha seals its own, found intact,
/// and no longer so once anything in it is changed.
pub(crate) fn listing(input: &[u8]) {
    let Ok(listing) = serde_json::from_slice::<Value>(input) else { return };
    let found = Listing::new(&listing);
    assert_eq!(found, Listing::new(&listing), "the same listing has two digests");
    let Some(objects) = listing["nftables"].as_array() else {
        assert!(!found.intact(), "nothing is intact: {listing}");
        return;
    };
    let mut changed = objects.clone();
    changed.push(serde_json::json!({"rule": {"chain": "forward", "expr": ["accept"]}}));
    let changed = Listing::new(&serde_json::json!({ "nftables": changed }));
    assert_ne!(changed.digest, found.digest, "a rule was added: {listing}");
    assert!(!(found.intact() && changed.intact()));
    let mut backwards = objects.clone();
    backwards.reverse();
    let rules = objects.iter().filter(|object| object.get("rule").is_some()).count();
    let backwards = Listing::new(&serde_json::json!({ "nftables": backwards }));
    assert!(rules > 1 || backwards.digest == found.digest, "the order of {listing}");
}
