//! A recording in a file, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use crate::record::{Entry, Header, Reader};

/// The longest line that is read. A roster of 16 nodes and some hundred tables has 100 kB.
const LINE_MAX: u64 = 16 << 20;

/// What follows in a file.
pub(super) enum Next {
    Entry(Entry),
    /// A line that was cut short.
    Truncated,
    Nothing,
}

/// A recording that is being read.
pub(super) struct Tape {
    file: BufReader<File>,
    reader: Option<Reader>,
}

impl Tape {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file: BufReader::new(file), reader: None })
    }

    pub(super) fn header(&mut self) -> anyhow::Result<Header> {
        let Some((line, _)) = self.raw()? else { bail!("the file is empty") };
        let line = String::from_utf8(line).map_err(|_| anyhow!("line 1: it is not text"))?;
        let (reader, header) = Reader::begin(&line)?;
        self.reader = Some(reader);
        Ok(header)
    }

    pub(super) fn line(&self) -> usize {
        self.reader.as_ref().map_or(0, Reader::line) + 1
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Next> {
        let Some((line, whole)) = self.raw()? else { return Ok(Next::Nothing) };
        let number = self.line();
        let reader = self.reader.as_mut().context("the header was not read")?;
        let text = String::from_utf8(line).map_err(|_| anyhow!("line {number}: it is not text"));
        match text.and_then(|text| Ok(reader.next(&text)?)) {
            Ok(entry) => Ok(Next::Entry(entry)),
            Err(_) if !whole => Ok(Next::Truncated),
            Err(error) => Err(error),
        }
    }

    /// Fails where something follows the end.
    pub(super) fn at_end(&mut self) -> anyhow::Result<()> {
        match self.next()? {
            Next::Nothing => Ok(()),
            Next::Entry(_) | Next::Truncated => bail!("something follows the end"),
        }
    }

    /// The next line, and whether its line break is there; none at the end of the file.
    fn raw(&mut self) -> anyhow::Result<Option<(Vec<u8>, bool)>> {
        let mut line = Vec::new();
        let number = self.line();
        (&mut self.file)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .with_context(|| format!("line {number} cannot be read"))?;
        if line.len() as u64 == LINE_MAX {
            bail!("line {number}: it is too long");
        }
        let whole = line.last() == Some(&b'\n');
        Ok(if line.is_empty() { None } else { Some((line, whole)) })
    }
}
