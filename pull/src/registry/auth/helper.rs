//! Credential helpers: `docker-credential-NAME get`, the host on its stdin, JSON on its stdout.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Credentials;
use crate::registry::failure::shown;

/// The longest answer of a helper, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

/// What the helper has for the host. `None`: it has nothing.
pub fn get(name: &str, host: &str) -> Result<Option<Credentials>> {
    let (success, answer) = ask(name, "get", host)?;
    if !success {
        // The one text that every helper says when there is nothing.
        if answer.contains("credentials not found") {
            return Ok(None);
        }
        bail!("docker-credential-{name} get: {}", shown(answer.trim()));
    }
    let entry: Entry = serde_json::from_str(&answer)
        .with_context(|| format!("docker-credential-{name} get: malformed answer"))?;
    Ok(Some(match entry.username.as_str() {
        "<token>" => Credentials::IdentityToken(entry.secret),
        _ => Credentials::Password { user: entry.username, password: entry.secret },
    }))
}

/// Gives the helper credentials to keep.
pub fn store(name: &str, host: &str, (user, password): (&str, &str)) -> Result<()> {
    let entry = Entry { server: host.to_owned(), username: user.to_owned(), secret: password.to_owned() };
    must(name, "store", &serde_json::to_string(&entry)?)
}

/// Makes the helper forget them; that it knows none is no error.
pub fn erase(name: &str, host: &str) -> Result<()> {
    match get(name, host)? {
        Some(_) => must(name, "erase", host),
        None => Ok(()),
    }
}

fn must(name: &str, verb: &str, input: &str) -> Result<()> {
    match ask(name, verb, input)? {
        (true, _) => Ok(()),
        (false, answer) => bail!("docker-credential-{name} {verb}: {}", shown(answer.trim())),
    }
}

/// Whether it succeeded, and what it said.
fn ask(name: &str, verb: &str, input: &str) -> Result<(bool, String)> {
    if name.is_empty() || name.contains('/') {
        bail!("{name:?} is no credential helper");
    }
    let program = format!("docker-credential-{name}");
    let context = || format!("cannot run {program}");
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(context)?;
    let answer = converse(&mut child, input);
    let status = child.wait().with_context(context)?;
    Ok((status.success(), answer.with_context(context)?))
}

fn converse(child: &mut Child, input: &str) -> Result<String> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read it fails on its own.
        stdin.write_all(input.as_bytes()).ok();
    }
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER).read_to_string(&mut answer)?;
    }
    Ok(answer)
}
