//! One call of a CNI plugin: its variables, its configuration on stdin, its answer on stdout (specification 1.1, sections
//! 2 and 5).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stage::{Explain, Id, shell};

use crate::{pin, veth};

/// A program, and the configuration that it is called with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    pub path: PathBuf,
    pub configuration: Map<String, Value>,
}

impl Plugin {
    /// Calls it for the container's `eth0`. `previous` is what the plugins before it, or ADD, have brought.
    pub fn call(&self, command: &str, id: &Id, previous: Option<&Value>) -> Result<Option<Value>> {
        let what = || format!("cannot {command} by plugin {}", self.path.display());
        let mut configuration = self.configuration.clone();
        if let Some(previous) = previous {
            configuration.insert("prevResult".to_owned(), previous.clone());
        }
        let input = serde_json::to_vec(&configuration)?;
        // One that is gone is taken back all the same.
        let netns = if pin::is_there(id) { pin::path(id) } else { PathBuf::new() };
        let variables = [
            ("CNI_COMMAND", command.into()),
            // Not the id itself: where the plugin is this very program, that one has a record already.
            ("CNI_CONTAINERID", pin::name(id).into()),
            ("CNI_NETNS", netns.into_os_string()),
            ("CNI_IFNAME", veth::INSIDE.into()),
            // Where it finds the plugin that gives it addresses.
            ("CNI_PATH", self.path.parent().unwrap_or(Path::new("/")).as_os_str().to_owned()),
        ];
        let words = variables.iter().map(|(name, value)| format!("{name}={}", value.display()));
        let words: Vec<String> = words.chain([self.path.display().to_string()]).collect();
        shell(&[vec!["env".to_owned()], words].concat());
        let mut child = Command::new(&self.path)
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(what)?;
        // One that ends without reading says why.
        child.stdin.take().map(|mut stdin| stdin.write_all(&input));
        let output = child.wait_with_output().with_context(what)?;
        let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if output.status.success() {
            return Ok(answer);
        }
        let word = |key: &str| answer.as_ref()?.get(key)?.as_str().filter(|text| !text.is_empty());
        let reason = word("msg").map_or_else(|| output.status.to_string(), str::to_owned);
        let failed = Err(anyhow!(reason)).with_context(what);
        match word("details") {
            Some(details) => failed.hint(details),
            None => failed,
        }
    }
}
