//! `export`: the files of a container as a tar archive, made by the host's tar(1).

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::each;
use crate::cli::Global;
use crate::rootfs;

/// Write the files of a container as a tar archive
#[derive(clap::Args, Clone, Debug)]
pub struct Export {
    /// Write to this file (else to stdout)
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Name or id
    container: String,
}

/// What is mounted in it is not part of it.
pub fn export(global: &Global, options: &Export) -> Result<u8> {
    if options.output.is_none() && std::io::stdout().is_terminal() {
        bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    each(global, std::slice::from_ref(&options.container), |store, id, _| {
        rootfs::with_path(global, store, id, |root| {
            let target = options.output.as_deref().unwrap_or("-");
            let target = if target == "-" {
                target.to_owned()
            } else {
                std::path::absolute(target)?.display().to_string()
            };
            let mut tar = Command::new("tar");
            tar.args(["--create", "--one-file-system", "--numeric-owner", "--file", &target, "--directory"]);
            let status = tar.arg(&root).arg(".").stdin(Stdio::null()).status().context("cannot run tar")?;
            if status.success() {
                Ok(())
            } else {
                bail!("cannot export container {}: tar failed", id.short())
            }
        })
    })
}
