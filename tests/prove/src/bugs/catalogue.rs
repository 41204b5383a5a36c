//! The bugs, as they are kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::model::Rule;

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
    replace: String,
    /// The rule of the model that must be broken.
    rule: Option<String>,
    /// The options of the check that must find it.
    run: Option<String>,
    /// Words of the rule that the simulation of groups of several kinds must see broken.
    pub(super) simulated: Option<String>,
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
            let is_judged = bug.rule.is_some() || bug.simulated.is_some();
            ensure!(is_judged, "`{name}` names no rule, of the model or of the simulation");
        }
        Ok(found)
    }
}

impl Bug {
    /// The rule of the model that must be broken, and the options of the check that must find it;
    /// none of a bug that only the simulation finds.
    pub(super) fn check(&self) -> Option<(&str, &str)> {
        self.rule.as_deref().zip(self.run.as_deref())
    }

    /// The changed text of its file.
    pub(super) fn seed(&self, text: &str) -> anyhow::Result<String> {
        let times = text.matches(&self.find).count();
        ensure!(
            times == 1,
            "the text that bug `{}` replaces stands {times} times in {}, not once: write the bug \
             anew, for the text as it is now",
            self.name,
            self.file.display()
        );
        Ok(text.replacen(&self.find, &self.replace, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(find: &str) -> Bug {
        let (name, what) = Default::default();
        let file = PathBuf::from("core.rs");
        let (find, replace) = (find.to_owned(), "no".to_owned());
        Bug { name, what, file, find, replace, rule: None, run: None, simulated: None }
    }

    #[test]
    fn a_bug_is_put_where_its_text_stands() {
        assert_eq!(bug("yes").seed("if yes {").unwrap(), "if no {");
    }

    #[test]
    fn a_bug_whose_text_is_gone_or_not_alone_is_refused() {
        assert!(bug("yes").seed("if maybe {").is_err());
        assert!(bug("yes").seed("yes, yes").is_err());
    }

    #[test]
    fn every_kept_bug_fits_the_core_as_it_is() {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let catalogue = Catalogue::load(&crate_root.join("bugs.toml")).unwrap();
        for bug in &catalogue.bugs {
            let text = std::fs::read_to_string(crate_root.join("../..").join(&bug.file)).unwrap();
            assert_ne!(bug.seed(&text).unwrap(), text, "{} changes nothing", bug.name);
        }
    }
}
