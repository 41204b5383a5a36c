//! The bugs, as they are kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::model::Rule;

/// What stands in the text of a bug for whether it is on.
const SWITCH: &str = "BUG";
/// The file that gets the switches of all bugs.
const CRATE: &str = "src/lib.rs";
/// The modules that neither the checker nor the simulations use: the copy does without.
const UNUSED: [&str; 8] =
    ["cluster", "doctor", "history", "metrics", "notify", "plan", "policy", "status"];
/// The variable that says which bugs are on, by their names.
pub(super) const VARIABLE: &str = "NATHA_SEEDED_BUGS";

/// All of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    /// Changes of the core that a rule must catch.
    #[serde(rename = "bug")]
    pub(super) bugs: Vec<Bug>,
    /// What the core as it is cannot withstand: assumptions, taken away.
    #[serde(rename = "assumption")]
    pub(super) assumptions: Vec<Assumption>,
}

/// One bug.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bug {
    pub(super) name: String,
    /// What is wrong with it, in a sentence.
    pub(super) what: String,
    /// The file that is changed.
    pub(super) file: PathBuf,
    /// What is replaced; it stands there exactly once.
    find: String,
    /// What takes its place, and does the same while the bug is off.
    replace: String,
    /// Another bug that is on at the same time.
    with: Option<String>,
    /// The rule of the model that must be broken.
    rule: Option<String>,
    /// The options of the check that must find it.
    run: Option<String>,
    /// Words of the rule that the simulation of groups of several kinds must see broken.
    pub(super) simulated: Option<String>,
    /// Words of the rule that the simulation of replication must see broken.
    pub(super) replicated: Option<String>,
}

/// An assumption without which a rule does not hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assumption {
    pub(super) name: String,
    /// What is assumed, in a sentence.
    pub(super) what: String,
    /// The rule that does not hold without it.
    pub(super) rule: String,
    /// The options of the check that shows it.
    pub(super) run: String,
}

impl Catalogue {
    /// Reads them from `path`.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the seeded bugs from {}", path.display()))?;
        let found: Self =
            toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let bugs = found.bugs.iter().map(|bug| (&bug.name, &bug.what, bug.rule.as_ref()));
        let all = bugs.chain(found.assumptions.iter().map(|a| (&a.name, &a.what, Some(&a.rule))));
        for (name, what, rule) in all {
            if let Some(rule) = rule {
                let known = Rule::ALL.into_iter().any(|known| known.name() == rule);
                ensure!(known, "`{name}` names no rule of the model: `{rule}`");
            }
            ensure!(!what.is_empty(), "`{name}` does not say what is wrong");
        }
        for bug in &found.bugs {
            let name = &bug.name;
            ensure!(bug.rule.is_some() == bug.run.is_some(), "`{name}`: a rule needs a run");
            let other = |with: &String| found.bugs.iter().any(|bug| bug.name == *with);
            ensure!(bug.with.iter().all(other), "`{name}` comes with a bug that there is not");
            let rules = [&bug.rule, &bug.simulated, &bug.replicated];
            let is_judged = rules.into_iter().any(Option::is_some);
            ensure!(is_judged, "`{name}` names no rule, of the model or of a simulation");
        }
        Ok(found)
    }

    /// The files that are changed, with every bug in them behind its switch. `read` gives the text
    /// of a file of the project.
    pub(super) fn seed(
        &self,
        read: impl Fn(&Path) -> anyhow::Result<String>,
    ) -> anyhow::Result<BTreeMap<PathBuf, String>> {
        let mut files = BTreeMap::new();
        files.insert(PathBuf::from(CRATE), used_alone(&read(Path::new(CRATE))?) + &switches());
        for bug in &self.bugs {
            if !files.contains_key(&bug.file) {
                files.insert(bug.file.clone(), read(&bug.file)?);
            }
            if let Some(text) = files.get_mut(&bug.file) {
                *text = bug.seed(text)?;
            }
        }
        Ok(files)
    }
}

/// The text of natha's root without the modules that are not used.
fn used_alone(text: &str) -> String {
    let is_unused = |line: &str| UNUSED.iter().any(|name| line == format!("pub mod {name};"));
    let used = text.lines().filter(|line| !is_unused(line));
    used.fold(String::new(), |text, line| text + line + "\n")
}

/// The module that says which bugs are on.
fn switches() -> String {
    format!(
        "
/// Which seeded bugs are on.
mod seeded {{
    static ON: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {{
        let names = std::env::var(\"{VARIABLE}\").unwrap_or_default();
        names.split_whitespace().map(str::to_owned).collect()
    }});

    pub(crate) fn is_on(name: &str) -> bool {{
        ON.iter().any(|on| on == name)
    }}
}}
"
    )
}

impl Bug {
    /// The rule of the model that must be broken, and the options of the check that must find it;
    /// none of a bug that only a simulation finds.
    pub(super) fn check(&self) -> Option<(&str, &str)> {
        self.rule.as_deref().zip(self.run.as_deref())
    }

    /// The names of the bugs that are on when this one is.
    pub(super) fn switched_on(&self) -> String {
        let with = self.with.iter().map(String::as_str);
        [self.name.as_str()].into_iter().chain(with).collect::<Vec<_>>().join(" ")
    }

    /// The text of its file with the bug in it.
    fn seed(&self, text: &str) -> anyhow::Result<String> {
        let Self { name, file, .. } = self;
        let times = text.matches(&self.find).count();
        ensure!(
            times == 1,
            "the text that bug `{name}` replaces stands {times} times in {}, not once: write the \
             bug anew, for the text as it is now",
            file.display()
        );
        ensure!(self.replace.contains(SWITCH), "bug `{name}` cannot be turned off: no {SWITCH}");
        let on = format!("crate::seeded::is_on(\"{name}\")");
        Ok(text.replacen(&self.find, &self.replace.replace(SWITCH, &on), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(find: &str, replace: &str) -> Bug {
        let what = String::new();
        let (name, file) = ("b".to_owned(), PathBuf::from("core.rs"));
        let (find, replace) = (find.to_owned(), replace.to_owned());
        let (with, rule, run, simulated, replicated) = (None, None, None, None, None);
        Bug { name, what, file, find, replace, with, rule, run, simulated, replicated }
    }

    #[test]
    fn a_bug_is_put_where_its_text_stands_behind_its_switch() {
        let seeded = bug("yes", "yes && !BUG").seed("if yes {").unwrap();
        assert_eq!(seeded, "if yes && !crate::seeded::is_on(\"b\") {");
    }

    #[test]
    fn a_bug_whose_text_is_gone_or_not_alone_is_refused() {
        assert!(bug("yes", "BUG").seed("if maybe {").is_err());
        assert!(bug("yes", "BUG").seed("yes, yes").is_err());
    }

    #[test]
    fn a_bug_that_cannot_be_turned_off_is_refused() {
        assert!(bug("yes", "no").seed("if yes {").is_err());
    }

    #[test]
    fn every_kept_bug_fits_the_core_as_it_is_beside_all_others() {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let catalogue = Catalogue::load(&crate_root.join("bugs.toml")).unwrap();
        let project = crate_root.join("../..");
        let read = |file: &Path| Ok(std::fs::read_to_string(project.join(file))?);
        let files = catalogue.seed(read).unwrap();
        let is_in = |bug: &Bug| files[&bug.file].contains(&format!("is_on(\"{}\")", bug.name));
        let lost: Vec<&Bug> = catalogue.bugs.iter().filter(|bug| !is_in(bug)).collect();
        assert!(lost.is_empty(), "replaced by others: {lost:?}");
    }
}
