//! `natha status --watch` in a pseudo-terminal: what it shows, and how it leaves the terminal.
#![expect(clippy::disallowed_methods, reason = "a test starts the program it tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{interval, timeout};

use crate::healthy_pair;
use crate::support::{Cluster, PATIENCE, in_own_network};

const ROWS: u16 = 60;
const COLUMNS: u16 = 160;
/// Modes of a terminal (xterm, "Control Sequences", DECSET).
const CURSOR: &str = "25";
const ALTERNATE_SCREEN: &str = "1049";

/// What a terminal shows, as far as the program makes use of it.
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What was set last, by mode.
    modes: BTreeMap<String, bool>,
    /// The begin of a sequence or a character whose end has not come yet.
    rest: Vec<u8>,
}

impl Screen {
    fn new() -> Self {
        let cells = vec![vec![' '; usize::from(COLUMNS)]; usize::from(ROWS)];
        Self { cells, row: 0, column: 0, modes: BTreeMap::new(), rest: Vec::new() }
    }

    fn text(&self) -> String {
        let lines = self.cells.iter().map(|line| line.iter().collect::<String>());
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn shows(&self, parts: &[&str]) -> bool {
        let text = self.text();
        parts.iter().all(|part| text.contains(part))
    }

    /// Whether a mode was set or unset; none if neither.
    fn mode(&self, name: &str) -> Option<bool> {
        self.modes.get(name).copied()
    }

    /// Takes in what the program writes.
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        while let Some(length) = whole(&self.rest) {
            let part: Vec<u8> = self.rest.drain(..length).collect();
            match (&part[..], std::str::from_utf8(&part)) {
                ([0x1b, b'[', parameters @ .., last], _) => {
                    self.obey(&String::from_utf8_lossy(parameters), *last);
                }
                ([byte, ..], Ok(text)) if *byte >= b' ' => text.chars().for_each(|c| self.put(c)),
                _ => {}
            }
        }
    }

    fn obey(&mut self, parameters: &str, last: u8) {
        match (last, parameters.strip_prefix('?')) {
            (b'h' | b'l', Some(mode)) => {
                self.modes.insert(mode.to_owned(), last == b'h');
            }
            (b'H', None) => {
                let mut numbers = parameters.split(';').map(|text| text.parse().unwrap_or(1));
                let mut next = || usize::max(numbers.next().unwrap_or(1), 1) - 1;
                (self.row, self.column) = (next(), next());
            }
            (b'J', None) => self.cells.iter_mut().flatten().for_each(|cell| *cell = ' '),
            _ => {}
        }
    }

    fn put(&mut self, character: char) {
        let cell = self.cells.get_mut(self.row).and_then(|line| line.get_mut(self.column));
        *cell.expect("it writes inside the terminal") = character;
        self.column += 1;
    }
}

/// The length of the first character or escape sequence; none if it is not whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [] | [0x1b] => None,
        [0x1b, b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
            Some(end + 3)
        }
        [0x1b, ..] => Some(2),
        [first, ..] => {
            let length = match first {
                0..=0xbf => 1,
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (bytes.len() >= length).then_some(length)
        }
    }
}

/// The program in a pseudo-terminal of its own.
struct Watching {
    child: Child,
    keyboard: File,
    /// The program's end, which stays open: it shows how the program leaves the terminal.
    terminal: OwnedFd,
    before: Termios,
    output: UnboundedReceiver<Vec<u8>>,
    screen: Screen,
}

impl Watching {
    fn start(cluster: &Cluster, node: usize) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let natha = cluster.natha(node, &["status", "--watch"]);
        // Without the terminal of those who run the tests, whose size the program would take.
        let mut command = Command::new("setsid");
        command.arg(natha.get_program()).args(natha.get_args()).env_clear();
        command.envs(natha.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm-256color");
        let [input, output] = [(); 2].map(|()| slave.try_clone().unwrap());
        // Its log would be written over what it shows.
        let child = command.stdin(input).stdout(output).stderr(Stdio::null()).spawn().unwrap();
        let mut from = File::from(master.try_clone().unwrap());
        let (sender, output) = unbounded_channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = from.read(&mut buffer) {
                if length == 0 || sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (keyboard, screen) = (File::from(master), Screen::new());
        Self { child, keyboard, terminal: slave, before, output, screen }
    }

    /// Waits until the terminal is as it should be.
    async fn until(&mut self, what: &str, test: impl Fn(&Screen) -> bool) {
        let (output, screen) = (&mut self.output, &mut self.screen);
        let comes = async {
            while !test(screen) {
                screen.take(&output.recv().await.expect("the pseudo-terminal stays open"));
            }
        };
        let in_time = timeout(PATIENCE, comes).await.is_ok();
        assert!(in_time, "never so: {what}\n{}", self.screen.text());
    }

    fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Whether the terminal edits lines and echoes, as a shell wants it.
    fn is_cooked(&self) -> bool {
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        tcgetattr(&self.terminal).unwrap().local_flags.contains(cooked)
    }

    /// Waits for the end, and checks that the terminal is as it was before.
    async fn ends_well(mut self) {
        let mut rounds = interval(Duration::from_millis(20));
        let ended = async {
            loop {
                rounds.tick().await;
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
            }
        };
        let status = timeout(PATIENCE, ended).await.expect("an end");
        assert_eq!(status.code(), Some(0), "{}", self.screen.text());
        let is_left = |screen: &Screen| {
            screen.mode(ALTERNATE_SCREEN) == Some(false) && screen.mode(CURSOR) == Some(true)
        };
        self.until("it has left its screen and shows the cursor", is_left).await;
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_flags, self.before.local_flags);
        assert_eq!(after.input_flags, self.before.input_flags);
        assert_eq!(after.output_flags, self.before.output_flags);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_status_in_a_terminal_follows_the_cluster_until_its_key_ends_it() {
    in_own_network(async || {
        let mut cluster = healthy_pair().await;
        let mut watching = Watching::start(&cluster, 0);
        let parts = ["All is well.", "nat-a", "nat-b", "eu-central-1a", "eu-central-1b", "q quit"];
        watching.until("nodes and groups are shown", |screen| screen.shows(&parts)).await;
        assert_eq!(watching.screen.mode(ALTERNATE_SCREEN), Some(true));
        assert_eq!(watching.screen.mode(CURSOR), Some(false));
        assert!(!watching.is_cooked());
        cluster.cut(1);
        let taken = |screen: &Screen| {
            screen.shows(&["takeover-begun", "nat-b is "]) && !screen.shows(&["All is well."])
        };
        watching.until("the takeover is shown", taken).await;
        watching.press(b"q");
        watching.ends_well().await;
    });
}

#[test]
fn a_signal_ends_the_status_in_a_terminal_as_its_key_does() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let is_shown = |screen: &Screen| screen.shows(&["no monitor is running on this host"]);
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let mut watching = Watching::start(&cluster, 0);
            watching.until("the status is shown", is_shown).await;
            assert!(!watching.is_cooked(), "{signal}");
            watching.signal(signal);
            watching.ends_well().await;
        }
        let mut watching = Watching::start(&cluster, 0);
        watching.until("the status is shown", is_shown).await;
        // Ctrl-C.
        watching.press(&[3]);
        watching.ends_well().await;
    });
}
