use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::record::end_line;

/// A recording of a live node.
const CASE: &str = include_str!("../../../tests/cases/thawed.jsonl");

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// Reads a whole file: the lines after the header, and whether the last one was cut short.
fn read(bytes: &[u8]) -> anyhow::Result<(Vec<RecordedLine>, bool)> {
    let (mut file, _) = RecordingFile::open(bytes)?;
    let mut lines = Vec::new();
    loop {
        match file.next()? {
            NextLine::Whole(line) => lines.push(line),
            NextLine::CutShort => return Ok((lines, true)),
            NextLine::Nothing => return Ok((lines, false)),
        }
    }
}

fn reason(bytes: &[u8]) -> String {
    format!("{:#}", read(bytes).unwrap_err())
}

#[test]
fn text_and_gzip_are_read_alike() {
    let (lines, cut_short) = read(CASE.as_bytes()).unwrap();
    assert!(!cut_short && lines.len() > 40);
    assert_eq!(read(&gzip(CASE)).unwrap(), (lines, false));
}

#[test]
fn a_compressed_file_is_read_up_to_where_it_was_cut_off() {
    let (all, _) = read(CASE.as_bytes()).unwrap();
    let bytes = gzip(CASE);
    let mut longest = 0;
    let (head, tail) = (60, bytes.len() - 20);
    for size in (1..head).chain((head..tail).step_by(11)).chain(tail..bytes.len()) {
        match read(&bytes[..size]) {
            Ok((lines, _)) => {
                assert_eq!(lines, all[..lines.len()]);
                assert!(lines.len() >= longest, "cut off at {size}");
                longest = lines.len();
            }
            Err(error) => {
                assert!(longest == 0 && error.to_string().contains("first line"), "{error}");
            }
        }
    }
    assert_eq!(longest, all.len());
}

#[test]
fn an_empty_and_a_foreign_file_are_refused() {
    assert_eq!(reason(b""), "the file is empty");
    assert_eq!(reason(&gzip("")), "the file is empty");
    assert!(reason(b"\x1f\x8b").contains("cut short within its first line"));
    assert!(reason(b"\x1fnot a gzip stream").contains("line 1 cannot be read: "));
    assert!(reason(&gzip("hello\n")).contains("not a recording made by natha"));
    assert!(reason(b"\xff\n").contains("line 1 is not UTF-8 text"));
}

#[test]
fn a_changed_byte_of_compressed_data_is_an_error() {
    let mut bytes = gzip(CASE);
    // The checksum.
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    assert!(reason(&bytes).contains("cannot be read: "), "{}", reason(&bytes));
}

#[test]
fn a_second_recording_in_the_same_file_is_an_error() {
    let twice = [gzip(CASE), gzip(CASE)].concat();
    assert!(reason(&twice).contains("there is a line after the end"));
}

#[test]
fn a_line_that_expands_without_limit_is_refused() {
    let (header, _) = CASE.split_once('\n').unwrap();
    let blanks = " ".repeat(usize::try_from(LINE_MAX).unwrap() + 1);
    for (text, reason_part) in [
        (blanks.clone(), "line 1 is longer than 16 MiB"),
        (format!("{header}\n{blanks}"), "line 2 is longer than 16 MiB"),
    ] {
        let bytes = gzip(&text);
        assert!(bytes.len() < 100_000);
        assert_eq!(reason(&bytes), reason_part);
    }
}

proptest! {
    #[test]
    fn damaged_compressed_data_is_an_error_and_never_a_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = gzip(CASE);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        // Whether an error or not, it ends, and does not panic.
        let _ = read(&bytes);
    }
}

#[test]
fn nothing_may_follow_the_end() {
    let (header, _) = CASE.split_once('\n').unwrap();
    let ended = format!("{header}\n{}", end_line("a reason"));
    for (more, ok) in [("", true), ("{\"end\":\"again\"}\n", false), ("x", false)] {
        let text = format!("{ended}{more}");
        let (mut file, _) = RecordingFile::open(text.as_bytes()).unwrap();
        assert!(matches!(file.next().unwrap(), NextLine::Whole(RecordedLine::End(_))));
        assert_eq!(file.expect_nothing().is_ok(), ok, "{more}");
    }
}
