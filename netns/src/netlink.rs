//! A conversation with the kernel over netlink: requests go out in one datagram, each is answered.
//!
//! It does not know what the messages mean; `rtnl` and `nft` do.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlaBuffer,
    NlasIterator,
};
use rtnetlink::sys::{Socket, SocketAddr};

/// What the kernel hands out at once is never larger (netlink_dump in net/netlink/af_netlink.c).
const BUFFER: usize = 32 * 1024;
/// Header of a message: length, type, flags, sequence number, port.
pub const HEADER: usize = 16;
/// In the answer to a refused request: the text of the extended acknowledgement (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The kernel said no, and perhaps why.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub errno: Errno,
    pub text: Option<String>,
}

/// One message of the kernel's.
pub struct Message<'a> {
    /// Which request of the datagram it answers, from 0.
    pub request: usize,
    pub kind: u16,
    pub payload: &'a [u8],
}

/// How one request ended.
pub type Answer = std::result::Result<(), Refusal>;

/// A netlink socket. It acts in the network namespace in which it was opened, wherever its process goes.
pub struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Netlink {
    pub fn open(protocol: isize) -> Result<Netlink> {
        let socket = Socket::new(protocol).context("cannot open a netlink socket: socket")?;
        socket.set_ext_ack(true).context("cannot ask netlink for its reasons: setsockopt")?;
        socket.set_cap_ack(true).context("cannot ask netlink for short answers: setsockopt")?;
        Ok(Netlink { socket, sequence: Cell::new(1) })
    }

    /// A socket that hears what the group tells everybody from now on.
    pub fn listen(protocol: isize, group: u32) -> Result<Netlink> {
        let mut socket = Socket::new(protocol).context("cannot open a netlink socket: socket")?;
        // KERNEL: without a port of its own a socket hears nothing.
        socket.bind_auto().context("cannot listen to netlink: bind")?;
        socket.add_membership(group).context("cannot listen to netlink: setsockopt")?;
        Ok(Netlink { socket, sequence: Cell::new(1) })
    }

    /// Whether the kernel takes what a dump's header names (an interface) for what is wanted, and refuses what it does
    /// not know: NETLINK_GET_STRICT_CHK.
    pub fn be_strict(&self, strict: bool) -> Result<()> {
        self.socket.set_netlink_get_strict_chk(strict).context("cannot ask netlink to be strict: setsockopt")
    }

    /// Sends `datagram`, which holds `count` messages, numbering them.
    pub fn send(&self, datagram: &mut [u8], count: usize) -> Result<u32> {
        let first = self.sequence.get();
        let mut rest = &mut *datagram;
        for sequence in (first..).take(count) {
            let mut message = NetlinkBuffer::new(&mut *rest);
            message.set_sequence_number(sequence);
            let length = message.length() as usize;
            rest = &mut rest[length..];
        }
        self.sequence.set(first + u32::try_from(count)?);
        self.socket.send_to(datagram, &SocketAddr::new(0, 0), 0).context("sendto")?;
        Ok(first)
    }

    /// Sends requests that are each answered by an acknowledgement or the end of a dump, hands every other
    /// message to `each`, and tells how each request ended.
    pub fn ask(
        &self,
        datagram: &mut [u8],
        count: usize,
        mut each: impl FnMut(Message) -> Result<()>,
    ) -> Result<Vec<Answer>> {
        let first = self.send(datagram, count)?;
        let mut answers: Vec<Option<Answer>> = vec![None; count];
        let mut open = count;
        let mut buffer = Vec::with_capacity(BUFFER);
        while open > 0 {
            self.receive(&mut buffer, first, |request, frame| {
                let Some(slot) = answers.get_mut(request) else { return Ok(()) };
                match end_of(frame) {
                    Some(answer) => {
                        open -= usize::from(slot.replace(answer).is_none());
                        Ok(())
                    }
                    None => each(Message { request, kind: frame.message_type(), payload: frame.payload() }),
                }
            })?;
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Reads one datagram and hands out its messages, each with the number of the request it answers.
    pub fn receive(
        &self,
        buffer: &mut Vec<u8>,
        first: u32,
        mut each: impl FnMut(usize, &NetlinkBuffer<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        buffer.clear();
        self.socket.recv(buffer, 0).context("recvfrom")?;
        let mut rest = &buffer[..];
        while rest.len() >= HEADER {
            let Ok(message) = NetlinkBuffer::new_checked(rest) else {
                bail!("netlink: the kernel's message is cut short")
            };
            // What an earlier request of this socket left behind gets a number that nobody has.
            each(message.sequence_number().wrapping_sub(first) as usize, &message)?;
            let length = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How the request ended, if this message is its end.
pub fn end_of(message: &NetlinkBuffer<&[u8]>) -> Option<Answer> {
    let payload = message.payload();
    let code = || payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    match message.message_type() {
        NLMSG_ERROR if code() != 0 => {
            Some(Err(Refusal { errno: Errno::from_raw(-code()), text: reason(message.flags(), payload) }))
        }
        // KERNEL: a dump that somebody's change interrupted is still as good as any other look.
        NLMSG_DONE if code() < 0 && message.flags() & NLM_F_DUMP_INTR == 0 => {
            Some(Err(Refusal { errno: Errno::from_raw(-code()), text: None }))
        }
        NLMSG_ERROR | NLMSG_DONE => Some(Ok(())),
        _ => None,
    }
}

/// The text of the extended acknowledgement: it lies behind the header of the refused request, and behind the
/// whole of it where the kernel did not cut that off.
fn reason(flags: u16, payload: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = NetlinkBuffer::new(payload.get(4..).filter(|rest| rest.len() >= HEADER)?);
    let length = if flags & NLM_F_CAPPED == 0 { request.length() as usize } else { HEADER };
    let attributes = payload.get(4 + length.next_multiple_of(4)..)?;
    let text = NlasIterator::new(attributes)
        .flatten()
        .find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(text.value()).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An NLMSG_ERROR as 6.18 sends it for a link that exists, the request cut off behind its header.
    fn refused(flags: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(48u32.to_ne_bytes());
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend((-17i32).to_ne_bytes());
        bytes.extend([0; 16]);
        bytes.extend([12, 0, 1, 0]);
        bytes.extend(b"in use\0\0");
        bytes
    }

    #[test]
    fn the_kernels_reason_is_found() {
        let bytes = refused(NLM_F_CAPPED | NLM_F_ACK_TLVS);
        let refusal = end_of(&NetlinkBuffer::new(&bytes[..])).unwrap().unwrap_err();
        assert_eq!((refusal.errno, refusal.text.as_deref()), (Errno::EEXIST, Some("in use")));
    }

    #[test]
    fn no_reason_is_no_error_of_its_own() {
        let bytes = refused(NLM_F_CAPPED);
        let refusal = end_of(&NetlinkBuffer::new(&bytes[..])).unwrap().unwrap_err();
        assert_eq!((refusal.errno, refusal.text), (Errno::EEXIST, None));
    }
}
