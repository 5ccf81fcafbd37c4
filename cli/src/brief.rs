//! Two kinds of help: `-h` has the first sentence of each option, `--help` all of it.

use clap::{Arg, Command};

/// The command with what `-h` shows of its options cut to their first sentences, and those of its
/// commands.
pub(crate) fn briefly(command: Command) -> Command {
    command.mut_args(brief).mut_subcommands(briefly)
}

fn brief(arg: Arg) -> Arg {
    let whole = match (arg.get_help(), arg.get_long_help()) {
        (Some(help), None) => help.to_string(),
        _ => return arg,
    };
    match first_sentence(&whole) {
        Some(first) => arg.help(first.to_owned()).long_help(whole),
        None => arg,
    }
}

/// The first sentence of a text, without its full stop, if more follows.
fn first_sentence(text: &str) -> Option<&str> {
    let is_end = |at: &usize| {
        let next = text[at + 2..].chars().next();
        next.is_some_and(|next| next.is_uppercase() || next.is_ascii_digit() || "`'*-".contains(next))
    };
    let at = text.match_indices(". ").map(|(at, _)| at).find(is_end)?;
    Some(&text[..at])
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Columns of the narrowest screen that everything is to fit.
    const COLUMNS: usize = 80;

    fn fits(command: &Command) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in after.lines() {
            assert!(line.chars().count() <= COLUMNS, "{}: {line}", command.get_name());
        }
        let all: Vec<&Command> = command.get_subcommands().collect();
        let names = all.iter().map(|command| command.get_name().len()).max().unwrap_or_default();
        for command in all {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let columns = 2 + names + 2 + about.chars().count();
            assert!(columns <= COLUMNS, "{} takes {columns} columns: {about}", command.get_name());
            fits(command);
        }
    }

    #[test]
    fn commands_and_examples_take_a_line_of_a_narrow_screen() {
        fits(&crate::args::Args::command());
    }

    #[test]
    fn sentences_end_where_another_one_begins() {
        assert_eq!(first_sentence("Only one"), None);
        assert_eq!(first_sentence("One, e.g. this. Two. Three"), Some("One, e.g. this"));
        assert_eq!(first_sentence("Ask v1.2 of it. `two` follows"), Some("Ask v1.2 of it"));
    }

    #[test]
    fn short_help_has_the_first_sentence_and_long_help_all() {
        let arg = Arg::new("one").long("one").help("What it is. What else there is to say.");
        let mut command = briefly(Command::new("x").subcommand(Command::new("y").arg(arg)));
        let below = command.find_subcommand_mut("y").expect("it was added");
        let (short, long) = (below.render_help().to_string(), below.render_long_help().to_string());
        assert!(short.contains("What it is") && !short.contains("What else"), "{short}");
        assert!(long.contains("What else"), "{long}");
    }
}
