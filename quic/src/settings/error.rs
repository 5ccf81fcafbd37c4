//! Why settings are refused.

use thiserror::Error;

/// Settings that cannot work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// A number is outside of what its documentation allows.
    #[error("setting `{name}` is out of range")]
    OutOfRange {
        /// Name of the field.
        name: &'static str,
    },
    /// QUIC protects its first packets with AES-128-GCM, which the TLS provider lacks.
    #[error("the TLS provider has no TLS13_AES_128_GCM_SHA256, which QUIC needs")]
    InitialSuite,
    /// Early data can be replayed and is not supported.
    #[error("TLS early data must be off (max_early_data_size = 0)")]
    EarlyData,
}
