//! `pull login` and `pull logout`: credentials for a registry, kept where docker keeps them.

use std::io::{BufRead, IsTerminal, Read, Stdin, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use stage::{Codes, Explain};

use crate::cli::{Network, Telling};
use crate::interrupt;
use crate::registry::{self, Credentials, LoginFile};

/// The longest password that is read, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;
/// How often it is looked whether to end while somebody types, in milliseconds.
const LOOK: u8 = 50;

/// Where the password comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    Terminal,
    Stdin,
}

/// Checks the credentials with the registry, then stores them.
pub fn log_in(
    registry: &str,
    (user, from): (Option<String>, From),
    (telling, network): (&Telling, &Network),
) -> Result<u8> {
    let domain = domain(registry)?;
    // A signal at the prompt must not leave a terminal without echo.
    interrupt::watch()?;
    let user = match user {
        Some(user) => user,
        None if from == From::Terminal => ask("Username: ", Echo::On)?,
        None => return Err(anyhow!("--password-stdin needs --username")).code(Codes::USAGE),
    };
    let password = match from {
        From::Terminal => ask("Password: ", Echo::Off)?,
        From::Stdin => piped()?,
    };
    if user.is_empty() || user.contains(':') || password.is_empty() {
        bail!(
            "cannot log in to {registry}: a user's name has no colon, and neither it nor the password is empty"
        );
    }
    let credentials = Credentials::Password { user: user.clone(), password: password.clone() };
    registry::try_login(&domain, credentials, &network.access(), &telling.report())
        .with_context(|| format!("cannot log in to {registry}"))?;
    let place = LoginFile::own()?.log_in(&domain, &user, &password)?;
    stage::say(&format!("Login Succeeded: stored in {place}"));
    Ok(0)
}

/// Forgets them.
pub fn log_out(registry: &str) -> Result<u8> {
    let domain = domain(registry)?;
    let file = LoginFile::own()?;
    let place = file.place.clone();
    if file.log_out(&domain)? {
        stage::say(&format!("Removed the login for {domain} from {place}"));
    } else {
        stage::say(&format!("Not logged in to {domain} in {place}"));
    }
    Ok(0)
}

/// The host of a registry, as it is stored.
fn domain(registry: &str) -> Result<String> {
    let bare = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let bare = bare.unwrap_or(registry).trim_end_matches('/');
    match bare {
        "" => bail!("cannot log in to {registry:?}: it is no host"),
        "index.docker.io" | "registry-1.docker.io" => Ok("docker.io".to_owned()),
        host if host.contains('/') => {
            bail!("cannot log in to {registry}: a registry is a host, without a path")
        }
        host => Ok(host.to_owned()),
    }
}

fn piped() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut text).context("cannot read the password")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

fn ask(prompt: &str, echo: Echo) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("cannot ask for a password: stdin is not a terminal"))
            .hint("use --username and --password-stdin");
    }
    let before = tcgetattr(&stdin).context("cannot read the terminal's settings")?;
    let mut hidden = before.clone();
    if echo == Echo::Off {
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.insert(LocalFlags::ECHONL);
    }
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).context("cannot change the terminal's settings")?;
    std::io::stderr().write_all(prompt.as_bytes()).ok();
    let read = read_line(&stdin);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before).context("cannot restore the terminal's settings")?;
    Ok(read?.trim_end_matches(['\r', '\n']).to_owned())
}

/// # Errors
/// A signal has come meanwhile.
fn read_line(stdin: &Stdin) -> Result<String> {
    const FAILED: &str = "cannot read from the terminal";
    while poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], LOOK).context(FAILED)? == 0 {
        interrupt::check()?;
    }
    let mut line = String::new();
    stdin.lock().take(MAX_PASSWORD).read_line(&mut line).context(FAILED)?;
    Ok(line)
}
