//! What is printed.

use std::io::{IsTerminal, Write, stdout};

use anyhow::{Context, Result};

use super::record::{Moment, What};

/// How wide lines are.
const COLUMNS: usize = 100;
/// Where the text of a line begins: behind its time and who it is about.
const MARGIN: usize = 26;

/// Standard output, with colours on a terminal only.
#[derive(Debug)]
pub(super) struct Stage {
    terminal: bool,
    colours: bool,
    waiting: bool,
}

/// Colours, as terminals number them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 36,
    Grey = 90,
}

impl Stage {
    pub(super) fn new() -> Self {
        let terminal = stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Self { terminal, colours, waiting: false }
    }

    /// Prints a paragraph.
    pub(super) fn say(&mut self, text: &str) -> Result<()> {
        self.wipe()?;
        writeln!(stdout(), "{text}").context("cannot write to standard output")
    }

    /// Prints something that happened.
    pub(super) fn tell(&mut self, moment: &Moment, origin_ms: f64) -> Result<()> {
        let colour = match &moment.what {
            What::Power { .. } => Colour::Yellow,
            What::Told { .. } => Colour::Blue,
            What::Route { .. } | What::Call { .. } => Colour::Grey,
        };
        let mut text = moment.text.clone();
        if let Some(took) = moment.took_ms {
            text = format!("{text} (took {})", seconds(took));
        }
        let time = (moment.at_ms - origin_ms) / 1e3;
        self.entry(&format!("{time:+.3} s"), &moment.who, &text, colour)
    }

    /// Prints a step that happened.
    pub(super) fn tick(&mut self, name: &str, detail: &str) -> Result<()> {
        self.entry("✓", name, detail, Colour::Green)
    }

    /// Prints a step that did not happen.
    pub(super) fn cross(&mut self, name: &str, detail: &str) -> Result<()> {
        self.entry("✗", name, detail, Colour::Red)
    }

    fn entry(&mut self, time: &str, who: &str, text: &str, colour: Colour) -> Result<()> {
        let indent = " ".repeat(MARGIN);
        let lines = wrap(text, COLUMNS - MARGIN).join(&format!("\n{indent}"));
        let who = self.paint(&format!("{who:<13}"), colour);
        self.say(&format!("{time:>10}  {who} {lines}"))
    }

    /// Shows what is being waited for, on a terminal.
    pub(super) fn wait(&mut self, what: &str, seconds: u64) -> Result<()> {
        if !self.terminal {
            return Ok(());
        }
        self.wipe()?;
        let text = self.paint(&format!("           … {what} ({seconds} s)"), Colour::Grey);
        write!(stdout(), "{text}\r").context("cannot write to standard output")?;
        self.waiting = true;
        stdout().flush().context("cannot write to standard output")
    }

    fn wipe(&mut self) -> Result<()> {
        if std::mem::take(&mut self.waiting) {
            write!(stdout(), "\u{1b}[2K\r").context("cannot write to standard output")?;
        }
        Ok(())
    }

    pub(super) fn paint(&self, text: &str, colour: Colour) -> String {
        if self.colours { format!("\u{1b}[{}m{text}\u{1b}[0m", colour as u8) } else { text.into() }
    }
}

/// A time for people.
pub(super) fn seconds(ms: f64) -> String {
    if ms.abs() < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_wrapped_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible", 7), ["incomprehensible"]);
        assert!(wrap("", 7).is_empty());
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        assert_eq!(seconds(333.4), "333 ms");
        assert_eq!(seconds(12_345.0), "12.3 s");
    }
}
