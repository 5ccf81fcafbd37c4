//! System calls that std, socket2 and quinn-udp do not offer. All of the crate's unsafe code is in
//! this folder.
#![expect(unsafe_code, reason = "sendmmsg, epoll, eventfd and reuseport options are reached through libc")]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "routers and their load generator run on Linux; clients and `millrace` build on other systems, too"
);

mod event;
mod poll;
mod reuseport;
mod route;
mod send;

pub(crate) use event::event_fd;
pub(crate) use poll::{Interest, Poll};
pub(crate) use reuseport::{attach_program, detach_program, kernel_drops};
pub(crate) use route::route_mtu;
pub(crate) use send::{BATCH_MAX, Message, Sender};
