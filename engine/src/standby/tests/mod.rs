//! Tests of sets: a few routers with their books, and fences.

mod abreast;
mod cluster;
mod fencing;
mod takeovers;
