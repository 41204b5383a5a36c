//! A recording in a file: plain text or gzip, line by line.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use anyhow::{Context, anyhow, bail};
use flate2::bufread::MultiGzDecoder;

use crate::record::{Header, RecordedLine, RecordingReader};

/// The longest line, in bytes, that is read. It bounds the memory that a small compressed file can
/// claim. A turn with 16 peers, a hundred groups and all their route tables takes about 300 kB.
const LINE_MAX: u64 = 16 << 20;

/// The first byte of a gzip stream (RFC 1952). No text begins with it.
const GZIP: u8 = 0x1f;

/// What follows in a recording.
#[derive(Debug)]
pub(super) enum NextLine {
    /// A turn, or the end.
    Whole(RecordedLine),
    /// A last line that was cut short.
    CutShort,
    /// Nothing: the file has ended.
    Nothing,
}

/// A recording that is being read.
pub(super) struct RecordingFile<'a> {
    text: Box<dyn BufRead + 'a>,
    reader: RecordingReader,
}

impl<'a> RecordingFile<'a> {
    /// Reads the header from the start of a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not the header of a recording in the current format.
    pub(super) fn open(mut file: impl BufRead + 'a) -> anyhow::Result<(Self, Header)> {
        let first = file.fill_buf().context("cannot read the file")?;
        let mut text: Box<dyn BufRead> = if first.first() == Some(&GZIP) {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let (line, end) = read_line(&mut text, 1)?;
        if matches!(end, TextEnd::Torn) {
            bail!("the file was cut short within its first line");
        }
        if line.is_empty() {
            bail!("the file is empty");
        }
        let (reader, header) = RecordingReader::begin(&utf8(line, 1)?)?;
        Ok((Self { text, reader }, header))
    }

    /// The number of the last line that was read; the first is 1.
    pub(super) fn line(&self) -> usize {
        self.reader.line()
    }

    /// Reads the next line.
    ///
    /// # Errors
    /// If it is damaged. A last line without a line break is cut short instead.
    pub(super) fn next(&mut self) -> anyhow::Result<NextLine> {
        let number = self.line() + 1;
        let (line, end) = read_line(&mut self.text, number)?;
        if line.is_empty() {
            return Ok(NextLine::Nothing);
        }
        let whole = utf8(line, number).and_then(|line| Ok(self.reader.next(&line)?));
        match whole {
            Ok(line) => Ok(NextLine::Whole(line)),
            Err(_) if !matches!(end, TextEnd::LineBreak) => Ok(NextLine::CutShort),
            Err(error) => Err(error),
        }
    }

    /// Checks that nothing follows the end.
    ///
    /// # Errors
    /// If something does.
    pub(super) fn expect_nothing(&mut self) -> anyhow::Result<()> {
        match self.next()? {
            NextLine::Nothing => Ok(()),
            NextLine::Whole(_) | NextLine::CutShort => bail!("something follows the end"),
        }
    }
}

/// How a piece of text ended.
#[derive(Debug, Clone, Copy)]
enum TextEnd {
    LineBreak,
    /// With the file.
    File,
    /// In the middle of the compressed data.
    Torn,
}

/// Reads up to and including the next line break. The line is empty at the end of the file.
fn read_line(text: &mut impl BufRead, number: usize) -> anyhow::Result<(Vec<u8>, TextEnd)> {
    let mut line = Vec::new();
    let torn = match text.take(LINE_MAX).read_until(b'\n', &mut line) {
        Ok(_) => false,
        // The compressed data ends early. What was read of the line is in `line`.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => true,
        Err(error) => {
            return Err(error).with_context(|| format!("line {number} cannot be read"));
        }
    };
    if line.len() as u64 == LINE_MAX {
        bail!("line {number} is longer than {} MiB", LINE_MAX >> 20);
    }
    let end = match (line.last(), torn) {
        (Some(b'\n'), _) => TextEnd::LineBreak,
        (_, true) => TextEnd::Torn,
        (_, false) => TextEnd::File,
    };
    Ok((line, end))
}

fn utf8(line: Vec<u8>, number: usize) -> anyhow::Result<String> {
    String::from_utf8(line).map_err(|_| anyhow!("line {number} is not UTF-8 text"))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
