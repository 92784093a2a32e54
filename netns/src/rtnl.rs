//! rtnetlink(7), typed and synchronous: links, addresses and routes of one network namespace.

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use stage::Explain;

use crate::netlink::{HEADER, Netlink, Refusal};

/// A request, and the words for it in an error: `cannot VERB OBJECT: RTM_…`.
pub struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
    what: String,
    /// That it is there already is no refusal.
    may_exist: bool,
}

impl Request {
    /// Makes something that must not be there yet.
    pub fn create(message: RouteNetlinkMessage, what: impl Into<String>) -> Request {
        Request { message, flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, what: what.into(), may_exist: false }
    }

    /// Makes something, if it is not there yet.
    pub fn ensure(message: RouteNetlinkMessage, what: impl Into<String>) -> Request {
        Request { may_exist: true, ..Request::create(message, what) }
    }

    /// Makes something, in the place of what is there of it.
    pub fn put(message: RouteNetlinkMessage, what: impl Into<String>) -> Request {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        Request { message, flags, what: what.into(), may_exist: false }
    }

    /// Looks at, changes or removes one thing.
    pub fn one(message: RouteNetlinkMessage, what: impl Into<String>) -> Request {
        Request { message, flags: NLM_F_ACK, what: what.into(), may_exist: false }
    }

    /// Lists everything. Only the last request of a batch can be one.
    pub fn dump(message: RouteNetlinkMessage, what: impl Into<String>) -> Request {
        Request { message, flags: NLM_F_DUMP, what: what.into(), may_exist: false }
    }
}

/// What one request brought: the kernel's messages, or its refusal.
pub type Answer = std::result::Result<Vec<RouteNetlinkMessage>, Refused>;

/// A refused request, in words.
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    what: String,
    call: &'static str,
}

impl Refused {
    /// The error that it is where nobody has a use for the refusal.
    pub fn fail<T>(self) -> Result<T> {
        let failed = Err(anyhow!("{}", self.refusal.errno).context(self.call).context(self.what));
        match self.refusal.text {
            Some(text) => failed.kernel(text),
            None => failed,
        }
    }

    /// Whether somebody has the name already.
    pub fn exists(&self) -> bool {
        self.refusal.errno == Errno::EEXIST
    }
}

/// A socket into the routing tables of the namespace in which it was opened.
pub struct Rtnl(Netlink);

impl Rtnl {
    pub fn open() -> Result<Rtnl> {
        Ok(Rtnl(Netlink::open(NETLINK_ROUTE)?))
    }

    /// Sends all requests in one datagram. The kernel carries out each, also behind one that it refused.
    pub fn try_all<const N: usize>(&self, requests: [Request; N]) -> Result<[Answer; N]> {
        let mut answers = self.try_each(requests.into())?.into_iter();
        Ok(std::array::from_fn(|_| answers.next().unwrap_or(Ok(Vec::new()))))
    }

    /// The same for as many as there are.
    fn try_each(&self, requests: Vec<Request>) -> Result<Vec<Answer>> {
        let mut datagram = Vec::new();
        for request in &requests {
            append(&mut datagram, request);
        }
        let mut messages: Vec<Vec<RouteNetlinkMessage>> = requests.iter().map(|_| Vec::new()).collect();
        let answers = self
            .0
            .ask(&mut datagram, requests.len(), |message| {
                messages[message.request].extend(parse(message.kind, message.payload)?);
                Ok(())
            })
            .with_context(|| requests.first().map_or_else(String::new, |request| request.what.clone()))?;
        let answers = answers.into_iter().zip(requests).zip(messages);
        Ok(answers
            .map(|((answer, request), messages)| match answer {
                Err(refusal) if request.may_exist && refusal.errno == Errno::EEXIST => Ok(messages),
                Err(refusal) => Err(Refused { refusal, call: call(&request.message), what: request.what }),
                Ok(()) => Ok(messages),
            })
            .collect())
    }

    /// The addresses of one interface. Those of all are many: each container's end has one of the link.
    pub fn addresses_of(&self, index: u32) -> Result<Vec<RouteNetlinkMessage>> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        let ask = Request::dump(RouteNetlinkMessage::GetAddress(message), "cannot list the addresses");
        self.0.be_strict(true)?;
        let answer = self.all([ask]);
        self.0.be_strict(false)?;
        answer.map(|[addresses]| addresses)
    }

    /// Sends requests that bring nothing, all in one datagram; the first refusal is the error.
    pub fn each(&self, requests: Vec<Request>) -> Result<()> {
        self.try_each(requests)?.into_iter().try_for_each(|answer| answer.map(|_| ()).or_else(Refused::fail))
    }

    /// Sends all requests in one datagram; the first refusal is the error.
    pub fn all<const N: usize>(&self, requests: [Request; N]) -> Result<[Vec<RouteNetlinkMessage>; N]> {
        let mut brought: [Vec<RouteNetlinkMessage>; N] = std::array::from_fn(|_| Vec::new());
        for (place, answer) in brought.iter_mut().zip(self.try_all(requests)?) {
            *place = answer.or_else(Refused::fail)?;
        }
        Ok(brought)
    }
}

fn append(datagram: &mut Vec<u8>, request: &Request) {
    let start = datagram.len();
    let length = HEADER + request.message.buffer_len();
    datagram.resize(start + length.next_multiple_of(4), 0);
    request.message.serialize(&mut datagram[start + HEADER..start + length]);
    let mut header = NetlinkBuffer::new(&mut datagram[start..]);
    // Every length in rtnetlink is a multiple of four, so messages lie side by side.
    header.set_length(u32::try_from(length.next_multiple_of(4)).unwrap_or(u32::MAX));
    header.set_message_type(request.message.message_type());
    header.set_flags(NLM_F_REQUEST | request.flags);
}

fn parse(kind: u16, payload: &[u8]) -> Result<Option<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    header.length = u32::try_from(payload.len() + HEADER)?;
    let parsed = RouteNetlinkMessage::deserialize(&header, payload);
    parsed.map(Some).map_err(|error| anyhow!("cannot understand the kernel's answer: {error}"))
}

fn call(message: &RouteNetlinkMessage) -> &'static str {
    use RouteNetlinkMessage as M;
    match message {
        M::NewLink(_) => "RTM_NEWLINK",
        M::SetLink(_) => "RTM_SETLINK",
        M::DelLink(_) => "RTM_DELLINK",
        M::GetLink(_) => "RTM_GETLINK",
        M::NewLinkProp(_) => "RTM_NEWLINKPROP",
        M::NewAddress(_) => "RTM_NEWADDR",
        M::NewNeighbour(_) => "RTM_NEWNEIGH",
        M::GetAddress(_) => "RTM_GETADDR",
        M::NewRoute(_) => "RTM_NEWROUTE",
        M::GetRoute(_) => "RTM_GETROUTE",
        _ => "rtnetlink",
    }
}
