//! Fuzz targets: what natha does with bytes that somebody else chose. Each is a function of an
//! input that panics where a property does not hold.
//!
//! The ordinary tests run each target on its seeds, on what was once found (`corpus/`), and on some
//! thousands of changed inputs. `scripts/fuzz` builds the same functions with libFuzzer, which
//! looks where an input leads and follows what leads on.

mod core;
mod dice;
mod exchange;
mod flows;
mod listing;
mod mutate;
mod packet;
mod recording;
mod seeds;
mod settings;

pub use mutate::Changes;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its directory in `corpus/`.
    pub name: &'static str,
    /// The longest input, in bytes.
    pub max_len: usize,
    /// Panics where a property does not hold.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    Target { name: "packet", max_len: 1400, run: packet::bytes, seeds: seeds::packets },
    Target { name: "beat", max_len: 512, run: packet::beats, seeds: seeds::none },
    Target { name: "exchange", max_len: 1024, run: exchange::story, seeds: seeds::none },
    Target { name: "flows", max_len: 4096, run: flows::stream, seeds: seeds::streams },
    Target { name: "core", max_len: 512, run: core::story, seeds: seeds::none },
    Target { name: "settings-file", max_len: 2048, run: settings::file, seeds: seeds::files },
    Target { name: "settings-tags", max_len: 1024, run: settings::tags, seeds: seeds::tags },
    Target { name: "nft-listing", max_len: 4096, run: listing::listing, seeds: seeds::listings },
    Target { name: "recording", max_len: 8192, run: recording::text, seeds: seeds::recordings },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
