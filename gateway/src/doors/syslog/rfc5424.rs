//! RFC 5424: `<165>1 2003-10-11T22:14:15.003Z host app 8710 ID47 [id@32473 name="value"] text`.

use std::borrow::Cow;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::message::Message;
use super::priority::Priority;

/// Parameters of structured data that are read; more than fit into tags.
const PARAMETERS_MAX: usize = 64;
/// UTF-8 that says so (section 6.4).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads what follows the priority; `None` if it is not of this format.
#[must_use]
pub fn read(priority: Priority, rest: &[u8]) -> Option<Message<'_>> {
    let mut rest = rest.strip_prefix(b"1 ")?;
    let [time, host, app, procid, msgid] = [(); 5].map(|()| word(&mut rest));
    let (time, host, app, procid, msgid) = (time?, host?, app?, procid?, msgid?);
    let (data, rest) = structured_data(rest)?;
    let text = match rest {
        [] => rest,
        [b' ', text @ ..] => text,
        _ => return None,
    };
    Some(Message {
        priority,
        // A time that cannot be read is no reason to lose the rest.
        time: time.and_then(|time| OffsetDateTime::parse(&time, &Rfc3339).ok()).map(SystemTime::from),
        host,
        app,
        procid,
        msgid,
        data,
        text: text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text),
    })
}

/// Takes a word and the space behind it; `-` is none. `None` if there is no word.
#[expect(clippy::option_option, reason = "no word at all is another thing than the word that says none")]
fn word<'a>(rest: &mut &'a [u8]) -> Option<Option<Cow<'a, str>>> {
    let end = rest.iter().position(|&byte| byte == b' ')?;
    let (word, behind) = rest.split_at(end);
    *rest = &behind[1..];
    if word.is_empty() {
        return None;
    }
    Some((word != b"-").then(|| String::from_utf8_lossy(word)))
}

/// Element, name, value.
type Parameter<'a> = (&'a str, &'a str, Cow<'a, str>);

/// Takes structured data; `-` is none.
fn structured_data(rest: &[u8]) -> Option<(Vec<Parameter<'_>>, &[u8])> {
    if let Some(rest) = rest.strip_prefix(b"-") {
        return Some((Vec::new(), rest));
    }
    let (mut data, mut rest) = (Vec::new(), rest);
    rest.starts_with(b"[").then_some(())?;
    while let Some(element) = rest.strip_prefix(b"[") {
        rest = element;
        let id = name(&mut rest)?;
        loop {
            match rest {
                [b']', behind @ ..] => {
                    rest = behind;
                    break;
                }
                [b' ', behind @ ..] => {
                    rest = behind;
                    let name = name(&mut rest)?;
                    let value = value(&mut rest)?;
                    if data.len() < PARAMETERS_MAX {
                        data.push((id, name, value));
                    }
                }
                _ => return None,
            }
        }
    }
    Some((data, rest))
}

/// Takes a name: printable ASCII without `=`, space, `]` and `"`.
fn name<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|byte| !byte.is_ascii_graphic() || b"=]\"".contains(byte))?;
    let (name, behind) = rest.split_at(end);
    *rest = behind;
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty())
}

/// Takes `="value"`, in which `\` stands before `"`, `\` and `]`.
fn value<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, str>> {
    let text = rest.strip_prefix(b"=\"")?;
    let mut end = 0;
    let mut has_escapes = false;
    loop {
        match text.get(end)? {
            b'"' => break,
            b'\\' if matches!(text.get(end + 1), Some(b'"' | b'\\' | b']')) => {
                has_escapes = true;
                end += 2;
            }
            _ => end += 1,
        }
    }
    *rest = &text[end + 1..];
    let raw = String::from_utf8_lossy(&text[..end]);
    Some(if has_escapes { unescaped(&raw).into() } else { raw })
}

fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next_if(|next| ['"', '\\', ']'].contains(next)).unwrap_or('\\')),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Option<Message<'_>> {
        let (priority, rest) = Priority::take(text.as_bytes())?;
        read(priority, rest)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let read = message(
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick",
        )
        .unwrap();
        assert_eq!(read.host.as_deref(), Some("mymachine.example.com"));
        assert_eq!(
            (read.app.as_deref(), read.procid, read.msgid.as_deref()),
            (Some("su"), None, Some("ID47"))
        );
        assert_eq!(read.text, b"'su root' failed for lonvick");
        let time = OffsetDateTime::from(read.time.unwrap());
        assert_eq!((time.year(), time.millisecond()), (2003, 3));
        let read = message(
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 evntslog 8710 ID47 \
             [exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"\\]\\\\ x\\y\"][examplePriority@32473 class=\"high\"]",
        )
        .unwrap();
        let data: Vec<(&str, &str, &str)> =
            read.data.iter().map(|(id, name, value)| (*id, *name, &**value)).collect();
        assert_eq!(
            data,
            [
                ("exampleSDID@32473", "iut", "3"),
                ("exampleSDID@32473", "eventSource", "App\"]\\ x\\y"),
                ("examplePriority@32473", "class", "high")
            ]
        );
        assert_eq!(read.text, b"");
    }

    #[test]
    fn other_formats_are_left_to_others() {
        for other in [
            "<34>Oct 11 22:14:15 mymachine su: failed",
            "<34>1",
            "<34>1 - - - - ",
            "<34>1 - - - - - [x",
            "<34>1 - - - - - [x y=\"z]",
            "<34>1 - - - - - -text",
        ] {
            assert_eq!(message(other), None, "{other}");
        }
        assert_eq!(message("<34>1 bad-time - - - - - x").unwrap().time, None);
    }
}
