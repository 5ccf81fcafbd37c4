//! The mail room: every way between the router's threads, with its bound.
//!
//! | from | to | room | bound |
//! |---|---|---|---|
//! | control, handle, selectors thread | a core | [`core`] | [`COMMANDS_MAX`] commands |
//! | cores, resolver, handle, admin | control | [`control`] | [`INPUTS_MAX`] inputs, and bytes |
//! | control | admin | [`picture`] | the last one |
//! | cores | selectors thread | [`selectors`] | bytes |
//! | a core | each sibling | [`siblings`] | [`BATCHES_MAX`] batches, [`WORDS_MAX`] words back, [`SEGMENTS_MAX`] packets |
//!
//! Cores never wait: what does not fit stays with them and is tried again. Control waits while a
//! core cannot take its next command; cores never wait for control, so this always ends.

mod control;
mod core;
mod picture;
mod selectors;
mod siblings;

pub(crate) use control::{Addresses, ControlPost, INPUTS_MAX, Input};
pub(crate) use core::{COMMANDS_MAX, Command, CorePost, End, Inspection};
pub(crate) use picture::{ControlPicture, PictureFrame};
pub(crate) use selectors::{Order, SelectorsPost};
pub(crate) use siblings::{BATCHES_MAX, SEGMENTS_MAX, Sibling, WORDS_MAX};
