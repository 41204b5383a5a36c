//! `natha status --watch`: the status in a terminal, read anew every second.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::control::{self, MonitorStatus};
use super::polls;
use super::render::{self, Mark};
use crate::status::Report;

/// Time between two reads of the monitor's status.
const PACE: Duration = Duration::from_secs(1);
/// The most events shown: as many as the monitor keeps.
const EVENTS: usize = 200;
/// Keys that may wait.
const KEYS: usize = 16;

/// Shows the status until the operator or a signal ends it, and restores the terminal. A monitor
/// that stops meanwhile is shown as such.
///
/// # Errors
/// If standard input or output is no terminal.
pub(super) async fn run(socket: &Path) -> anyhow::Result<ExitCode> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        bail!("--watch needs a terminal: use `natha status`, or `natha status --json` in a script");
    }
    // From before the terminal changes: a signal must not end the program in between.
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let shown = tokio::select! {
        shown = show(&mut terminal, socket) => shown,
        () = signals.any() => Ok(()),
    };
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

/// The signals that end it as its key does.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one of them.
    async fn any(&mut self) {
        let Self([interrupt, terminate, hang_up]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

async fn show(terminal: &mut DefaultTerminal, socket: &Path) -> anyhow::Result<()> {
    let mut keys = read_events()?;
    let mut screen = Screen::default();
    let mut ticks = polls(PACE);
    loop {
        tokio::select! {
            _ = ticks.tick() => screen.lines = lines(&control::status(socket).await),
            event = keys.recv() => match event.map(|event| step(&event)) {
                None | Some(Step::Quit) => return Ok(()),
                Some(step) => screen.step(step),
            },
        }
        terminal.draw(|frame| screen.draw(frame)).context("cannot draw")?;
    }
}

/// Keys and changes of the terminal's size, read by a thread that ends with the process.
fn read_events() -> anyhow::Result<mpsc::Receiver<Event>> {
    let (sender, receiver) = mpsc::channel(KEYS);
    let body = move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("natha-keys".to_owned()).spawn(body)?;
    Ok(receiver)
}

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Quit,
    Up(u16),
    Down(u16),
    Stay,
}

/// Lines of a page.
const PAGE: u16 = 10;

fn step(event: &Event) -> Step {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return Step::Stay;
    };
    match code {
        KeyCode::Char('q') | KeyCode::Esc => Step::Quit,
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Step::Quit,
        KeyCode::Up | KeyCode::Char('k') => Step::Up(1),
        KeyCode::Down | KeyCode::Char('j') => Step::Down(1),
        KeyCode::PageUp => Step::Up(PAGE),
        KeyCode::PageDown | KeyCode::Char(' ') => Step::Down(PAGE),
        KeyCode::Home => Step::Up(u16::MAX),
        _ => Step::Stay,
    }
}

/// What the terminal shows.
#[derive(Debug, Default)]
struct Screen {
    lines: Vec<Line<'static>>,
    /// The first line that is shown.
    top: u16,
}

impl Screen {
    fn step(&mut self, step: Step) {
        self.top = match step {
            Step::Up(lines) => self.top.saturating_sub(lines),
            Step::Down(lines) => self.top.saturating_add(lines),
            Step::Quit | Step::Stay => self.top,
        };
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let [body, keys] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
        let count = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        self.top = self.top.min(count.saturating_sub(body.height));
        frame.render_widget(Paragraph::new(self.lines.clone()).scroll((self.top, 0)), body);
        let help = Line::styled("q quit  up/down scroll", Modifier::REVERSED);
        frame.render_widget(Paragraph::new(help), keys);
    }
}

fn lines(status: &anyhow::Result<MonitorStatus>) -> Vec<Line<'static>> {
    match status {
        Ok(MonitorStatus::Running(report)) => of_report(report),
        Ok(MonitorStatus::Starting(starting)) => {
            vec![Line::from(format!("The monitor is starting: {}", starting.starting))]
        }
        Err(error) => vec![Line::styled(format!("{error:#}"), Color::Red)],
    }
}

/// What needs attention comes first: a small terminal shows at least that.
fn of_report(report: &Report) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(render::headline(report), Modifier::BOLD)];
    let findings = report.findings();
    if findings.is_empty() {
        lines.push(Line::styled("All is well.", Color::Green));
    }
    let of_finding = |finding: &String| Line::styled(format!("- {finding}"), Color::Red);
    lines.extend(findings.iter().map(of_finding));
    for section in render::sections(report, EVENTS) {
        lines.push(Line::default());
        for (row, text) in section.table.lines().enumerate() {
            let mark = row.checked_sub(1).and_then(|row| section.marks.get(row));
            let style = match mark {
                _ if row == 0 => Style::from(Modifier::BOLD),
                Some(Mark::Good) => Style::from(Color::Green),
                Some(Mark::Bad) => Style::from(Color::Red),
                Some(Mark::Plain) | None => Style::default(),
            };
            lines.push(Line::styled(text.trim_end().to_owned(), style));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::render::tests::{troubled, well};
    use super::*;

    fn shown(report: &Report, width: u16, height: u16, steps: &[Step]) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut screen = Screen { lines: of_report(report), ..Screen::default() };
        for step in steps {
            screen.step(*step);
        }
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn it_shows_the_nodes_and_what_needs_attention() {
        let text = shown(&well(), 120, 30, &[]);
        assert!(text.contains("All is well.") && text.contains("nat-b"), "{text}");
        let text = shown(&troubled(), 120, 30, &[]);
        assert!(!text.contains("All is well.") && text.contains("unreachable"), "{text}");
    }

    #[test]
    fn it_scrolls_to_the_last_line_and_no_further() {
        let last = shown(&troubled(), 80, 6, &[Step::Down(u16::MAX)]);
        let lines = of_report(&troubled());
        let text = lines.last().unwrap().to_string();
        let start: String = text.chars().take(40).collect();
        assert!(last.contains(start.trim_end()), "{last}");
        let first = shown(&troubled(), 80, 6, &[Step::Down(3), Step::Up(u16::MAX)]);
        assert_eq!(first, shown(&troubled(), 80, 6, &[]));
    }

    #[test]
    fn keys_quit_and_scroll() {
        let press = |code: KeyCode, with| step(&Event::Key(KeyEvent::new(code, with)));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::NONE), Step::Quit);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Step::Quit);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Step::Stay);
        assert_eq!(press(KeyCode::PageDown, KeyModifiers::NONE), Step::Down(PAGE));
        assert_eq!(step(&Event::Resize(80, 24)), Step::Stay);
    }
}
