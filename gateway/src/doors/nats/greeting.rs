//! `INFO` of the door and `CONNECT` of a client.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::parser::PAYLOAD_BYTES_MAX;

/// The server version whose core protocol this is: clients decide by it what they may use.
const VERSION: &str = "2.12.0";

#[derive(Serialize)]
struct Info<'a> {
    server_id: &'a str,
    server_name: &'a str,
    version: &'a str,
    proto: u8,
    headers: bool,
    max_payload: usize,
    client_id: u64,
    client_ip: IpAddr,
    host: &'a str,
    port: u16,
    jetstream: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    auth_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_verify: bool,
}

/// What a client is greeted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Greeting {
    pub(super) client: u64,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) asks_for_token: bool,
    pub(super) has_tls: bool,
    pub(super) asks_for_certificate: bool,
}

impl Greeting {
    /// The line of `INFO`.
    pub(super) fn line(self) -> String {
        let Self { client, ip, port, asks_for_token, has_tls, asks_for_certificate } = self;
        let info = Info {
            server_id: "MILLRACE",
            server_name: "millrace-gateway",
            version: VERSION,
            proto: 1,
            headers: true,
            max_payload: PAYLOAD_BYTES_MAX,
            client_id: client,
            client_ip: ip,
            host: "0.0.0.0",
            port,
            jetstream: false,
            auth_required: asks_for_token,
            tls_required: has_tls,
            tls_verify: asks_for_certificate,
        };
        // Numbers and texts always serialise.
        format!("INFO {}\r\n", serde_json::to_string(&info).unwrap_or_default())
    }
}

/// What a client says of itself; what else it says is nothing to this door.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Connect {
    pub(super) verbose: bool,
    pub(super) echo: bool,
    pub(super) headers: bool,
    pub(super) no_responders: bool,
    pub(super) auth_token: Option<String>,
    pub(super) pass: Option<String>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            verbose: false,
            echo: true,
            headers: false,
            no_responders: false,
            auth_token: None,
            pass: None,
        }
    }
}

impl Connect {
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// What proves its identity, if a token does: a token alone, or a password whatever the name.
    pub(super) fn token(&self) -> Option<&str> {
        self.auth_token.as_deref().or(self.pass.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_hear_which_proof_the_door_asks_for() {
        let plain = Greeting {
            client: 7,
            ip: IpAddr::from([10, 0, 0, 1]),
            port: 4222,
            asks_for_token: false,
            has_tls: false,
            asks_for_certificate: false,
        };
        let line = plain.line();
        assert!(!line.contains("tls_") && !line.contains("auth_required"), "{line}");
        let line = Greeting { has_tls: true, asks_for_certificate: true, ..plain }.line();
        assert!(line.contains("\"tls_required\":true") && line.contains("\"tls_verify\":true"), "{line}");
    }
}
