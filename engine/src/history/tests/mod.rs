//! The ring against a list that forgets nothing, and joins against what a receiver should get.

mod joins;
mod rings;
