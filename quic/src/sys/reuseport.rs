//! The steering program of a reuseport group, and a socket's drop counter.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::CidShape;

/// Attaches the program that picks the group's socket by the steering bytes of the destination
/// connection id, as [`CidShape::steering_value`] reads them.
///
/// The kernel runs it on the UDP payload; its result is the index of a socket in the order of
/// binding, and one beyond the last (while sockets are still missing) or a packet too short to read
/// falls back to the kernel's own choice or socket 0.
pub(crate) fn attach_program(
    socket: BorrowedFd<'_>,
    cores: u16,
    mask: u16,
    cids: &CidShape,
) -> io::Result<()> {
    let load_byte = op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS);
    let load_half = op(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS);
    let jump_if_set = op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
    let jump_if_at_least = op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
    let jump = op(libc::BPF_JMP | libc::BPF_JA);
    let and = op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K);
    let modulo = op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K);
    let return_a = op(libc::BPF_RET | libc::BPF_A);
    let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let branch = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let number = |bytes: usize| u32::try_from(bytes).unwrap_or(0);
    let offset = number(cids.steering_offset());
    let mut program = [
        step(load_byte, 0),
        branch(jump_if_set, 0x80, 0, 6),
        // A long header: the length of the destination id says where it steers.
        step(load_byte, 5),
        branch(jump_if_at_least, number(cids.initial_bytes_min()), 2, 0),
        step(load_half, 7),
        step(jump, 3),
        step(load_half, 6 + offset),
        step(jump, 1),
        // A short header.
        step(load_half, 1 + offset),
        step(and, u32::from(mask)),
        step(modulo, u32::from(cores)),
        step(return_a, 0),
    ];
    let program = libc::sock_fprog {
        len: libc::c_ushort::try_from(program.len()).unwrap_or(0),
        filter: program.as_mut_ptr(),
    };
    set(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Takes the program off the group: the kernel then spreads by 4-tuple.
pub(crate) fn detach_program(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SO_DETACH_REUSEPORT_BPF, &0_i32)
}

fn set<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    let bytes = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the value lives through the call and has the stated size; what it points to lives in
    // the caller.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast::<libc::c_void>(),
            bytes,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn op(code: u32) -> u16 {
    u16::try_from(code).unwrap_or(0)
}

/// Datagrams that the kernel has dropped on this socket because its receive buffer was full.
pub(crate) fn kernel_drops(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0_u32; 16];
    let mut bytes = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or(0);
    // SAFETY: the array lives through the call and has the stated size, which the kernel does not
    // exceed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast::<libc::c_void>(),
            &raw mut bytes,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(info[usize::try_from(libc::SK_MEMINFO_DROPS).unwrap_or(0)]))
}
