//! Topic aliases: numbers that stand for topics on one connection (MQTT 5, section 3.3.2.3.4).

use std::collections::HashMap;

use super::codec::Code;

/// Aliases that a client may use, and that the door uses.
pub(super) const TOPIC_ALIASES_MAX: u16 = 64;

/// Topics that a client has numbered. A topic has 1,024 bytes at most where it counts, but a client
/// may number longer ones: 64 of 64 KiB.
#[derive(Debug, Default)]
pub(super) struct Heard(HashMap<u16, String>);

impl Heard {
    /// The topic that a message means.
    pub(super) fn topic(&mut self, topic: String, alias: Option<u16>) -> Result<String, Code> {
        match alias {
            None => Ok(topic),
            Some(alias) if alias == 0 || alias > TOPIC_ALIASES_MAX => Err(Code::TOPIC_ALIAS),
            Some(alias) if topic.is_empty() => self.0.get(&alias).cloned().ok_or(Code::PROTOCOL),
            Some(alias) => {
                self.0.insert(alias, topic.clone());
                Ok(topic)
            }
        }
    }
}

/// Topics that the door has numbered: the first ones, because those are mostly the ones that come
/// again.
#[derive(Debug)]
pub(super) struct Told {
    numbers: HashMap<String, u16>,
    max: u16,
}

/// How a topic is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alias {
    /// Without a number.
    None,
    /// The client is told its number.
    New(u16),
    /// The client knows its number.
    Known(u16),
}

impl Told {
    /// For a client that keeps so many.
    pub(super) fn new(max: u16) -> Self {
        Self { numbers: HashMap::new(), max: max.min(TOPIC_ALIASES_MAX) }
    }

    pub(super) fn of(&self, topic: &str) -> Alias {
        let next = u16::try_from(self.numbers.len() + 1).unwrap_or(u16::MAX);
        match self.numbers.get(topic) {
            Some(number) => Alias::Known(*number),
            None if next <= self.max => Alias::New(next),
            None => Alias::None,
        }
    }

    /// The client was told a number.
    pub(super) fn told(&mut self, topic: String, number: u16) {
        self.numbers.insert(topic, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_the_topic_it_came_with_last() {
        let mut heard = Heard::default();
        assert_eq!(heard.topic("a".into(), Some(1)).as_deref(), Ok("a"));
        assert_eq!(heard.topic(String::new(), Some(1)).as_deref(), Ok("a"));
        assert_eq!(heard.topic("b".into(), Some(1)).as_deref(), Ok("b"));
        assert_eq!(heard.topic(String::new(), Some(1)).as_deref(), Ok("b"));
        assert_eq!(heard.topic(String::new(), Some(2)), Err(Code::PROTOCOL));
        assert_eq!(heard.topic("a".into(), Some(0)), Err(Code::TOPIC_ALIAS));
        assert_eq!(heard.topic("a".into(), Some(TOPIC_ALIASES_MAX + 1)), Err(Code::TOPIC_ALIAS));
    }

    #[test]
    fn the_first_topics_get_numbers() {
        let mut told = Told::new(1);
        assert_eq!(told.of("a"), Alias::New(1));
        told.told("a".into(), 1);
        assert_eq!((told.of("a"), told.of("b")), (Alias::Known(1), Alias::None));
        assert_eq!(Told::new(0).of("a"), Alias::None);
    }
}
