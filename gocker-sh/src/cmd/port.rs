//! `port`: which ports of the host lead to a container.

use anyhow::{Result, bail};

use super::each;
use crate::cli::Global;
use crate::{lookup, shape};

/// Show which ports of the host lead to a container
#[derive(clap::Args, Clone, Debug)]
pub struct Port {
    /// Name or id
    container: String,
    /// Only this port of the container, such as 80 or 53/udp
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// One line for each: `80/tcp -> 0.0.0.0:8080`; of one port only what is behind the arrow.
pub fn port(global: &Global, options: &Port) -> Result<u8> {
    each(global, std::slice::from_ref(&options.container), |store, id, word| {
        let published = lookup::started(store, id)?.map(|record| shape::ports(&record)).unwrap_or_default();
        let wanted = options
            .port
            .as_ref()
            .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
        let mut text = String::new();
        for (inside, outside) in
            published.iter().filter(|(inside, _)| wanted.as_ref().is_none_or(|port| port == inside))
        {
            for (address, port) in outside {
                let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
                match wanted {
                    Some(_) => text += &format!("{address}:{port}\n"),
                    None => text += &format!("{inside} -> {address}:{port}\n"),
                }
            }
        }
        match (&wanted, text.is_empty()) {
            (Some(port), true) => bail!("no public port '{port}' published for {word}"),
            _ => stage::print(&text),
        }
    })
}
