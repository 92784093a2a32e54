//! The environment: docker's order, and docker's rules for `-e` and `--env-file`. The last of a name wins.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::options::ProcessOptions;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the caller gives: its own variables, and the texts of the files named with `--env-file`.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub env: Vec<(String, String)>,
    pub env_files: Vec<String>,
}

impl Client {
    /// # Errors
    /// A file cannot be read, or is not UTF-8.
    pub fn read(files: &[std::path::PathBuf]) -> Result<Client> {
        let text = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", shown(path)))
        };
        Ok(Client {
            env: std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            env_files: files.iter().map(text).collect::<Result<_>>()?,
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The environment of a container's first process. `HOME` is not among it: it depends on the user, who may differ
/// in `exec`, and is added when the process is started, as runc does.
pub fn of_container(
    options: &ProcessOptions,
    image: Option<&[String]>,
    hostname: &str,
    client: &Client,
) -> Result<Vec<String>> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if options.tty {
        env.push("TERM=xterm".to_owned());
    }
    image.unwrap_or_default().iter().for_each(|entry| set(&mut env, entry));
    typed(&mut env, options, client)?;
    Ok(env)
}

/// The environment of a further process: the container's, then what was typed.
pub fn of_exec(container: &[String], options: &ProcessOptions, client: &Client) -> Result<Vec<String>> {
    let mut env = container.to_vec();
    if options.tty && value(&env, "TERM").is_none() {
        env.push("TERM=xterm".to_owned());
    }
    typed(&mut env, options, client)?;
    Ok(env)
}

fn typed(env: &mut Vec<String>, options: &ProcessOptions, client: &Client) -> Result<()> {
    for (text, path) in client.env_files.iter().zip(&options.env_file) {
        let lines = file(text).with_context(|| format!("cannot read {}", shown(path)))?;
        lines.into_iter().for_each(|line| assign(env, line, client));
    }
    for entry in &options.env {
        if entry.is_empty() || entry.starts_with('=') {
            bail!("cannot set a variable: {entry:?} has no name");
        }
        assign(env, entry, client);
    }
    match env.iter().find(|entry| entry.contains('\0')) {
        Some(entry) => bail!("cannot set a variable: {entry:?} has a zero byte"),
        None => Ok(()),
    }
}

/// `NAME=VALUE` sets; `NAME` takes the caller's value, or removes the variable if the caller has none.
fn assign(env: &mut Vec<String>, entry: &str, client: &Client) {
    if entry.contains('=') {
        return set(env, entry);
    }
    match client.get(entry) {
        Some(value) => set(env, &format!("{entry}={value}")),
        None => env.retain(|old| name(old) != entry),
    }
}

fn set(env: &mut Vec<String>, entry: &str) {
    match env.iter_mut().find(|old| name(old) == name(entry)) {
        Some(old) => entry.clone_into(old),
        None => env.push(entry.to_owned()),
    }
}

fn name(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

/// The value of a variable.
pub fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// The assignments of an `--env-file` (docker/cli, pkg/kvfile): quotes mean nothing, `#` only begins a line.
fn file(text: &str) -> Result<Vec<&str>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = name(line);
        if key.is_empty() {
            bail!("line {}: no variable name", number + 1);
        }
        if key.contains(char::is_whitespace) {
            bail!("line {}: variable '{key}' contains whitespaces", number + 1);
        }
        entries.push(line);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(file: &str) -> Client {
        Client { env: vec![("HERE".to_owned(), "value".to_owned())], env_files: vec![file.to_owned()] }
    }

    fn options(env: &[&str], tty: bool) -> ProcessOptions {
        ProcessOptions {
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            env_file: vec!["f".into()],
            tty,
            ..ProcessOptions::default()
        }
    }

    fn of(image: &[&str], file: &str, typed: &[&str], tty: bool) -> String {
        let image: Vec<String> = image.iter().map(|entry| (*entry).to_owned()).collect();
        match of_container(&options(typed, tty), Some(&image), "h", &client(file)) {
            Ok(env) => env[1..].join(" "),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn later_sources_win_and_keep_the_place() {
        assert_eq!(of(&[], "", &[], false), "HOSTNAME=h");
        assert_eq!(of(&[], "", &[], true), "HOSTNAME=h TERM=xterm");
        assert_eq!(
            of(&["TERM=vt100", "A=1"], "A=2\nB=1", &["B=2", "A=3"], true),
            "HOSTNAME=h TERM=vt100 A=3 B=2"
        );
        assert_eq!(of(&["A=1", "A=2"], "", &[], false), "HOSTNAME=h A=2");
    }

    #[test]
    fn a_bare_name_copies_or_removes() {
        assert_eq!(of(&["A=1"], "", &["A", "HERE"], false), "HOSTNAME=h HERE=value");
        assert_eq!(of(&["A=1"], "A\nHERE\n", &[], false), "HOSTNAME=h HERE=value");
    }

    #[test]
    fn a_file_is_taken_literally() {
        assert_eq!(
            of(&[], "\u{feff}# no\n\n  A=\"q\" # yes\nB=\n", &[], false),
            "HOSTNAME=h A=\"q\" # yes B="
        );
        assert_eq!(
            of(&[], "A B=1", &[], false),
            "cannot read f: line 1: variable 'A B' contains whitespaces"
        );
        assert_eq!(of(&[], "\n=1", &[], false), "cannot read f: line 2: no variable name");
    }

    #[test]
    fn what_no_environment_can_hold_is_an_error() {
        assert!(of(&[], "A=\0", &[], false).contains("zero byte"));
        assert_eq!(of(&[], "", &["=x"], false), "cannot set a variable: \"=x\" has no name");
    }

    #[test]
    fn exec_starts_from_the_containers_environment() {
        let container = ["A=1".to_owned(), "B=1".to_owned()];
        let env = of_exec(&container, &options(&["B=2"], true), &client("")).unwrap();
        assert_eq!(env, ["A=1", "B=2", "TERM=xterm"]);
    }
}
