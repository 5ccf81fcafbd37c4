//! Reads a selector's text. Every error names the column at which reading stopped and what was
//! expected there.
//!
//! Written by hand, one function per rule of the grammar, because the errors are half of the work:
//! each rule knows the mistakes that people make at its place.

use super::ast::{self, Comparison, Operation, Requirement};
use super::error::SelectorError;
use super::{glob, number, payload};
use crate::limits::{
    PATTERNS_PER_SELECTOR_MAX, REQUIREMENTS_PER_SELECTOR_MAX, SELECTOR_BYTES_MAX, TAG_KEY_BYTES_MAX,
    TAG_VALUE_BYTES_MAX, VALUES_PER_REQUIREMENT_MAX,
};

/// What a text says, before sorting.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) requirements: Vec<Requirement>,
    pub(super) patterns: Vec<String>,
}

/// A value, and whether it was quoted.
struct Value {
    text: String,
    at: usize,
    quoted: bool,
}

struct Scanner<'a> {
    text: &'a str,
    /// Byte offset of what comes next.
    at: usize,
}

/// Reads all of `text`.
pub(super) fn parse(text: &str) -> Result<Parts, SelectorError> {
    let mut scanner = Scanner { text, at: 0 };
    if text.len() > SELECTOR_BYTES_MAX {
        let at = text.floor_char_boundary(SELECTOR_BYTES_MAX);
        return Err(scanner.error_at(at, format!("a selector is at most {SELECTOR_BYTES_MAX} bytes long")));
    }
    let mut parts = Parts::default();
    scanner.space();
    if scanner.rest().is_empty() {
        return Err(scanner.error("the selector is empty; write `*` for everything"));
    }
    if scanner.eat("*") {
        scanner.space();
        return match scanner.rest() {
            "" => Ok(parts),
            _ => Err(scanner.error("expected the end: `*` is everything and stands alone")),
        };
    }
    loop {
        scanner.item(&mut parts)?;
        scanner.space();
        if scanner.rest().is_empty() {
            return Ok(parts);
        }
        scanner.comma()?;
    }
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn error(&self, message: impl Into<String>) -> SelectorError {
        self.error_at(self.at, message)
    }

    fn error_at(&self, at: usize, message: impl Into<String>) -> SelectorError {
        SelectorError { column: self.text[..at].chars().count() + 1, message: message.into() }
    }

    /// One requirement or payload pattern.
    fn item(&mut self, parts: &mut Parts) -> Result<(), SelectorError> {
        self.space();
        let at = self.at;
        let negated = self.eat("!");
        if negated {
            self.space();
        }
        let key = self.key(negated)?;
        self.space();
        if key == "payload" && self.rest().starts_with('~') {
            if negated {
                return Err(self.error_at(at, "a payload pattern cannot be negated"));
            }
            let pattern = self.pattern()?;
            if parts.patterns.len() == PATTERNS_PER_SELECTOR_MAX {
                return Err(self.error_at(
                    at,
                    format!("a selector has at most {PATTERNS_PER_SELECTOR_MAX} payload patterns"),
                ));
            }
            parts.patterns.push(pattern);
            return Ok(());
        }
        let operation = if negated { self.absent(key)? } else { self.operation(key)? };
        if parts.requirements.len() == REQUIREMENTS_PER_SELECTOR_MAX {
            return Err(self.error_at(
                at,
                format!("a selector has at most {REQUIREMENTS_PER_SELECTOR_MAX} requirements"),
            ));
        }
        parts.requirements.push(Requirement { key: key.to_owned(), operation });
        Ok(())
    }

    fn key(&mut self, negated: bool) -> Result<&'a str, SelectorError> {
        let at = self.at;
        let key = self.take_while(ast::is_key_character);
        if key.is_empty() {
            return Err(match self.peek() {
                Some('=') if negated => {
                    self.error("expected a tag key behind `!`; not equal is written `key!=value`")
                }
                Some('*') => self.error("expected a tag key; `*` is everything and stands alone"),
                Some('"' | '\'') => self.error("expected a tag key; keys are not quoted"),
                Some('(') => self.error("expected a tag key; parentheses stand only behind `in` and `notin`"),
                Some(',') => self.error("expected a requirement before `,`"),
                None if self.text.trim_end().ends_with(',') => {
                    self.error("expected a requirement behind `,`")
                }
                _ if negated => self.error("expected a tag key behind `!`"),
                _ => self.error("expected a tag key: letters, digits and . _ - /"),
            });
        }
        if key.len() > TAG_KEY_BYTES_MAX {
            return Err(self.error_at(at, format!("a tag key is at most {TAG_KEY_BYTES_MAX} bytes long")));
        }
        Ok(key)
    }

    /// Behind `!key`: nothing more may follow.
    fn absent(&self, key: &str) -> Result<Operation, SelectorError> {
        match self.peek() {
            Some('=') => {
                Err(self.error(format!("expected `,` or the end behind `!{key}`; write `{key}!=…`")))
            }
            Some('!' | '<' | '>' | '~') => {
                Err(self
                    .error(format!("expected `,` or the end: `!{key}` already requires that it is absent")))
            }
            _ => Ok(Operation::Absent),
        }
    }

    /// What follows a key.
    fn operation(&mut self, key: &str) -> Result<Operation, SelectorError> {
        let at = self.at;
        match self.peek() {
            None | Some(',') => Ok(Operation::Exists),
            Some('=') => {
                let operator = if self.eat("==") { "==" } else { &self.rest()[..1] };
                if operator == "=" {
                    self.at += 1;
                }
                self.after_equals(at)?;
                let value = self.value(operator)?;
                Ok(if !value.quoted && glob::is_glob(&value.text) {
                    match glob::canonical(&value.text) {
                        all if all == "*" => Operation::Exists,
                        glob => Operation::Glob(glob),
                    }
                } else {
                    Operation::Equals(value.text)
                })
            }
            Some('!') if self.eat("!=") => {
                let value = self.value("!=")?;
                Ok(if !value.quoted && glob::is_glob(&value.text) {
                    match glob::canonical(&value.text) {
                        all if all == "*" => Operation::Absent,
                        glob => Operation::NotGlob(glob),
                    }
                } else {
                    Operation::NotEquals(value.text)
                })
            }
            Some('<' | '>') => self.comparison(),
            Some(c) if c.is_alphabetic() => self.list_operation(key),
            Some('~') => Err(self.error(
                "`~` matches the payload only (`payload ~ /…/`); for tags there are globs: `key=web-*`",
            )),
            Some('!') => {
                Err(self
                    .error("expected `!=`; a payload pattern cannot be negated, and globs are `key!=web-*`"))
            }
            Some(':') => Err(self.error("expected an operator; tags are written `key=value`")),
            // What may follow a requirement is checked where requirements are joined.
            Some(_) => Ok(Operation::Exists),
        }
    }

    /// Operators of other languages that start with `=`.
    fn after_equals(&self, at: usize) -> Result<(), SelectorError> {
        match self.peek() {
            Some('~') => Err(self.error_at(at, "there is no `=~`; tags have globs: `key=web-*`")),
            Some('>') => Err(self.error_at(at, "there is no `=>`; write `>=`")),
            Some('<') => Err(self.error_at(at, "there is no `=<`; write `<=`")),
            Some('=') => Err(self.error("there is no `===`; write `=`")),
            _ => Ok(()),
        }
    }

    fn comparison(&mut self) -> Result<Operation, SelectorError> {
        let at = self.at;
        if self.eat("<>") {
            return Err(self.error_at(at, "there is no `<>`; write `!=`"));
        }
        let comparison =
            [Comparison::LessOrEqual, Comparison::GreaterOrEqual, Comparison::Less, Comparison::Greater]
                .into_iter()
                .find(|comparison| self.eat(comparison.symbol()))
                .ok_or_else(|| self.error("expected an operator"))?;
        self.space();
        let at = self.at;
        let symbol = comparison.symbol();
        match number::parse(self.take_while(ast::is_bare).as_bytes()) {
            Some(bound) => Ok(Operation::Compare(comparison, bound.canonical())),
            None => Err(self
                .error_at(at, format!("expected a decimal number behind `{symbol}`, like 10, -0.5 or 1e9"))),
        }
    }

    /// `in (…)` and `notin (…)`.
    fn list_operation(&mut self, key: &str) -> Result<Operation, SelectorError> {
        let at = self.at;
        let word = self.take_while(ast::is_key_character);
        let contains = match word {
            "in" => true,
            "notin" => false,
            _ => return Err(self.error_at(at, self.not_an_operator(key, word))),
        };
        let values = self.list(word)?;
        let alone = |mut values: Vec<String>| values.swap_remove(0);
        Ok(match (contains, values.len()) {
            (true, 1) => Operation::Equals(alone(values)),
            (false, 1) => Operation::NotEquals(alone(values)),
            (true, _) => Operation::In(values),
            (false, _) => Operation::NotIn(values),
        })
    }

    /// What to say about a word that stands where an operator should.
    fn not_an_operator(&self, key: &str, word: &str) -> String {
        match word.to_ascii_lowercase().as_str() {
            "in" | "notin" => {
                format!("operators are written in small letters: `{}`", word.to_ascii_lowercase())
            }
            "not" => "there is no `not in`; write `notin`".to_owned(),
            "and" => "expected `,` or an operator; requirements are joined by `,`".to_owned(),
            "or" => OR.to_owned(),
            "is" | "eq" => format!("expected an operator; write `{key}=…`"),
            _ => format!(
                "expected `,` or an operator (= != in notin < <= > >=) behind `{key}`, found `{}`",
                excerpt(word)
            ),
        }
    }

    /// `(a,b)`, sorted and unique.
    fn list(&mut self, word: &str) -> Result<Vec<String>, SelectorError> {
        self.space();
        let open = self.at;
        if !self.eat("(") {
            return Err(self.error(format!("expected `(` behind `{word}`: `{word} (a,b)`")));
        }
        let mut values = Vec::new();
        loop {
            let value = self.value(LIST)?;
            if !value.quoted && glob::is_glob(&value.text) {
                return Err(self.error_at(
                    value.at,
                    format!("a list has no globs; write \"{}\" if you mean that text", value.text),
                ));
            }
            if values.len() == VALUES_PER_REQUIREMENT_MAX {
                return Err(self
                    .error_at(value.at, format!("a list has at most {VALUES_PER_REQUIREMENT_MAX} values")));
            }
            values.push(value.text);
            self.space();
            if self.eat(")") {
                break;
            }
            if !self.eat(",") {
                let column = self.error_at(open, "").column;
                return Err(self.error(match self.peek() {
                    None => format!("expected `,` or `)`: the `(` at column {column} is not closed"),
                    _ => "expected `,` or `)`; a value with spaces or signs is quoted: \"…\"".to_owned(),
                }));
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// A value: bare, in double quotes, or empty where nothing stands before the next sign, as in
    /// Kubernetes; `behind` says what it stands behind.
    fn value(&mut self, behind: &str) -> Result<Value, SelectorError> {
        self.space();
        let at = self.at;
        let quoted = self.eat("\"");
        let text = if quoted { self.quoted(at)? } else { self.take_while(ast::is_bare).to_owned() };
        if text.is_empty() && !quoted {
            let (place, is_list) = match behind {
                LIST => ("in the list".to_owned(), true),
                _ => (format!("behind `{behind}`"), false),
            };
            match self.peek() {
                Some('\'') => return Err(self.error("expected a value; quotes are double: \"…\"")),
                // The list says that it is not closed.
                None | Some(',') => {}
                Some(')') if is_list => {}
                Some(c) => {
                    return Err(
                        self.error(format!("expected a value {place}; a value with `{c}` is quoted: \"…\""))
                    );
                }
            }
        }
        if text.len() > TAG_VALUE_BYTES_MAX {
            return Err(self.error_at(at, format!("a tag value is at most {TAG_VALUE_BYTES_MAX} bytes long")));
        }
        Ok(Value { text, at, quoted })
    }

    /// What stands between quotes, the first of which (at `open`) is taken.
    fn quoted(&mut self, open: usize) -> Result<String, SelectorError> {
        let mut text = String::new();
        loop {
            let at = self.at;
            let Some(c) = self.peek() else {
                return Err(self.error_at(open, "this quote is not closed: expected `\"` at the end"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(text),
                '\\' => match self.peek() {
                    Some(escaped) if escaped.is_ascii_punctuation() => {
                        self.at += 1;
                        text.push(escaped);
                    }
                    _ => {
                        return Err(
                            self.error_at(at, "expected `\\\"`, `\\\\` or another sign behind a backslash")
                        );
                    }
                },
                _ if c.is_control() => {
                    return Err(self.error_at(at, "a tag value has no control characters"));
                }
                _ => text.push(c),
            }
        }
    }

    /// `~ /regex/`, the slashes of the regex escaped.
    fn pattern(&mut self) -> Result<String, SelectorError> {
        self.at += 1;
        self.space();
        let open = self.at;
        if !self.eat("/") {
            return Err(
                self.error("expected `/` behind `payload ~`: a pattern stands between slashes, `/…/`")
            );
        }
        let start = self.at;
        let mut pattern = String::new();
        // Offsets in `pattern` before which a backslash was left out.
        let mut unescaped = Vec::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.error_at(open, "this pattern is not closed: expected `/` at the end"));
            };
            self.at += c.len_utf8();
            match c {
                '/' => break,
                '\\' => match self.peek() {
                    Some('/') => {
                        unescaped.push(pattern.len());
                        pattern.push('/');
                        self.at += 1;
                    }
                    Some(escaped) => {
                        pattern.extend(['\\', escaped]);
                        self.at += escaped.len_utf8();
                    }
                    None => pattern.push('\\'),
                },
                _ => pattern.push(c),
            }
        }
        if pattern.is_empty() {
            return Err(self.error_at(open, "expected a regular expression between the slashes"));
        }
        if self.peek().is_some_and(char::is_alphabetic) {
            return Err(self.error("flags stand inside the pattern: `/(?i)…/` ignores case"));
        }
        payload::check(&pattern).map_err(|(offset, message)| {
            let left_out = unescaped.iter().filter(|&&at| at <= offset).count();
            let at = self.text.floor_char_boundary((start + offset + left_out).min(self.at));
            self.error_at(at, format!("not a regular expression: {message}"))
        })?;
        Ok(pattern)
    }

    /// What joins two requirements.
    fn comma(&mut self) -> Result<(), SelectorError> {
        if self.eat(",") {
            return Ok(());
        }
        let word = self.rest().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        Err(self.error(match (self.peek(), word) {
            (Some('&'), _) | (_, "and" | "AND") => {
                "expected `,`: requirements are joined by `,`, all must hold".to_owned()
            }
            (Some('|'), _) | (_, "or" | "OR") => OR.to_owned(),
            (Some(';'), _) => "expected `,`: requirements are joined by `,`".to_owned(),
            (Some(')'), _) => "expected `,` or the end: no `(` is open here".to_owned(),
            (Some('('), _) => {
                "expected `,` or the end: parentheses stand only behind `in` and `notin`".to_owned()
            }
            _ => format!(
                "expected `,` or the end, found `{}`; a value with spaces or signs is quoted: \"…\"",
                excerpt(self.rest())
            ),
        }))
    }
}

/// What the values of a list stand behind.
const LIST: &str = "in a list";

const OR: &str = "there is no `or` within a selector: write `key in (a,b)`, or give several selectors, any of which may match";

/// The start of `text`, short enough for a message.
fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(20)]
}
