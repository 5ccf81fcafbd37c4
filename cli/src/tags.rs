//! Tags of the command line: `-t a=b,c=d` is two tags, as labels of Kubernetes are written.

/// The tags in one argument: a comma separates, `\,` is a comma within a value.
pub(crate) fn split(argument: &str) -> Vec<String> {
    let mut tags = vec![String::new()];
    let mut characters = argument.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(tag) = tags.last_mut() else { break };
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => tag.push(','),
            ',' => tags.push(String::new()),
            other => tag.push(other),
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_unless_they_are_escaped() {
        assert_eq!(split("a=b"), ["a=b"]);
        assert_eq!(split("a=b,c=d"), ["a=b", "c=d"]);
        assert_eq!(split(r"note=a\,b,c=\d"), ["note=a,b", r"c=\d"]);
        assert_eq!(split("a=,"), ["a=", ""]);
    }
}
