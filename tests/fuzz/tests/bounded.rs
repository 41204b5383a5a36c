//! Each target on its seeds, on the corpus, and on a bounded row of changed inputs.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

use std::path::PathBuf;

use natha_fuzz::{Changes, TARGETS, Target, target};

/// Changed inputs per target. `NATHA_FUZZ_CASES` sets another number.
const CASES: usize = 1_500;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Tells which input it was, should the target panic.
struct Told<'a>(&'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: {}", self.0.escape_ascii());
        }
    }
}

fn run(name: &str) {
    let target = target(name).unwrap();
    let try_one = |input: &[u8]| {
        let _told = Told(input);
        (target.run)(input);
    };
    let mut known = (target.seeds)();
    known.extend(corpus(target));
    for input in &known {
        try_one(input);
    }
    let cases = std::env::var("NATHA_FUZZ_CASES").ok();
    let cases = cases.map_or(CASES, |text| text.parse().expect("NATHA_FUZZ_CASES is a number"));
    for input in Changes::new(known, target.max_len, 1).take(cases) {
        try_one(&input);
    }
}

macro_rules! each {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { run($name); })*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!(TARGETS.map(|target| target.name), [$($name),*]);
        }
    };
}

each! {
    any_datagram_is_decoded_or_refused: "packet",
    no_changed_packet_is_authentic: "beat",
    only_what_the_peer_sent_in_this_life_counts_once: "exchange",
    any_stream_of_connections_is_taken_in_or_refused: "flows",
    whatever_peers_say_nobody_well_is_stopped_or_robbed: "core",
    a_fault_of_any_settings_file_is_told_with_its_line: "settings-file",
    a_fault_of_any_tag_is_told: "settings-tags",
    a_changed_table_is_not_intact: "nft-listing",
    a_recording_of_any_text_is_replayed_or_refused: "recording",
}
