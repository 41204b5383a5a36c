//! The manual pages: `natha.1`, and one for each verb.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Writes every page into `directory`.
///
/// # Errors
/// The page that cannot be written, and why.
pub(crate) fn write(command: Command, directory: &Path) -> Result<()> {
    for (name, text) in pages(command)? {
        let path = directory.join(name);
        crate::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Every page's file name and text.
fn pages(command: Command) -> Result<Vec<(String, Vec<u8>)>> {
    // `natha help VERB` needs no page of its own.
    let mut command = command
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("COMMANDS");
    command.build();
    let source = format!("natha {}", command.get_version().unwrap_or_default());
    let verbs: Vec<Command> = command.get_subcommands().cloned().collect();
    let others: Vec<String> =
        verbs.iter().map(|verb| format!("natha-{}", verb.get_name())).collect();
    let mut pages = Vec::new();
    for verb in verbs {
        pages.push(page(verb, &source, &["natha".to_owned()])?);
    }
    pages.push(page(command, &source, &others)?);
    Ok(pages)
}

fn page(command: Command, source: &str, see_also: &[String]) -> Result<(String, Vec<u8>)> {
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    let has_verbs = command.has_subcommands();
    let man = Man::new(command).source(source).manual("User Commands");
    let mut text = Vec::new();
    render(&man, has_verbs, &after, see_also, &mut text)
        .with_context(|| format!("cannot make {}", man.get_filename()))?;
    Ok((man.get_filename(), text))
}

/// What [`Man::render`] does, but for the text after the options: that would come as one paragraph
/// under the heading EXTRA.
fn render(
    man: &Man,
    has_verbs: bool,
    after: &str,
    see_also: &[String],
    to: &mut Vec<u8>,
) -> io::Result<()> {
    man.render_title(to)?;
    man.render_name_section(to)?;
    man.render_synopsis_section(to)?;
    man.render_description_section(to)?;
    man.render_options_section(to)?;
    if has_verbs {
        man.render_subcommands_section(to)?;
    }
    let mut last = Roff::new();
    for block in after.split("\n\n").filter(|block| !block.trim().is_empty()) {
        add_section(&mut last, block);
    }
    last.control("SH", ["SEE ALSO"]);
    for (at, name) in see_also.iter().enumerate() {
        let end = if at + 1 == see_also.len() { "(1)" } else { "(1)," };
        last.text([bold(name), roman(end)]);
    }
    last.to_writer(to)
}

/// Adds a block of the help's closing text. One with a heading ("Examples:") keeps its lines as
/// they are, and so does one of indented lines, which continues the block before it.
fn add_section(roff: &mut Roff, block: &str) {
    let heading = block.lines().next().and_then(|first| first.strip_suffix(':'));
    let indented = block.lines().all(|line| line.starts_with("  "));
    match heading {
        Some(heading) => roff.control("SH", [heading.to_uppercase().as_str()]),
        None if indented => roff.control("PP", []),
        None => roff.control("SH", ["NOTES"]),
    };
    let as_they_are = heading.is_some() || indented;
    if as_they_are {
        roff.control("nf", []);
    }
    for line in block.lines().skip(usize::from(heading.is_some())) {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    if as_they_are {
        roff.control("fi", []);
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    /// Digs holes
    #[derive(Debug, Parser)]
    #[command(
        name = "natha",
        version = "1.2.3",
        after_help = "Examples:\n  a  b\n\n  c\n\nMore text."
    )]
    struct Sample {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Verb {
        /// Digs one
        Dig,
    }

    fn sample() -> Vec<(String, String)> {
        let text = |(name, text)| (name, String::from_utf8(text).unwrap());
        pages(Sample::command()).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn each_verb_has_a_page_and_so_has_the_program() {
        let names: Vec<String> = sample().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["natha-dig.1", "natha.1"]);
    }

    #[test]
    fn examples_keep_their_lines_and_other_text_is_filled() {
        let (_, page) = sample().pop().unwrap();
        assert!(page.contains(".SH EXAMPLES\n.nf\na  b\n.fi\n.PP\n.nf\nc\n.fi\n"), "{page}");
        assert!(page.contains(".SH NOTES\nMore text.\n"), "{page}");
    }

    #[test]
    fn every_page_names_natha_and_its_version() {
        for (name, page) in pages(natha::cli::command()).unwrap() {
            let page = String::from_utf8(page).unwrap();
            let source = format!("\"natha {}\"", env!("CARGO_PKG_VERSION"));
            assert!(page.starts_with(".ie"), "{name}: {page}");
            assert!(page.contains(&source), "{name}: {page}");
        }
    }
}
