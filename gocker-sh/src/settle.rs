//! What a command line leaves open and must be known before the stages are asked: which container is meant, which ports
//! the image exposes, and names for volumes that have none.

use anyhow::{Context, Result, bail};
use stage::Id;

use crate::ask;
use crate::image::Image;
use crate::lookup;
use crate::options::{Mode, Network, Run};
use crate::spawn::Tools;
use crate::store::Store;
use crate::{swap, volumes};

/// The options of a new container, with nothing left open.
pub struct Settled {
    pub options: Run,
    /// The names of the volumes that go with the container.
    pub anonymous: Vec<String>,
}

/// # Errors
/// `Ok(Err(_))`: pull failed, and has said why.
pub fn settle(store: &Store, tools: &Tools, options: &Run) -> Result<std::result::Result<Settled, u8>> {
    let mut options = options.clone();
    options.swap.fill()?;
    share(store, &mut options)?;
    if options.network.publish_all {
        let mut exposed = options.network.expose.clone();
        if let Some(name) = options.image.image() {
            match of_image(tools, &options, name)? {
                Ok(image) => exposed.extend(image.into_iter().flat_map(|image| image.exposed())),
                Err(code) => return Ok(Err(code)),
            }
        }
        publish(&mut options.network, &exposed);
    }
    let anonymous = volumes::give_names(&mut options)?;
    Ok(Ok(Settled { options, anonymous }))
}

fn of_image(tools: &Tools, options: &Run, name: &str) -> Result<std::result::Result<Option<Image>, u8>> {
    let policy = options.image.pull.map(|policy| format!("--pull={}", policy.word()));
    let platform = options.image.platform.as_ref().map(|platform| format!("--platform={platform}"));
    let words: Vec<String> = policy.into_iter().chain(platform).chain([name.to_owned()]).collect();
    let (program, words) = swap::words("pull", options.swap.pull_cmd.as_deref(), &words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match ask::document(tools, program, &words)? {
        Ok(document) => Image::of(&document).map(Ok),
        Err(code) => Ok(Err(code)),
    }
}

/// The container's port of a `-p`, with its protocol.
pub fn inside(published: &str) -> String {
    let port = published.rsplit(':').next().unwrap_or_default();
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

/// Each port on a free one of the host, those that are published already aside.
pub fn publish(network: &mut Network, exposed: &[String]) {
    for port in exposed.iter().map(|port| inside(port)) {
        if !network.publish.iter().any(|published| inside(published) == port) {
            network.publish.push(port);
        }
    }
}

/// Which container's network is shared: by its id, and it runs.
pub fn share(store: &Store, options: &mut Run) -> Result<()> {
    let Some(Mode::Container(word)) = &options.network.network else { return Ok(()) };
    check_shared(options)?;
    let id: Id = lookup::container(store, word)?;
    lookup::started(store, &id)?
        .with_context(|| format!("cannot join network of a non running container: {id}"))?;
    options.network.network = Some(Mode::Container(id.to_string()));
    Ok(())
}

/// docker's words for what only the owner of a network can choose.
fn check_shared(options: &Run) -> Result<()> {
    let network = &options.network;
    let conflicts = [
        (options.hostname.is_some(), "hostname and the network mode"),
        (!network.dns.is_empty(), "dns and the network mode"),
        (!network.add_host.is_empty(), "custom host-to-IP mapping and the network mode"),
        (network.mac_address.is_some(), "mac-address and the network mode"),
        (
            !network.publish.is_empty() || network.publish_all,
            "port publishing and the container type network mode",
        ),
        (!network.expose.is_empty(), "port exposing and the container type network mode"),
    ];
    match conflicts.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => bail!("conflicting options: {what}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_already_is_not_published_again() {
        let mut network = Network { publish: vec!["8080:80".to_owned()], ..Network::default() };
        publish(&mut network, &["80/tcp".to_owned(), "53/udp".to_owned(), "90".to_owned()]);
        assert_eq!(network.publish, ["8080:80", "53/udp", "90/tcp"]);
    }
}
