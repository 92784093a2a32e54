//! Our table in the kernel: looked at on every run, installed when it is not as it should be.

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use stage::{Explain, shell};

use super::chain;
use super::encode::{Attributes, INET, Message, datagram, transaction};
use super::others;
use super::port::{self, MAPS, Port};
use super::ruleset::{self, COMMENT, Network, PortChange, TABLE};
use crate::netlink::{Netlink, Refusal, end_of};

const GETTABLE: u16 = 1;
const GETCHAIN: u16 = 4;
const GETRULE: u16 = 7;
const GETSETELEM: u16 = 13;

/// How the table is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    AsItShouldBe,
    Missing,
    /// Somebody (an older netns, a hand) left something else of it.
    Other,
}

/// A chain of somebody else's that drops our packets.
pub struct Dropped {
    /// As nft(8) names it.
    pub chain: String,
    /// The commands that would let them pass.
    pub remedy: String,
}

/// A socket to nf_tables of the network namespace in which it was opened.
pub struct Firewall(Netlink);

impl Firewall {
    pub fn open() -> Result<Firewall> {
        Ok(Firewall(Netlink::open(NETLINK_NETFILTER)?))
    }

    /// Looks at the table, in one question: its comment, the number of rules in each chain, and whether it
    /// knows this bridge.
    pub fn look(&self, bridge: &str) -> Result<State> {
        let chains = chain::all();
        let mut questions = vec![get(INET, GETTABLE, Attributes::default().text(1, TABLE))];
        for chain in &chains {
            questions.push(get(INET, GETCHAIN, Attributes::default().text(1, TABLE).text(3, chain.name)));
        }
        let key = Attributes::default().nest(1, &ruleset::element(&ruleset::interface(bridge)));
        questions.push(get(
            INET,
            GETSETELEM,
            Attributes::default().text(1, TABLE).text(2, "bridges").nest(3, &key),
        ));

        let mut right = 0;
        let answers = self
            .0
            .ask(&mut datagram(&questions), questions.len(), |message| {
                let attributes = message.payload.get(4..).unwrap_or_default();
                let as_expected = match message.request.checked_sub(1).map(|n| chains.get(n)) {
                    None => comment(attributes).is_some_and(|comment| comment == COMMENT.as_bytes()),
                    Some(Some(chain)) => rules_in(attributes) == u32::try_from(chain.rules.len()).ok(),
                    Some(None) => true,
                };
                right += usize::from(as_expected);
                Ok(())
            })
            .context("cannot look at nf_tables")?;
        let unexpected = answers.iter().filter_map(|answer| answer.as_ref().err());
        match unexpected.into_iter().find(|refusal| refusal.errno != Errno::ENOENT) {
            Some(refusal) => refused("cannot look at nf_tables", refusal),
            None if right == questions.len() => Ok(State::AsItShouldBe),
            None if answers.first().is_some_and(Result::is_err) => Ok(State::Missing),
            None => Ok(State::Other),
        }
    }

    /// The chain of another table that drops what is forwarded from or to the bridge, and what would help. No rule
    /// of ours can change that.
    pub fn dropped_by_others(&self, bridge: &str, v6: bool) -> Result<Option<Dropped>> {
        let chains = self.dump(GETCHAIN, others::chain)?;
        if !chains.iter().any(|chain| chain.forwards) {
            return Ok(None);
        }
        let rules = self.dump(GETRULE, others::rule)?;
        Ok(others::dropping(&chains, &rules, bridge, v6)
            .map(|chain| Dropped { chain: chain.place(), remedy: others::remedy(chain, &chains, bridge) }))
    }

    /// All objects of a kind, of all families.
    fn dump<T>(&self, kind: u16, read: fn(u8, &[u8]) -> Option<T>) -> Result<Vec<T>> {
        const ALL: u8 = 0;
        let mut question = get(ALL, kind, Attributes::default());
        question.flags = NLM_F_DUMP;
        let mut found = Vec::new();
        let answered = self.0.ask(&mut datagram(&[question]), 1, |message| {
            if let Some((&family, _)) = message.payload.split_first() {
                found.extend(read(family, message.payload.get(4..).unwrap_or_default()));
            }
            Ok(())
        });
        match answered.context("cannot look at nf_tables")?.into_iter().find_map(Result::err) {
            Some(refusal) => refused("cannot look at nf_tables", &refusal),
            None => Ok(found),
        }
    }

    /// The published ports, of all containers.
    pub fn ports(&self) -> Result<Vec<Port>> {
        let mut ports = Vec::new();
        for map in MAPS {
            let mut question = get(INET, GETSETELEM, Attributes::default().text(1, TABLE).text(2, map));
            question.flags = NLM_F_DUMP;
            let answers = self
                .0
                .ask(&mut datagram(&[question]), 1, |message| {
                    ports.extend(port::listed(message.payload.get(4..).unwrap_or_default()));
                    Ok(())
                })
                .context("cannot look at nf_tables")?;
            match answers.into_iter().find_map(Result::err) {
                // No table, no ports.
                Some(refusal) if refusal.errno != Errno::ENOENT => {
                    refused("cannot list the ports", &refusal)?
                }
                _ => {}
            }
        }
        Ok(ports)
    }

    /// Takes ports back and publishes others, at once.
    pub fn change_ports(&self, change: &PortChange) -> Result<()> {
        self.change(ruleset::change_ports(change))
    }

    /// Puts the whole table in the place of what is there of it, at once.
    pub fn install(&self, networks: &[Network], ports: &[Port]) -> Result<()> {
        self.change(ruleset::install(networks, ports))
    }

    /// Removes the table. That it is not there is no error.
    pub fn remove(&self) -> Result<()> {
        let message = ruleset::delete();
        shell(&["nft", &message.what]);
        match self.transact(vec![message])? {
            Some((_, refusal)) if refusal.errno != Errno::ENOENT => {
                refused(&format!("cannot remove table inet {TABLE}"), &refusal)
            }
            _ => Ok(()),
        }
    }

    /// Removes the table, if it is there.
    pub fn remove_if_there(&self) -> Result<()> {
        match self.look("")? {
            State::Missing => Ok(()),
            State::AsItShouldBe | State::Other => self.remove(),
        }
    }

    fn change(&self, messages: Vec<Message>) -> Result<()> {
        for message in &messages {
            shell(&["nft", &message.what]);
        }
        match self.transact(messages)? {
            Some((what, refusal)) => refused(&format!("cannot {what}"), &refusal),
            None => Ok(()),
        }
    }

    /// Carries out all of the messages or none. The first refusal, with the words of what was refused.
    fn transact(&self, mut messages: Vec<Message>) -> Result<Option<(String, Refusal)>> {
        // Only the last is acknowledged: that means that all are in force.
        if let Some(last) = messages.last_mut() {
            last.flags |= NLM_F_ACK;
        }
        let first = self
            .0
            .send(&mut transaction(&messages), messages.len() + 2)
            .context("cannot change nf_tables")?;
        let mut end = None;
        let mut buffer = Vec::with_capacity(4096);
        while end.is_none() {
            let received = self.0.receive(&mut buffer, first, |number, frame| {
                // Number 0 is the beginning of the batch; a refusal of the whole carries it.
                let what =
                    number.checked_sub(1).and_then(|n| messages.get(n)).map(|message| message.what.clone());
                match end_of(frame) {
                    Some(Err(refusal)) if end.is_none() => {
                        end = Some(Some((
                            what.unwrap_or_else(|| format!("change table inet {TABLE}")),
                            refusal,
                        )));
                    }
                    Some(Ok(())) if number == messages.len() && end.is_none() => end = Some(None),
                    _ => {}
                }
                Ok(())
            });
            received.context("cannot change nf_tables")?;
        }
        Ok(end.flatten())
    }
}

fn get(family: u8, kind: u16, attributes: Attributes) -> Message {
    Message { family, kind, flags: NLM_F_ACK, attributes, what: String::new() }
}

fn refused<T>(what: &str, refusal: &Refusal) -> Result<T> {
    let failed = Err(anyhow!("{}", refusal.errno).context("nf_tables").context(what.to_owned()));
    match &refusal.text {
        Some(text) => failed.kernel(text),
        None => failed,
    }
}

/// The table's comment: NFTA_TABLE_USERDATA holds it behind its type (0) and length, ended by a NUL.
fn comment(attributes: &[u8]) -> Option<&[u8]> {
    let userdata = find(attributes, 6)?;
    let length = usize::from(*userdata.get(1)?);
    userdata.get(2..2 + length)?.strip_suffix(&[0])
}

/// NFTA_CHAIN_USE
fn rules_in(attributes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(find(attributes, 6)?.try_into().ok()?))
}

/// The value of the attribute of this kind.
pub fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = rtnetlink::packet_core::NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == kind)?;
    let end = usize::from(found.length());
    // What the buffer borrows goes on behind the attribute.
    found.into_inner().get(4..end)
}
