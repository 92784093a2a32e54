//! Options that say how an image is obtained.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use stage::{Codes, Explain};

use crate::layer::Rules;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{Access, Credentials};
use crate::report::{Report, Style};
use crate::size;
use crate::unpack::Devices;

// How an image is to be obtained.
#[derive(Args)]
pub struct Options {
    /// When to fetch an image of a registry
    #[arg(long, value_enum, default_value = "missing")]
    pub pull: Policy,
    /// Store the image under this name
    #[arg(long, value_name = "NAME", value_parser = super::new_name)]
    pub name: Option<Reference>,
    /// With rootfs: put the tree on top of this image, which is here
    #[arg(long, value_name = "IMAGE")]
    pub onto: Option<String>,
    /// With rootfs: what the image's configuration says: author, created, config, history
    #[arg(long, value_name = "JSON")]
    pub config: Option<String>,
    /// Accept only what `pull lock` has written down here
    #[arg(long, value_name = "FILE")]
    pub locked: Option<PathBuf>,
    #[command(flatten)]
    pub telling: Telling,
    #[command(flatten)]
    pub terms: Terms,
    #[command(flatten)]
    pub network: Network,
}

// How the work is told.
#[derive(Args)]
pub struct Telling {
    /// Say nothing while it is fetched
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tell of the work like this
    #[arg(long, value_enum, value_name = "STYLE", default_value = "auto", global = true)]
    progress: Style,
}

impl Telling {
    pub fn report(&self) -> Report {
        Report::new(if self.quiet { Style::None } else { self.progress })
    }
}

// What is wanted, and what is accepted.
#[derive(Args)]
pub struct Terms {
    /// Choose this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", global = true)]
    platform: Option<String>,
    /// Refuse layers with device nodes
    #[arg(long, global = true)]
    no_devices: bool,
    /// Refuse layers that unpack to more than this
    #[arg(long, value_name = "BYTES", default_value = "64g", value_parser = size::parse, global = true)]
    max_size: u64,
    /// Refuse layers that unpack to more than so many times their size, once that is 64 MiB
    #[arg(long, value_name = "TIMES", default_value = "250", global = true)]
    max_ratio: u64,
}

impl Terms {
    pub fn platform(&self) -> Result<Option<Platform>> {
        let platform = self.platform.as_deref().filter(|platform| !platform.is_empty());
        platform.map(str::parse).transpose().code(Codes::USAGE)
    }

    pub fn rules(&self) -> Rules {
        let devices = if self.no_devices { Devices::Refused } else { Devices::Made };
        Rules { max_size: self.max_size, max_ratio: self.max_ratio, devices }
    }
}

// How a registry is reached.
#[derive(Args)]
pub struct Network {
    /// Log in to the registry with these
    #[arg(long, value_name = "USER:PASSWORD", global = true)]
    creds: Option<Credentials>,
    /// Say where credentials were looked for, and whose were used
    #[arg(long, global = true)]
    explain_auth: bool,
    /// Reach the registry without TLS; on loopback that is tried anyway
    #[arg(long, global = true)]
    plain_http: bool,
    /// Trust the certificate authorities in this PEM file, too
    #[arg(long, value_name = "FILE", global = true)]
    cacert: Option<PathBuf>,
    /// How often to try again what failed
    #[arg(long, value_name = "TIMES", default_value = "5", global = true)]
    retry: u32,
    /// Give up a connection that brings next to nothing for so long
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600), global = true)]
    stall: u64,
}

impl Network {
    pub fn access(&self) -> Access {
        Access {
            plain_http: self.plain_http,
            authorities: self.cacert.clone(),
            credentials: self.creds.clone(),
            explain: self.explain_auth,
            retries: self.retry,
            stall: Duration::from_secs(self.stall),
        }
    }
}

/// When a registry is asked.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// If it is not here
    Missing,
    /// Always
    Always,
    /// Never: it must be here
    Never,
}
