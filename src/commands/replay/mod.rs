//! `natha replay`: repeats the decisions of a recorded monitor and explains them.

use std::fs::File;
use std::io::{BufReader, BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use serde::Serialize;

mod file;

use self::file::{NextLine, RecordingFile};
use super::{needs_attention, write_page};
use crate::failover::Action;
use crate::history::{Recorded, page};
use crate::record::{
    Difference, EntryKind, Header, RecordedLine, Replay, Timeline, TimelineEntry, Turn, clock,
    difference,
};

const AFTER_HELP: &str = "\
Examples:
  natha monitor --record /var/lib/natha/run.jsonl.gz
                                   record a run
  natha replay run.jsonl.gz        show the inputs, the actions and the reasons
  natha replay --verbose --from 3:10 --to 3:20 run.jsonl.gz
                                   show ten seconds of it, with every timer
  natha replay --html incident.html --from 3:10 --to 3:20 run.jsonl.gz
                                   show ten seconds of it as a page, for a browser
  natha replay --json run.jsonl.gz | jq -r 'select(.kind == \"action\") | .text'

Exit codes:
  0  the replay came to the same actions
  1  cannot read the recording; see stderr for the line and the reason
  2  wrong usage
  3  the replay came to different actions; the first one is shown";

/// Flags of `natha replay`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The recording, as written by `natha monitor --record` or uncompressed
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Show every read, and the node's state and timers after each event
    #[arg(long, short)]
    pub(crate) verbose: bool,

    /// Show nothing before this time, for example 90s, 1m30s or 1:30.500
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<Duration>,

    /// Show nothing after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) to: Option<Duration>,

    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,

    /// Write what `--from` and `--to` select as a page to this file, and print only the result
    #[arg(long, value_name = "PAGE")]
    pub(crate) html: Option<PathBuf>,
}

/// Replays a recording. The exit code is 0 if the replay comes to the same actions, 3 if not.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        let text = format!("--from {} is later than --to {}\n", clock(from), clock(to));
        // If standard error is closed, the exit code is enough.
        let _ = clap::Error::raw(ErrorKind::ValueValidation, text).print();
        return Ok(ExitCode::from(2));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let result = replay(args, &mut out);
    match result.and_then(|code| out.flush().context("cannot write").map(|()| code)) {
        // A closed pipe (`natha replay | head`) is not an error.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

type Out<'a> = BufWriter<StdoutLock<'a>>;

fn replay(args: &Args, out: &mut Out<'_>) -> anyhow::Result<ExitCode> {
    let path = args.file.display();
    let failed = || format!("cannot replay {path}");
    let file = File::open(&args.file).with_context(|| format!("cannot open {path}"))?;
    let (mut file, header) = RecordingFile::open(BufReader::new(file)).with_context(failed)?;
    let mut replay = Replay::new(&header);
    let mut printer = Printer { args, out, timeline: Timeline::new(&header, args.verbose) };
    let mut result = Summary::new(&header);
    let mut recorded = args.html.as_ref().map(|_| Recorded::new(&header));
    printer.opening(&header)?;
    let next = loop {
        let turn = match file.next() {
            Ok(NextLine::Whole(RecordedLine::Turn(turn))) => turn,
            Ok(end) => break end,
            Err(error) => {
                // The lines so far give the damaged one its context.
                printer.close()?;
                printer.out.flush()?;
                return Err(error.context(failed()));
            }
        };
        let got = replay.turn(&turn);
        if let Some(recorded) = &mut recorded {
            recorded.turn(&turn, &got);
        }
        printer.turn(&turn, &got, &replay)?;
        result.count(&header, &turn);
        if let Some(found) = difference(&turn.actions, &got) {
            printer.close()?;
            result.differs(file.line(), found);
            write_story(args, recorded.as_ref())?;
            return result.print(args, printer.out).map(|()| needs_attention());
        }
    };
    printer.close()?;
    match next {
        NextLine::CutShort => result.truncated = true,
        NextLine::Whole(RecordedLine::End(reason)) => result.end = Some(reason),
        NextLine::Whole(RecordedLine::Turn(_)) | NextLine::Nothing => {}
    }
    file.expect_nothing().with_context(failed)?;
    write_story(args, recorded.as_ref())?;
    result.print(args, printer.out).map(|()| ExitCode::SUCCESS)
}

/// Writes the page, if one is wanted.
fn write_story(args: &Args, recorded: Option<&Recorded>) -> anyhow::Result<()> {
    let Some((file, recorded)) = args.html.as_ref().zip(recorded) else { return Ok(()) };
    let title = format!("natha: {}", args.file.display());
    let story = recorded.story(&title, args.from, args.to);
    let story = story.context("the recording has nothing between `--from` and `--to`")?;
    write_page(file, &page(&story))
}

/// Prints the timeline.
struct Printer<'a, 'o> {
    args: &'a Args,
    out: &'a mut Out<'o>,
    timeline: Timeline,
}

impl Printer<'_, '_> {
    fn opening(&mut self, header: &Header) -> anyhow::Result<()> {
        if self.args.html.is_some() {
            Ok(())
        } else if self.args.json {
            print_json(self.out, header)
        } else {
            writeln!(self.out, "{}", self.timeline.opening(header)).context("cannot write")
        }
    }

    fn turn(&mut self, turn: &Turn, got: &[Action], replay: &Replay) -> anyhow::Result<()> {
        let entries = self.timeline.turn(turn, got, replay);
        entries.iter().try_for_each(|entry| self.entry(entry))
    }

    fn close(&mut self) -> anyhow::Result<()> {
        let last = self.timeline.close();
        last.iter().try_for_each(|entry| self.entry(entry))
    }

    fn entry(&mut self, entry: &TimelineEntry) -> anyhow::Result<()> {
        let early = self.args.from.is_some_and(|from| entry.at < from);
        let late = self.args.to.is_some_and(|to| entry.at > to);
        if early || late || self.args.html.is_some() {
            return Ok(());
        }
        if self.args.json {
            return print_json(self.out, entry);
        }
        let mark = match entry.kind {
            EntryKind::Input => "<-",
            EntryKind::Event => "  ",
            EntryKind::Action => "->",
            EntryKind::Folded => "..",
            EntryKind::State => "  |",
        };
        let at = clock(entry.at);
        writeln!(self.out, "{at:>12} {mark} {}", entry.text).context("cannot write")
    }
}

/// The result of the replay.
#[derive(Debug, Serialize)]
struct Summary {
    kind: &'static str,
    result: &'static str,
    turns: u64,
    actions: u64,
    span_ms: u64,
    /// Whether the last line was cut short.
    truncated: bool,
    /// Why the recording ended, if it has an end.
    end: Option<String>,
    natha: String,
    #[serde(flatten)]
    difference: Option<FirstDifference>,
}

/// The first difference.
#[derive(Debug, Serialize)]
struct FirstDifference {
    line: usize,
    expected: Option<Action>,
    got: Option<Action>,
}

impl Summary {
    fn new(header: &Header) -> Self {
        Self {
            kind: "result",
            result: "same",
            turns: 0,
            actions: 0,
            span_ms: 0,
            truncated: false,
            end: None,
            natha: header.natha.clone(),
            difference: None,
        }
    }

    fn count(&mut self, header: &Header, turn: &Turn) {
        self.turns += 1;
        self.actions += turn.actions.len() as u64;
        let span = turn.at.since(header.start).as_millis();
        self.span_ms = u64::try_from(span).unwrap_or(u64::MAX);
    }

    fn differs(&mut self, line: usize, found: Difference) {
        let Difference { expected, got, .. } = found;
        self.result = "different";
        self.difference = Some(FirstDifference { line, expected, got });
    }

    fn print(&self, args: &Args, out: &mut Out<'_>) -> anyhow::Result<()> {
        if args.json {
            return print_json(out, self);
        }
        let text = if self.difference.is_some() { self.differing()? } else { self.well() };
        writeln!(out, "\n{text}").context("cannot write")
    }

    fn well(&self) -> String {
        let mut text = String::new();
        if self.truncated {
            text.push_str("The last line was cut short. Everything before it was replayed.\n");
        }
        if let Some(reason) = &self.end {
            text.extend(["The recording ended: ", reason, ".\n"]);
        }
        let (turns, actions) = (self.turns, self.actions);
        let at = clock(Duration::from_millis(self.span_ms));
        text + &format!("The replay came to the same {actions} actions in {turns} turns ({at}).")
    }

    fn differing(&self) -> anyhow::Result<String> {
        let Some(found) = &self.difference else { return Ok(String::new()) };
        let json = |action: &Option<Action>| match action {
            Some(action) => serde_json::to_string(action).context("cannot write an action"),
            None => Ok("no further action in this turn".to_owned()),
        };
        let (expected, got) = (json(&found.expected)?, json(&found.got)?);
        let (line, at) = (found.line, clock(Duration::from_millis(self.span_ms)));
        let text = format!(
            "The replay came to different actions, from line {line} at {at} on.\n  \
             recorded: {expected}\n  replayed: {got}"
        );
        let now = env!("CARGO_PKG_VERSION");
        Ok(if self.natha == now {
            text
        } else {
            text + &format!("\nIt was recorded by natha {}; this is natha {now}.", self.natha)
        })
    }
}

fn print_json(out: &mut Out<'_>, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(value).context("cannot be written as JSON")?;
    writeln!(out, "{text}").context("cannot write")
}

/// Reads `90s`, `1m30s`, `90`, `1:30.500`, `1:02:03`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 90s, 1m30s or 1:30.500".to_owned();
    if let Ok(span) = humantime::parse_duration(text) {
        return Ok(span);
    }
    let mut seconds = 0.0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    for part in parts {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let value: f64 = part.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        seconds = seconds * 60.0 + value;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown_and_as_spans() {
        let ms = |text| time(text).map(|span| span.as_millis()).ok();
        assert_eq!(ms("90s"), Some(90_000));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("12.345"), Some(12_345));
        assert_eq!(ms("1:30.500"), Some(90_500));
        assert_eq!(ms("1:02:03"), Some(3_723_000));
        for wrong in ["", "now", "-1", "1:2:3:4", "1e9", "inf"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        let at = Duration::from_millis(3_723_004);
        assert_eq!(time(&clock(at)), Ok(at));
    }
}
