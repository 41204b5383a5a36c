//! A copy of the sources that bugs are put into.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::catalogue::{Catalogue, VARIABLE};

/// What the checker is built from.
const PARTS: [&str; 5] = ["Cargo.lock", "askama.toml", "src", "tests/lab", "tests/prove/src"];
/// The members of its workspace.
const MEMBERS: &str = "members = [\".\", \"tests/lab\", \"tests/prove\"]";
/// Their version: what is compiled of them must not be taken for what is compiled of the sound
/// sources, which cargo tells apart by name and version alone.
const VERSION: &str = "version = \"0.0.0\"";
/// The name of the checker that is built, so that it does not take the sound one's place.
const PROGRAM: &str = "natha-prove-seeded";
/// How many seeds a simulation has to find a bug with, and how many it runs before it looks.
const SEEDS: usize = 64;
const SEEDS_AT_ONCE: usize = 8;

/// The copy, compiled.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// The checker with all bugs in it.
    program: PathBuf,
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
    /// Copies the project at `source`, puts the bugs into the copy, and compiles it. What is the
    /// same already is not written again, so that it is not compiled again.
    pub(super) fn build(
        source: &Path,
        catalogue: &Catalogue,
        jobs: Option<usize>,
    ) -> anyhow::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| source.join("target"), |dir| source.join(dir));
        let root = target.join("bugs/tree");
        let read = |file: &Path| {
            let text = fs::read_to_string(source.join(file));
            text.with_context(|| format!("reading {}", file.display()))
        };
        let changed = catalogue.seed(read)?;
        let changed = changed.into_iter().map(|(file, text)| (source.join(file), text)).collect();
        for part in PARTS {
            mirror(&source.join(part), &root.join(part), &changed)
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
        compile(&root, &target, jobs)?;
        Ok(Self { root, program: target.join("prove").join(PROGRAM) })
    }

    /// Runs the checker while `bugs` are on, with the options `run` and `more`.
    pub(super) fn check(&self, bugs: &str, run: &str, more: &[&str]) -> anyhow::Result<Found> {
        let json = self.root.with_file_name("found.json");
        let options = ["check"].into_iter().chain(run.split_whitespace());
        let options = options.chain(more.iter().copied()).map(OsStr::new);
        let (code, text) =
            self.run(bugs, options.chain([OsStr::new("--json"), json.as_os_str()]))?;
        let broken = text.lines().filter_map(|line| line.strip_prefix("BROKEN: "));
        let broken = broken.map(str::to_owned).collect();
        Ok(Found { broken, states: states(&json)?, text, code })
    }

    /// Runs a simulation, which is called by these words, while `bugs` are on, until a seed breaks
    /// `rule`: which rules were broken, in words.
    pub(super) fn simulate(
        &self,
        bugs: &str,
        simulation: &[&str],
        threads: &str,
        rule: &str,
    ) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        for first in (0..SEEDS).step_by(SEEDS_AT_ONCE) {
            let seeds = format!("{first}..{}", first + SEEDS_AT_ONCE);
            let options = ["--seeds", &seeds, "--threads", threads];
            let options = simulation.iter().copied().chain(options).map(OsStr::new);
            let (code, text) = self.run(bugs, options)?;
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
        bugs: &str,
        options: impl IntoIterator<Item = &'a OsStr>,
    ) -> anyhow::Result<(Option<i32>, String)> {
        let mut program = Command::new(&self.program);
        program.env(VARIABLE, bugs).args(options);
        let starting = || format!("starting {}", self.program.display());
        let done = program.output().with_context(starting)?;
        let code = done.status.code();
        if !matches!(code, Some(0 | 3)) {
            bail!("{program:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
        }
        Ok((code, String::from_utf8_lossy(&done.stdout).into_owned()))
    }
}

/// Compiles the checker with the simulation. Crates from the registry are those that the sound
/// checker is made of.
fn compile(root: &Path, target: &Path, jobs: Option<usize>) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--profile", "prove", "-p", "natha-prove", "--bin", PROGRAM])
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_PROVE_OPT_LEVEL", "1");
    if let Some(jobs) = jobs {
        cargo.args(["-j", &jobs.to_string()]);
    }
    let done = cargo.output().context("starting cargo to compile the checker")?;
    if !done.status.success() {
        bail!("the copy does not compile:\n{}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// The states that a run of the checker visited.
fn states(json: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(json).with_context(|| format!("reading {}", json.display()))?;
    let figures: Value = serde_json::from_str(&text).context("reading the checker's figures")?;
    let of = |name: &str| figures.get(name).and_then(Value::as_u64).unwrap_or(0);
    Ok(of("prove.n2.states") + of("prove.n3.states"))
}

/// Makes `copy` what `source` is, but for the files that are `changed`, and leaves alone what is.
fn mirror(source: &Path, copy: &Path, changed: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
    if let Some(text) = changed.get(source) {
        return write(copy, text.as_bytes());
    }
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
        mirror(&entry.path(), &copy.join(entry.file_name()), changed)?;
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
