//! Whether a program of this host has a port: whoever asks the kernel for it finds out.

use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with, sockopt,
};

use crate::publish::Protocol;

/// Binds the port (0: any) as a server would, and lets go of it. Which port it was.
///
/// # Errors
/// What bind(2) or listen(2) said: EADDRINUSE if a program has it, EADDRNOTAVAIL if the address is not this host's.
pub fn try_port(protocol: Protocol, address: IpAddr, port: u16) -> Result<u16, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Udp { SocketType::DGRAM } else { SocketType::STREAM };
    let number = match protocol {
        Protocol::Tcp => ipproto::TCP,
        Protocol::Udp => ipproto::UDP,
        Protocol::Sctp => ipproto::SCTP,
    };
    let socket = match socket_with(family, kind, SocketFlags::CLOEXEC, Some(number)) {
        // Where the kernel has none of it, no program has a port of it.
        Err(rustix::io::Errno::PROTONOSUPPORT) if protocol == Protocol::Sctp => return Ok(port),
        socket => socket.map_err(errno)?,
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).map_err(errno)?;
    }
    if protocol != Protocol::Udp {
        // As every server does: what a former one's connections have left is not in the way.
        sockopt::set_socket_reuseaddr(&socket, true).map_err(errno)?;
    }
    bind(&socket, &SocketAddr::new(address, port)).map_err(errno)?;
    if protocol != Protocol::Udp {
        // KERNEL: two sockets that reuse the address can be bound to one port, but only one can listen.
        listen(&socket, 1).map_err(errno)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket).map_err(errno)?).map_err(errno)?;
    Ok(bound.port())
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
