//! `natha replay`: repeat the decisions of a recorded monitor, and explain them.

use std::io::{BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use serde::Serialize;

mod tape;

use self::tape::{Next, Tape};
use super::needs_attention;
use crate::failover::Action;
use crate::record::{
    Difference, Entry, Header, Kind, Moment, Replay, Story, Turn, clock, difference,
};

const AFTER_HELP: &str = "\
Examples:
  natha monitor --record /var/lib/natha/run.jsonl
                                   record a run
  natha replay run.jsonl           what came in, what followed, and why
  natha replay --verbose --from 3:10 --to 3:20 run.jsonl
                                   ten seconds of it, with every timer
  natha replay --json run.jsonl | jq -r 'select(.kind == \"action\") | .text'

Exit codes:
  0  the same actions came out
  1  the recording cannot be read; standard error tells which line, and why
  2  wrong usage
  3  other actions came out: the first of them is shown";

/// Flags of `natha replay`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The recording, as `natha monitor --record` wrote it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Tell every read, and after whatever happened what the node knew and waited for
    #[arg(long, short)]
    pub verbose: bool,

    /// Tell nothing before this time, such as 90s, 1m30s or 1:30.500
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Duration>,

    /// Tell nothing after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<Duration>,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Replays a recording. 0 if the same actions come out, 3 if not.
///
/// # Errors
/// Where the file cannot be read or makes no sense.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        let text = format!("--from {} is later than --to {}\n", clock(from), clock(to));
        // Where standard error is closed, the exit code still tells.
        let _ = clap::Error::raw(ErrorKind::ValueValidation, text).print();
        return Ok(ExitCode::from(2));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let told = tell(args, &mut out);
    match told.and_then(|code| out.flush().context("cannot write").map(|()| code)) {
        // A reader that has gone (`natha replay | head`) is no error.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        told => told,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

type Out<'a> = BufWriter<StdoutLock<'a>>;

fn tell(args: &Args, out: &mut Out<'_>) -> anyhow::Result<ExitCode> {
    let shown = format!("{} cannot be replayed", args.file.display());
    let mut tape = Tape::open(&args.file)?;
    let header = tape.header().with_context(|| shown.clone())?;
    let mut replay = Replay::new(&header);
    let mut teller = Teller { args, out, story: Story::new(&header, args.verbose) };
    let mut result = Summary::new(&header);
    teller.opening(&header)?;
    let next = loop {
        let turn = match tape.next() {
            Ok(Next::Entry(Entry::Turn(turn))) => turn,
            Ok(end) => break end,
            Err(error) => {
                // What was told so far helps to see what the bad line is about.
                teller.close()?;
                teller.out.flush()?;
                return Err(error.context(shown));
            }
        };
        let got = replay.turn(&turn);
        teller.turn(&turn, &got, &replay)?;
        result.count(&header, &turn);
        if let Some(found) = difference(&turn.actions, &got) {
            teller.close()?;
            result.differs(tape.line() - 1, found);
            return result.print(args, teller.out).map(|()| needs_attention());
        }
    };
    teller.close()?;
    match next {
        Next::Truncated => result.truncated = true,
        Next::Entry(Entry::End(reason)) => result.end = Some(reason),
        Next::Entry(Entry::Turn(_)) | Next::Nothing => {}
    }
    if let Err(error) = tape.at_end() {
        return Err(error.context(shown));
    }
    result.print(args, teller.out).map(|()| ExitCode::SUCCESS)
}

/// Prints the story.
struct Teller<'a, 'o> {
    args: &'a Args,
    out: &'a mut Out<'o>,
    story: Story,
}

impl Teller<'_, '_> {
    fn opening(&mut self, header: &Header) -> anyhow::Result<()> {
        if self.args.json {
            print_json(self.out, header)
        } else {
            writeln!(self.out, "{}", self.story.opening(header)).context("cannot write")
        }
    }

    fn turn(&mut self, turn: &Turn, got: &[Action], replay: &Replay) -> anyhow::Result<()> {
        let moments = self.story.turn(turn, got, replay);
        moments.iter().try_for_each(|moment| self.moment(moment))
    }

    fn close(&mut self) -> anyhow::Result<()> {
        let last = self.story.close();
        last.iter().try_for_each(|moment| self.moment(moment))
    }

    fn moment(&mut self, moment: &Moment) -> anyhow::Result<()> {
        let early = self.args.from.is_some_and(|from| moment.at < from);
        if early || self.args.to.is_some_and(|to| moment.at > to) {
            return Ok(());
        }
        if self.args.json {
            return print_json(self.out, moment);
        }
        let mark = match moment.kind {
            Kind::Input => "<-",
            Kind::Event => "  ",
            Kind::Action => "->",
            Kind::Folded => "..",
            Kind::State => "  |",
        };
        let at = clock(moment.at);
        writeln!(self.out, "{at:>12} {mark} {}", moment.text).context("cannot write")
    }
}

/// How the replay ended.
#[derive(Debug, Serialize)]
struct Summary {
    kind: &'static str,
    result: &'static str,
    turns: u64,
    actions: u64,
    span_ms: u64,
    /// Whether the last line was cut short.
    truncated: bool,
    /// Why the recording was ended, as far as it tells.
    end: Option<String>,
    natha: String,
    #[serde(flatten)]
    difference: Option<Found>,
}

/// The first difference.
#[derive(Debug, Serialize)]
struct Found {
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
        self.difference = Some(Found { line, expected, got });
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
            text.push_str("The last line was cut short; all before it was replayed.\n");
        }
        if let Some(reason) = &self.end {
            text.extend(["The recording ends here: ", reason, ".\n"]);
        }
        let (turns, actions) = (self.turns, self.actions);
        let at = clock(Duration::from_millis(self.span_ms));
        text + &format!("The same {actions} actions came out of {turns} turns in {at}.")
    }

    fn differing(&self) -> anyhow::Result<String> {
        let Some(found) = &self.difference else { return Ok(String::new()) };
        let json = |action: &Option<Action>| match action {
            Some(action) => serde_json::to_string(action).context("cannot write an action"),
            None => Ok("nothing more in this turn".to_owned()),
        };
        let (expected, got) = (json(&found.expected)?, json(&found.got)?);
        let (line, at) = (found.line, clock(Duration::from_millis(self.span_ms)));
        let text = format!(
            "Other actions come out, from line {line} at {at} on.\n  \
             recorded: {expected}\n  now:      {got}"
        );
        let now = env!("CARGO_PKG_VERSION");
        Ok(if self.natha == now {
            text
        } else {
            text + &format!("\nIt was recorded by natha {}; this is {now}.", self.natha)
        })
    }
}

fn print_json(out: &mut Out<'_>, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(value).context("cannot be written as JSON")?;
    writeln!(out, "{text}").context("cannot write")
}

/// Reads `90s`, `1m30s`, `90`, `1:30.500`, `1:02:03`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "is no time such as 90s, 1m30s or 1:30.500".to_owned();
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
