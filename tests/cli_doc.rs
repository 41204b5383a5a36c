//! `docs/cli.md` is the command line as the program has it. `tests/site` compares the commands on
//! the other pages with it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};

const BEGIN: &str = "<!-- commands begin -->\n";
const END: &str = "<!-- commands end -->";

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")
}

/// The program's command line, with the usage of each command.
fn program() -> Command {
    let mut command = natha::cli::Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Text in a cell of a table. The program's first paragraphs have no full stop.
fn cell(text: &str) -> String {
    let text = text.replace(".\n\n", "\n\n").replace("\n\n", ". ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let escape = |(at, part): (usize, &str)| {
        if at % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() }
    };
    let parts: Vec<String> = text.split('`').enumerate().map(escape).collect();
    parts.join("`")
}

/// A help text, and the default that it gives in brackets at its end.
fn split_default(help: &str) -> (&str, Option<&str>) {
    let found = help.strip_suffix(']').and_then(|text| text.rsplit_once(" [default: "));
    found.map_or((help, None), |(text, default)| (text, Some(default)))
}

/// What a person writes: `--within <DURATION>`, `<GROUP>`.
fn written(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let values: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
    let values = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let long = arg.get_long().map(|long| format!("{short}--{long} ")).unwrap_or_default();
    format!("{long}{values}").trim_end().to_owned()
}

/// The values that an option may have, each with its meaning if it has one.
fn choices(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let values = arg.get_possible_values();
    let values: Vec<String> = values
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| {
            let help = value.get_help().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("`{}`{help}", value.get_name())
        })
        .collect();
    if values.is_empty() { String::new() } else { format!(". One of {}", values.join(", ")) }
}

/// A cell with the environment variable of an option.
fn environment(arg: &Arg) -> String {
    let name = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
    name.unwrap_or_else(|| "–".to_owned())
}

/// A row for an option or a positional argument.
fn row(arg: &Arg, with_environment: bool) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let (meaning, in_text) = split_default(help.trim());
    let values = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let values: Vec<String> = values.map(|value| format!("`{value}`")).collect();
    let is_flag = !arg.get_action().takes_values();
    let default = match in_text {
        Some(text) => cell(text),
        None if values.is_empty() || is_flag => "–".to_owned(),
        None => values.join(", "),
    };
    let environment =
        if with_environment { format!(" {} |", environment(arg)) } else { String::new() };
    let meaning = cell(&format!("{}{}", meaning.trim_end_matches('.'), choices(arg)));
    format!("| `{}` | {default} |{environment} {meaning}. |\n", written(arg))
}

/// A table of options, nothing if there are none.
fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let args: Vec<&Arg> = args.filter(|arg| !is_everywhere(arg)).collect();
    if args.is_empty() {
        return String::new();
    }
    let with_environment = args.iter().any(|arg| arg.get_env().is_some());
    let (name, line) = if with_environment { (" environment |", "---|") } else { ("", "") };
    let rows: String = args.into_iter().map(|arg| row(arg, with_environment)).collect();
    format!("\n| option | default |{name} meaning |\n|---|---|{line}---|\n{rows}")
}

/// What each command has and no table needs, and what is not for people.
fn is_everywhere(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version") || arg.is_hide_set()
}

/// The examples, notes and exit codes at the end of a help text.
fn closing(command: &Command) -> String {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("\n```text\n{text}\n```\n") }
}

/// Adds a command's section, and those of its own commands.
fn describe(command: &Command, to: &mut String) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let options = table(command.get_arguments().filter(|arg| !arg.is_global_set()));
    let about = about.trim().trim_end_matches('.');
    let result = writeln!(to, "\n### {name}\n\n{about}.\n\n```text\n{usage}\n```\n{options}");
    result.expect("a string takes all");
    to.push_str(closing(command).trim_start_matches('\n'));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        describe(verb, to);
    }
}

/// What each command is for.
fn list(program: &Command) -> String {
    let row = |verb: &Command| {
        let name = verb.get_bin_name().unwrap_or_default();
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        format!("| [`{name}`](#{}) | {} |\n", name.replace(' ', "-"), cell(&about))
    };
    let verbs = program.get_subcommands().filter(|verb| !verb.is_hide_set());
    format!("| command | what it does |\n|---|---|\n{}", verbs.map(row).collect::<String>())
}

/// The whole reference: the program, the options of every command, then each command.
fn reference(program: &Command) -> String {
    let mut text = list(program);
    text.push_str("\n## Examples and exit codes\n");
    text.push_str(&closing(program));
    text.push_str("\n## Global options\n\nEvery command has these, besides `-h` and `--help`.\n");
    text.push_str(&table(program.get_arguments()));
    text.push_str("\n## Commands\n");
    for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        describe(verb, &mut text);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut text = lines.join("\n").replace("\n\n\n", "\n\n");
    text.push('\n');
    text
}

#[test]
fn the_reference_is_the_command_line_of_the_program() {
    let path = document();
    let text = fs::read_to_string(&path).expect("the document");
    let (head, rest) = text.split_once(BEGIN).expect("the begin mark");
    let (told, tail) = rest.split_once(END).expect("the end mark");
    let wanted = reference(&program());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{head}{BEGIN}{wanted}{END}{tail}");
        fs::write(&path, text).expect("a file that can be written");
    } else {
        assert_eq!(told, wanted, "run this test with UPDATE_DOCS=1 and look at the difference");
    }
}

/// The options of a command, and the names of its own commands.
fn collect(command: &Command, options: &mut BTreeSet<String>, verbs: &mut BTreeSet<String>) {
    options.extend(command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)));
    for verb in command.get_subcommands() {
        verbs.insert(verb.get_name().to_owned());
        collect(verb, options, verbs);
    }
}

#[test]
fn the_reference_has_every_command_option_and_environment_variable() {
    let program = program();
    let reference = reference(&program);
    let (mut options, mut verbs) = (BTreeSet::new(), BTreeSet::new());
    collect(&program, &mut options, &mut verbs);
    assert!(options.len() >= 40 && verbs.len() >= 20, "{options:?} {verbs:?}");
    for verb in verbs {
        let heading = format!("{verb}\n");
        let has_heading = reference.split("\n### natha ").any(|part| {
            part.starts_with(&heading)
                || part.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(&heading))
        });
        assert!(has_heading, "{verb}");
    }
    for command in program.get_subcommands() {
        for arg in command.get_arguments().filter(|arg| !is_everywhere(arg)) {
            assert!(reference.contains(&format!("| `{}` |", written(arg))), "{}", arg.get_id());
        }
    }
    for variable in ["NATHA_LOG", "NATHA_LOG_FORMAT"] {
        assert!(reference.contains(&format!("| `{variable}` |")), "{variable}");
    }
}

#[test]
fn a_sample_is_described() {
    let level = Arg::new("level").long("level").short('l').value_name("LEVEL").env("SAMPLE_LEVEL");
    let level = level.default_value("info").value_parser(["info", "debug"]).help("How much. a|b");
    let file = Arg::new("file").value_name("FILE").required(true).help("Where [default: here]");
    let hidden = Arg::new("hidden").long("hidden").hide(true);
    let dig = Command::new("dig").about("Digs").args([level, file, hidden]);
    let mut sample = Command::new("natha").subcommand(dig.after_help("Exit codes:\n  0  dug"));
    sample.build();
    let mut told = String::new();
    let dig = sample.get_subcommands().find(|verb| verb.get_name() == "dig");
    describe(dig.expect("the sample's command"), &mut told);
    let wanted = "\n### natha dig\n\nDigs.\n\n```text\nnatha dig [OPTIONS] <FILE>\n```\n\n\
                  | option | default | environment | meaning |\n|---|---|---|---|\n\
                  | `-l, --level <LEVEL>` | `info` | `SAMPLE_LEVEL` | How much. a\\|b. One of \
                  `info`, `debug`. |\n\
                  | `<FILE>` | here | – | Where. |\n\n\
                  ```text\nExit codes:\n  0  dug\n```\n";
    assert_eq!(told, wanted);
}
