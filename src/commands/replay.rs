//! `natha replay`: repeat the decisions of a recorded monitor.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use super::{print, unwell};
use crate::record::{Difference, Entry, Header, Reader, Replay, difference};

/// The longest line that is read. A roster of 16 nodes and some hundred tables has 100 kB.
const LINE_MAX: u64 = 16 << 20;

/// Flags of `natha replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The recording, as `natha monitor --record` wrote it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Replays a recording. 0 if the same actions come out, 3 if not.
///
/// # Errors
/// Where the file cannot be read or makes no sense.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let shown = args.file.display().to_string();
    let mut tape = Tape::open(&args.file)?;
    let header = tape.header().with_context(|| shown.clone())?;
    let mut replay = Replay::new(&header);
    loop {
        let line = tape.line();
        let turn = match tape.next().with_context(|| shown.clone())? {
            Next::Entry(Entry::Turn(turn)) => turn,
            Next::Entry(Entry::End(_)) | Next::Truncated | Next::Nothing => break,
        };
        let got = replay.turn(&turn);
        if let Some(Difference { expected, got, .. }) = difference(&turn.actions, &got) {
            print(&format!("line {line}: expected {expected:#?}\ngot {got:#?}\n"))?;
            return Ok(unwell());
        }
    }
    print("the same actions\n")?;
    Ok(ExitCode::SUCCESS)
}

/// What follows in a file.
enum Next {
    Entry(Entry),
    /// A line that was cut short.
    Truncated,
    Nothing,
}

/// A recording that is being read.
struct Tape {
    file: BufReader<File>,
    reader: Option<Reader>,
}

impl Tape {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file: BufReader::new(file), reader: None })
    }

    fn header(&mut self) -> anyhow::Result<Header> {
        let Some((line, _)) = self.raw()? else { bail!("the file is empty") };
        let line = String::from_utf8(line).map_err(|_| anyhow!("line 1: it is not text"))?;
        let (reader, header) = Reader::begin(&line)?;
        self.reader = Some(reader);
        Ok(header)
    }

    fn line(&self) -> usize {
        self.reader.as_ref().map_or(0, Reader::line) + 1
    }

    fn next(&mut self) -> anyhow::Result<Next> {
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
        Ok((!line.is_empty()).then_some((line, whole)))
    }
}
