//! `login` and `logout`: pull keeps the credentials, where docker and podman do.

use std::process::Stdio;

use anyhow::Result;
use stage::Codes;

use crate::ask;
use crate::cli::Global;
use crate::spawn::Tools;

/// Store credentials for a registry, once it has taken them
#[derive(clap::Args, Clone, Debug)]
pub struct Login {
    /// Who you are there
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The password, for everybody on this machine to see
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// The registry's host (else docker's own)
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// Remove the stored credentials for a registry
#[derive(clap::Args, Clone, Debug)]
pub struct Logout {
    /// The registry's host (else docker's own)
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub fn login(global: &Global, options: &Login) -> Result<u8> {
    let username = options.username.as_ref().map(|user| format!("--username={user}"));
    let mut words = vec!["login"];
    words.extend(username.as_deref());
    if options.password.is_some() || options.password_stdin {
        words.push("--password-stdin");
    }
    words.extend(options.server.as_deref());
    let stdin = match &options.password {
        Some(password) => {
            stage::say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            ask::text(password)?
        }
        None => Stdio::inherit(),
    };
    carried_out(ask::code_fed(&Tools::new(global)?, "pull", &words, stdin)?)
}

pub fn logout(global: &Global, options: &Logout) -> Result<u8> {
    let words: Vec<&str> = ["logout"].into_iter().chain(options.server.as_deref()).collect();
    carried_out(ask::code(&Tools::new(global)?, "pull", &words)?)
}

/// Of what failed pull has said why.
fn carried_out(code: u8) -> Result<u8> {
    Ok(if code == 0 { 0 } else { Codes::FAILED })
}
