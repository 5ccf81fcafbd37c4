//! A whole cluster in virtual time: routers, clients, network, faults, and the loop that moves
//! them.

mod cluster;
mod crowds;
mod defects;
mod faults;
mod inspect;
mod quenching;
mod standing;

pub use cluster::World;
