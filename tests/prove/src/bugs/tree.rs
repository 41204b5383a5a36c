//! A copy of the sources that bugs are put into.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::catalogue::Bug;

/// What the checker is built from.
const PARTS: [&str; 5] = ["Cargo.lock", "askama.toml", "src", "tests/lab", "tests/prove/src"];
/// The members of its workspace.
const MEMBERS: &str = "members = [\".\", \"tests/lab\", \"tests/prove\"]";
/// Their version: what is compiled of them must not be taken for what is compiled of the sound
/// sources, which cargo tells apart by name and version alone.
const VERSION: &str = "version = \"0.0.0\"";
/// The name of the checker that is built, so that it does not take the sound one's place.
const PROGRAM: &str = "natha-prove-seeded";
/// How many seeds the simulation has to find a bug with, and how many it runs before it looks.
const SEEDS: usize = 64;
const SEEDS_AT_ONCE: usize = 8;

/// The copy.
#[derive(Debug)]
pub(super) struct Tree {
    /// Where the project is.
    source: PathBuf,
    root: PathBuf,
    target: PathBuf,
    /// The checker: this program, which is the sound one, until the copy is built.
    program: PathBuf,
    /// The file that is changed now.
    changed: Option<PathBuf>,
    jobs: Option<usize>,
}

/// What a check of the copy found.
#[derive(Debug)]
pub(super) struct Found {
    /// The rules that it broke.
    pub(super) broken: Vec<String>,
    pub(super) states: u64,
    /// What it wrote.
    pub(super) text: String,
    pub(super) code: Option<i32>,
}

impl Tree {
    /// Copies the project at `source`. What is the same already is not written again, so that it
    /// is not compiled again.
    pub(super) fn copy(source: &Path, jobs: Option<usize>) -> anyhow::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| source.join("target"), |dir| source.join(dir));
        let root = target.join("bugs/tree");
        for part in PARTS {
            mirror(&source.join(part), &root.join(part))
                .with_context(|| format!("copying {part} into {}", root.display()))?;
        }
        let text = fs::read_to_string(source.join("Cargo.toml"))?;
        let line = |key: &str| text.lines().find(|line| line.starts_with(key));
        let members = line("members =").context("the workspace has members")?;
        let version = line("version =").context("the workspace has a version")?;
        let text = text.replacen(members, MEMBERS, 1).replacen(version, VERSION, 1);
        write(&root.join("Cargo.toml"), text.as_bytes())?;
        let manifest = root.join("tests/prove/Cargo.toml");
        let text = fs::read_to_string(source.join("tests/prove/Cargo.toml"))?;
        let bin = format!("\n[[bin]]\nname = \"{PROGRAM}\"\npath = \"src/main.rs\"\n");
        let text = text.replacen("publish = false\n", "publish = false\nautobins = false\n", 1);
        write(&manifest, (text + &bin).as_bytes())?;
        let program = std::env::current_exe().context("finding this program")?;
        Ok(Self { source: source.to_owned(), root, target, program, changed: None, jobs })
    }

    /// Puts a bug in, and takes the one before out.
    pub(super) fn seed(&mut self, bug: &Bug) -> anyhow::Result<()> {
        self.heal()?;
        let text = fs::read_to_string(self.source.join(&bug.file))
            .with_context(|| format!("reading {} for bug `{}`", bug.file.display(), bug.name))?;
        write(&self.root.join(&bug.file), bug.seed(&text)?.as_bytes())?;
        self.changed = Some(bug.file.clone());
        Ok(())
    }

    /// Takes out what was put in.
    fn heal(&mut self) -> anyhow::Result<()> {
        if let Some(file) = self.changed.take() {
            mirror(&self.source.join(&file), &self.root.join(&file))
                .with_context(|| format!("restoring {}", file.display()))?;
        }
        Ok(())
    }

    /// Compiles the checker: quickly rather than well, since each is run only for seconds. Crates
    /// from the registry are those that the sound checker is made of. The simulation is part of it
    /// where that is needed.
    pub(super) fn build(&mut self, simulates: bool) -> anyhow::Result<()> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(&self.root)
            .args(["build", "--quiet", "--profile", "prove", "-p", "natha-prove"])
            .args(["--no-default-features", "--bin", PROGRAM])
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_PROVE_OPT_LEVEL", "1")
            // Not the profile's setting: continuous integration turns incremental builds off by
            // this variable, which takes precedence, and each bug would cost a whole build.
            .env("CARGO_INCREMENTAL", "1");
        if simulates {
            cargo.args(["--features", "sim"]);
        }
        if let Some(jobs) = self.jobs {
            cargo.args(["-j", &jobs.to_string()]);
        }
        let done = cargo.output().context("starting cargo to compile the checker")?;
        if !done.status.success() {
            bail!("the copy does not compile:\n{}", String::from_utf8_lossy(&done.stderr));
        }
        self.program = self.target.join("prove").join(PROGRAM);
        Ok(())
    }

    /// Runs the checker, with the options `run` and `more`.
    pub(super) fn check(&self, run: &str, more: &[&str]) -> anyhow::Result<Found> {
        let json = self.root.with_file_name("found.json");
        let options = run.split_whitespace().chain(more.iter().copied()).map(OsStr::new);
        let (code, text) =
            self.run("check", options.chain([OsStr::new("--json"), json.as_os_str()]))?;
        let broken = text.lines().filter_map(|line| line.strip_prefix("BROKEN: "));
        let broken = broken.map(str::to_owned).collect();
        Ok(Found { broken, states: states(&json)?, text, code })
    }

    /// Runs the simulation of groups of several kinds until a seed breaks `rule`: which rules were
    /// broken, in words.
    pub(super) fn simulate(&self, threads: &str, rule: &str) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        for first in (0..SEEDS).step_by(SEEDS_AT_ONCE) {
            let seeds = format!("{first}..{}", first + SEEDS_AT_ONCE);
            let options = ["--several", "--seeds", &seeds, "--threads", threads];
            let (code, text) = self.run("sim", options.map(OsStr::new))?;
            if code == Some(3) {
                let found = text.lines().filter(|line| line.starts_with("seed "));
                broken.extend(found.map(str::to_owned));
            }
            if broken.iter().any(|line| line.contains(rule)) {
                break;
            }
        }
        Ok(broken)
    }

    /// Runs the checker. Its exit status, which says whether a rule was broken, and
    /// what it wrote.
    fn run<'a>(
        &self,
        verb: &str,
        options: impl IntoIterator<Item = &'a OsStr>,
    ) -> anyhow::Result<(Option<i32>, String)> {
        let mut program = Command::new(&self.program);
        program.arg(verb).args(options);
        let starting = || format!("starting {}", self.program.display());
        let done = program.output().with_context(starting)?;
        let code = done.status.code();
        if !matches!(code, Some(0 | 3)) {
            bail!("{program:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
        }
        Ok((code, String::from_utf8_lossy(&done.stdout).into_owned()))
    }
}

/// The states that a run of the checker visited.
fn states(json: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(json).with_context(|| format!("reading {}", json.display()))?;
    let figures: Value = serde_json::from_str(&text).context("reading the checker's figures")?;
    let of = |name: &str| figures.get(name).and_then(Value::as_u64).unwrap_or(0);
    Ok(of("prove.n2.states") + of("prove.n3.states"))
}

/// Makes `copy` what `source` is, and leaves alone what is.
fn mirror(source: &Path, copy: &Path) -> anyhow::Result<()> {
    if !source.is_dir() {
        return write(copy, &fs::read(source)?);
    }
    fs::create_dir_all(copy)?;
    for entry in fs::read_dir(copy)? {
        let entry = entry?;
        if !source.join(entry.file_name()).exists() && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        mirror(&entry.path(), &copy.join(entry.file_name()))?;
    }
    Ok(())
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    match fs::read(path) {
        Ok(old) if old == text => return Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
        _ => {}
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
