//! Time as the engine sees it: an input. See [`millrace_sansio::Time`].

pub use millrace_sansio::Time;
