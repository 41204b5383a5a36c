//! The targets with libFuzzer: `natha-fuzz TARGET`'s own arguments are libFuzzer's, so the target
//! is named in the environment. `scripts/fuzz` runs it.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use natha_fuzz::Target;

/// Names the target.
const NAME: &str = "NATHA_FUZZ_TARGET";

/// Names the directory for its seeds.
const SEEDS: &str = "NATHA_FUZZ_SEEDS";

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var(NAME).unwrap_or_default();
    natha_fuzz::target(&name).unwrap_or_else(|| panic!("{NAME}: there is no target `{name}`"))
});

/// Writes the target's seeds where libFuzzer looks for inputs.
fn plant() {
    let Some(directory) = std::env::var_os(SEEDS) else { return };
    for (n, seed) in (TARGET.seeds)().into_iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{n}"));
        let written = std::fs::write(&path, seed);
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

fuzz_target!(init: plant(), |input: &[u8]| (TARGET.run)(input));
