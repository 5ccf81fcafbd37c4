//! The command that a report names, for whoever repeats it.

/// This process's command line as a shell takes it; the program by its name alone.
#[must_use]
pub fn command() -> String {
    let quoted = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("millrace-loadgen".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}
