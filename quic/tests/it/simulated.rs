//! The driver on a simulated network: faults, timers and ends of connections in virtual time.
