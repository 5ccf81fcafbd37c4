//! Kinds of values: how each is written in the file, its range, and how it is printed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use millrace_engine::control::Rebalance;
use millrace_quic::{AddressBlock, AddressBlockError};
use toml::Value;

use super::address;
use super::compression::Compression;
use super::pinning::Pinning;

/// How the values of a setting are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// Placeholder in help texts, such as `TIME`.
    pub(crate) placeholder: &'static str,
    /// What may be written, with its unit and range.
    pub(crate) range: String,
}

/// How a setting's value of type `T` is written.
pub(crate) trait Kind<T> {
    /// For help and reference.
    fn form(&self) -> Form;

    /// Reads a value of the file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn read(&self, value: &Value) -> Result<T, String>;

    /// The value as the file has it; none where it is unset.
    fn show(&self, value: &T) -> Option<Value>;

    /// The text of a flag or an environment variable as a value of the file.
    fn value_of(&self, text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

pub(super) fn form(placeholder: &'static str, range: impl Into<String>) -> Form {
    Form { placeholder, range: range.into() }
}

pub(super) fn text_of(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("`{value}` is not a text in quotes"))
}

/// Texts of a list, of which the value may be the only one.
fn texts_of(value: &Value) -> Result<Vec<&str>, String> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(texts) => texts.iter().map(text_of).collect(),
        value => Err(format!("`{value}` is not a list such as [\"a\", \"b\"]")),
    }
}

fn list_of(text: &str) -> Value {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
}

/// A number in its range.
pub(crate) struct Count {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

macro_rules! counts {
    ($($number:ty),+) => {$(
        impl Kind<$number> for Count {
            fn form(&self) -> Form {
                form("N", format!("a number from {} to {}", self.min, self.max))
            }

            fn read(&self, value: &Value) -> Result<$number, String> {
                let number = value.as_integer().ok_or_else(|| format!("`{value}` is not a whole number"))?;
                let fits = u64::try_from(number).is_ok_and(|number| (self.min..=self.max).contains(&number));
                <$number>::try_from(number)
                    .ok()
                    .filter(|_| fits)
                    .ok_or_else(|| format!("{number} is not between {} and {}", self.min, self.max))
            }

            fn show(&self, value: &$number) -> Option<Value> {
                i64::try_from(*value).ok().map(Value::Integer)
            }

            fn value_of(&self, text: &str) -> Value {
                text.trim().parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
            }
        }
    )+};
}
counts!(u16, u32, usize);

/// A number that follows from others unless it is set.
impl Kind<Option<usize>> for Count {
    fn form(&self) -> Form {
        Kind::<usize>::form(self)
    }

    fn read(&self, value: &Value) -> Result<Option<usize>, String> {
        Kind::<usize>::read(self, value).map(Some)
    }

    fn show(&self, value: &Option<usize>) -> Option<Value> {
        value.as_ref().and_then(|value| Kind::<usize>::show(self, value))
    }

    fn value_of(&self, text: &str) -> Value {
        Kind::<usize>::value_of(self, text)
    }
}

/// A duration, such as `250ms` or `1m 30s`.
pub(crate) struct Span {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Kind<Duration> for Span {
    fn form(&self) -> Form {
        let shown = |time| humantime::format_duration(time).to_string();
        form("TIME", format!("a time, `\"{}\"` to `\"{}\"`", shown(self.min), shown(self.max)))
    }

    fn read(&self, value: &Value) -> Result<Duration, String> {
        let wrong = "is not a duration such as \"250ms\" or \"5s\"";
        let text = value.as_str().ok_or_else(|| format!("`{value}` {wrong}"))?;
        let time = humantime::parse_duration(text).map_err(|error| format!("`{text}` {wrong}: {error}"))?;
        if !(self.min..=self.max).contains(&time) {
            let shown = |time| humantime::format_duration(time).to_string();
            return Err(format!(
                "{} is not between {} and {}",
                shown(time),
                shown(self.min),
                shown(self.max)
            ));
        }
        Ok(time)
    }

    fn show(&self, value: &Duration) -> Option<Value> {
        Some(Value::String(humantime::format_duration(*value).to_string()))
    }
}

/// `true` or `false`.
pub(crate) struct Switch;

impl Switch {
    pub(crate) const PLACEHOLDER: &str = "BOOL";
}

impl Kind<bool> for Switch {
    fn form(&self) -> Form {
        form(Self::PLACEHOLDER, "`true` or `false`")
    }

    fn read(&self, value: &Value) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| format!("`{value}` is neither true nor false"))
    }

    fn show(&self, value: &bool) -> Option<Value> {
        Some(Value::Boolean(*value))
    }

    fn value_of(&self, text: &str) -> Value {
        text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean)
    }
}

/// Text of at most so many bytes, without control characters.
pub(crate) struct Text {
    pub(crate) max: usize,
}

impl Kind<Option<String>> for Text {
    fn form(&self) -> Form {
        form("TEXT", format!("text of at most {} bytes", self.max))
    }

    fn read(&self, value: &Value) -> Result<Option<String>, String> {
        let text = text_of(value)?;
        if text.len() > self.max {
            return Err(format!("it is longer than {} bytes", self.max));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("{text:?} has a control character in it"));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(&self, value: &Option<String>) -> Option<Value> {
        value.clone().map(Value::String)
    }
}

/// What of the log is written.
pub(crate) struct LogFilter;

impl Kind<Option<String>> for LogFilter {
    fn form(&self) -> Form {
        form("FILTER", "a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or levels by module")
    }

    fn read(&self, value: &Value) -> Result<Option<String>, String> {
        let text = text_of(value)?;
        crate::logs::parse(text).map(|_| Some(text.to_owned()))
    }

    fn show(&self, value: &Option<String>) -> Option<Value> {
        value.clone().map(Value::String)
    }
}

/// A file.
pub(crate) struct File;

impl Kind<Option<PathBuf>> for File {
    fn form(&self) -> Form {
        form("FILE", "a path")
    }

    fn read(&self, value: &Value) -> Result<Option<PathBuf>, String> {
        match text_of(value)? {
            "" => Err("it names no file; leave the key out".into()),
            path => Ok(Some(path.into())),
        }
    }

    fn show(&self, value: &Option<PathBuf>) -> Option<Value> {
        value.as_ref().map(|path| Value::String(path.display().to_string()))
    }
}

/// An address of this host.
pub(crate) struct Listen;

impl Kind<Option<SocketAddr>> for Listen {
    fn form(&self) -> Form {
        form("ADDR:PORT", "an address of this host with a port")
    }

    fn read(&self, value: &Value) -> Result<Option<SocketAddr>, String> {
        address::listened(text_of(value)?).map(Some)
    }

    fn show(&self, value: &Option<SocketAddr>) -> Option<Value> {
        value.map(|address| Value::String(address.to_string()))
    }
}

/// An address of this host, or `off`.
pub(crate) struct ListenOrOff;

impl Kind<Option<SocketAddr>> for ListenOrOff {
    fn form(&self) -> Form {
        form("ADDR:PORT", "an address of this host with a port, or `off`")
    }

    fn read(&self, value: &Value) -> Result<Option<SocketAddr>, String> {
        match text_of(value)? {
            "off" => Ok(None),
            // Not 7400, which clients dial.
            text if text.parse::<IpAddr>().is_ok() => Err(format!(
                "`{text}` has no port: write ADDR:PORT, usually port 7401, over TLS 7402 (or `off`)"
            )),
            text => address::listened(text).map(Some).map_err(|problem| format!("{problem} (or `off`)")),
        }
    }

    fn show(&self, value: &Option<SocketAddr>) -> Option<Value> {
        Some(Value::String(value.map_or_else(|| "off".to_owned(), |address| address.to_string())))
    }
}

/// How others reach this router.
pub(crate) struct Advertise;

impl Kind<Option<String>> for Advertise {
    fn form(&self) -> Form {
        form("HOST:PORT", "a name or an address that other hosts can dial, with its port")
    }

    fn read(&self, value: &Value) -> Result<Option<String>, String> {
        address::advertised(text_of(value)?).map(|address| Some(address.to_string()))
    }

    fn show(&self, value: &Option<String>) -> Option<Value> {
        value.clone().map(Value::String)
    }
}

/// Where other routers are.
pub(crate) struct Seeds;

impl Kind<Vec<String>> for Seeds {
    fn form(&self) -> Form {
        form("NAME", "a list of `HOST:PORT`, names of DNS, or SRV names")
    }

    fn read(&self, value: &Value) -> Result<Vec<String>, String> {
        let seeds = texts_of(value)?.into_iter().map(|seed| address::seed(seed).map(|()| seed.to_owned()));
        seeds.collect()
    }

    fn show(&self, value: &Vec<String>) -> Option<Value> {
        Some(Value::Array(value.iter().cloned().map(Value::String).collect()))
    }

    fn value_of(&self, text: &str) -> Value {
        list_of(text)
    }
}

/// Networks by address and bits.
pub(crate) struct Networks;

impl Kind<Vec<AddressBlock>> for Networks {
    fn form(&self) -> Form {
        form("ADDR/BITS", "a list of networks, an address and its leading bits each")
    }

    fn read(&self, value: &Value) -> Result<Vec<AddressBlock>, String> {
        let networks = texts_of(value)?.into_iter().map(str::parse);
        networks.collect::<Result<_, _>>().map_err(|error: AddressBlockError| error.to_string())
    }

    fn show(&self, value: &Vec<AddressBlock>) -> Option<Value> {
        Some(Value::Array(value.iter().map(|network| Value::String(network.to_string())).collect()))
    }

    fn value_of(&self, text: &str) -> Value {
        list_of(text)
    }
}

/// Servers that are asked by their addresses.
pub(crate) struct Servers;

impl Kind<Vec<SocketAddr>> for Servers {
    fn form(&self) -> Form {
        form("ADDR:PORT", "a list of addresses with ports")
    }

    fn read(&self, value: &Value) -> Result<Vec<SocketAddr>, String> {
        texts_of(value)?.into_iter().map(address::server).collect()
    }

    fn show(&self, value: &Vec<SocketAddr>) -> Option<Value> {
        Some(Value::Array(value.iter().map(|server| Value::String(server.to_string())).collect()))
    }

    fn value_of(&self, text: &str) -> Value {
        list_of(text)
    }
}

/// `auto` or `off`.
pub(crate) struct AutoOrOff;

impl Kind<Rebalance> for AutoOrOff {
    fn form(&self) -> Form {
        form("MODE", "`auto` or `off`")
    }

    fn read(&self, value: &Value) -> Result<Rebalance, String> {
        match value.as_str() {
            Some("auto") => Ok(Rebalance::Auto),
            Some("off") => Ok(Rebalance::Off),
            _ => Err(format!("`{value}` is neither \"auto\" nor \"off\"")),
        }
    }

    fn show(&self, value: &Rebalance) -> Option<Value> {
        Some(Value::String(value.name().to_owned()))
    }
}

/// How bytes are made smaller.
pub(crate) struct Packing;

impl Kind<Compression> for Packing {
    fn form(&self) -> Form {
        form("MODE", "`none` or `zstd`")
    }

    fn read(&self, value: &Value) -> Result<Compression, String> {
        let named = value.as_str().and_then(Compression::named);
        named.ok_or_else(|| format!("`{value}` is neither \"none\" nor \"zstd\""))
    }

    fn show(&self, value: &Compression) -> Option<Value> {
        Some(Value::String(value.name().to_owned()))
    }
}

/// CPUs for the cores.
pub(crate) struct Pin;

impl Kind<Pinning> for Pin {
    fn form(&self) -> Form {
        form("CPUS", "`auto`, `on`, `off`, or a list of CPU numbers such as `[0, 2, 4]`")
    }

    fn read(&self, value: &Value) -> Result<Pinning, String> {
        let wrong = || format!("`{value}` is neither \"auto\", \"on\", \"off\" nor a list of CPU numbers");
        match value {
            Value::String(word) if word == "auto" => Ok(Pinning::Auto),
            Value::String(word) if word == "on" => Ok(Pinning::On),
            Value::String(word) if word == "off" => Ok(Pinning::Off),
            // As the flag has it.
            Value::String(text) if Kind::<Pinning>::value_of(self, text).is_array() => {
                self.read(&Kind::<Pinning>::value_of(self, text))
            }
            Value::Array(numbers) => {
                let number =
                    |number: &Value| number.as_integer().and_then(|number| usize::try_from(number).ok());
                numbers.iter().map(number).collect::<Option<Vec<_>>>().map(Pinning::Cpus).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn show(&self, value: &Pinning) -> Option<Value> {
        Some(match value {
            Pinning::Auto => Value::String("auto".into()),
            Pinning::On => Value::String("on".into()),
            Pinning::Off => Value::String("off".into()),
            Pinning::Cpus(cpus) => {
                let numbers = cpus.iter().filter_map(|&cpu| i64::try_from(cpu).ok());
                Value::Array(numbers.map(Value::Integer).collect())
            }
        })
    }

    fn value_of(&self, text: &str) -> Value {
        let numbers: Result<Vec<i64>, _> = text.split(',').map(|number| number.trim().parse()).collect();
        match numbers {
            Ok(numbers) => Value::Array(numbers.into_iter().map(Value::Integer).collect()),
            Err(_) => Value::String(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::size::Size;

    #[test]
    fn sizes_and_times_say_what_was_expected_and_print_as_they_are_written() {
        let size = Size { min: 1024, max: 1 << 30 };
        let read = |text: &str| Kind::<u64>::read(&size, &Value::String(text.into()));
        assert_eq!(read("64KiB"), Ok(65_536));
        assert_eq!(Kind::<u64>::show(&size, &65_536), Some(Value::String("64KiB".into())));
        assert!(read("many").unwrap_err().contains("64KiB"));
        assert_eq!(read("1B").unwrap_err(), "1B is not between 1KiB and 1GiB");
        let span = Span { min: Duration::from_millis(1), max: Duration::from_secs(60) };
        assert!(span.read(&Value::String("soon".into())).unwrap_err().contains("250ms"));
        assert!(span.read(&Value::Integer(5)).unwrap_err().contains("250ms"));
        assert!(span.read(&Value::String("2m".into())).unwrap_err().contains("between 1ms and 1m"));
    }

    #[test]
    fn pins_are_words_or_numbers() {
        let numbers = Pinning::Cpus(vec![0, 2]);
        for (text, pinning) in
            [("auto", Pinning::Auto), ("on", Pinning::On), ("off", Pinning::Off), ("0, 2", numbers)]
        {
            assert_eq!(Pin.read(&Pin.value_of(text)), Ok(pinning));
        }
        assert_eq!(
            Pin.read(&Value::String("0, 2".into())),
            Ok(Pinning::Cpus(vec![0, 2])),
            "as the flag has it"
        );
        assert!(Pin.read(&Pin.value_of("some")).is_err());
        let admin = |text: &str| ListenOrOff.read(&Value::String(text.into())).unwrap_err();
        assert!(admin("0.0.0.0").contains("7401") && admin("::1").contains("7401"));
    }
}
