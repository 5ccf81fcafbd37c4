//! The syslog door's section, checked.

use std::net::SocketAddr;

use time::UtcOffset;

use super::access;
use super::door::{DoorSettings, TlsFiles, door, listen};
use super::error::SettingsError;
use super::file::SyslogFile;
use crate::admission::Access;

/// The syslog door, as far as it is open.
#[derive(Debug, Clone)]
pub struct SyslogSettings {
    /// Where datagrams are taken, and from whom.
    pub udp: Option<(SocketAddr, Access)>,
    /// Where TCP connections are taken.
    pub tcp: Option<DoorSettings>,
    /// Where TLS connections are taken.
    pub tls: Option<DoorSettings>,
    /// The zone of times that have none.
    pub zone: UtcOffset,
}

/// Checks the section.
///
/// # Errors
/// [`SettingsError`] names the setting.
pub(super) fn syslog(file: &SyslogFile, accept_open_keys: bool) -> Result<SyslogSettings, SettingsError> {
    let SyslogFile { udp, tcp, tls, cert, key, client_ca, tz, identity } = file;
    let (cert, key, authority) = (cert.as_deref(), key.as_deref(), client_ca.as_deref());
    let files = TlsFiles { cert, key, client_ca: authority, accept_open_keys };
    let has_client_ca = client_ca.is_some();
    let udp = match listen("syslog.udp", udp.as_deref(), None)? {
        None => None,
        Some(at) => Some((at, access::access("syslog", &[at], identity, has_client_ca)?)),
    };
    let tcp = match listen("syslog.tcp", tcp.as_deref(), None)? {
        None => None,
        Some(at) => {
            let access = access::access("syslog", &[at], identity, has_client_ca)?;
            Some(DoorSettings { listen: at, tls: None, access })
        }
    };
    let tls = match listen("syslog.tls", tls.as_deref(), None)? {
        None => None,
        Some(_) if cert.is_none() || key.is_none() => {
            return Err(SettingsError::HalfIdentity { section: "syslog" });
        }
        Some(at) => Some(door("syslog", at, files, identity)?),
    };
    let zone = zone("syslog.tz", tz.as_deref())?;
    Ok(SyslogSettings { udp, tcp, tls, zone })
}

/// A zone; UTC when nothing is said.
///
/// # Errors
/// [`SettingsError::Zone`].
pub(crate) fn zone(key: &'static str, text: Option<&str>) -> Result<UtcOffset, SettingsError> {
    let read = |text| offset(text).ok_or_else(|| SettingsError::Zone { key, text: text.to_owned() });
    text.map_or(Ok(UtcOffset::UTC), read)
}

/// Reads `+02:00`, `-0700` or `Z`.
fn offset(text: &str) -> Option<UtcOffset> {
    if text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits = text.get(1..)?.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let number = |text: &str| text.parse::<i8>().ok().filter(|_| text.len() == 2);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let is_zone = (0..=14).contains(&hours) && (0..60).contains(&minutes);
    is_zone.then(|| UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_of_other_hosts_reach_a_socket_that_lists_them() {
        let list = "[[syslog.identity]]\nname = 'rack'\nnetworks = ['10.0.0.0/8']\n";
        for key in ["udp", "tcp"] {
            let of = |more| {
                let file = crate::settings::File::parse(&format!("[syslog]\n{key} = '0.0.0.0:514'\n{more}"));
                syslog(&file.unwrap().syslog, false)
            };
            assert!(of(list).is_ok(), "{key}");
            assert!(of("").is_err(), "{key}");
        }
    }

    #[test]
    fn zones_are_offsets() {
        let seconds = |text| offset(text).map(UtcOffset::whole_seconds);
        assert_eq!([seconds("+02:00"), seconds("-0730"), seconds("Z")], [Some(7200), Some(-27000), Some(0)]);
        for wrong in ["", "2", "+2", "+25:00", "Europe/Berlin", "+0x:00"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
