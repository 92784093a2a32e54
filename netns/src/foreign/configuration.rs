//! A network as it is configured for an engine: the plugins to call, one behind the other, and what each is told
//! (specification 1.1, section 1).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stage::Explain;

use super::call::Plugin;
use crate::cni::VERSIONS;

/// Where engines keep plugins, if CNI_PATH does not say.
const DIRS: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];

/// The plugins of one container's network, as they were called, and so as they are to be called when it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    pub name: String,
    pub plugins: Vec<Plugin>,
    /// What ADD brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// What the user wants of the plugins, by the names of CNI's capabilities.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `portMappings`, `ips`, `mac`: the option that asks for it, and the value.
    pub capabilities: Vec<(&'static str, &'static str, Value)>,
}

impl Chain {
    /// Reads a configuration, or a list of them, and finds the plugins: among those given, files or directories, or
    /// else where engines keep them.
    pub fn read(file: &Path, given: &[PathBuf], wanted: &Wanted) -> Result<Chain> {
        let what = || format!("cannot use network configuration {}", file.display());
        let text = std::fs::read_to_string(file).context("open").with_context(what)?;
        let whole: Map<String, Value> = serde_json::from_str(&text).with_context(what)?;
        Chain::of(whole, given, wanted).with_context(what)
    }

    fn of(mut whole: Map<String, Value>, given: &[PathBuf], wanted: &Wanted) -> Result<Chain> {
        let word = |key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = word("name").filter(|name| !name.is_empty()).context("it has no name")?;
        let version = word("cniVersion").context("it has no cniVersion")?;
        if !VERSIONS.contains(&version.as_str()) {
            bail!("cniVersion {version} is none of {}", VERSIONS.join(", "));
        }
        let configurations = match whole.remove("plugins") {
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins,
            Some(_) => bail!("plugins is no list of plugins"),
            None => vec![Value::Object(whole)],
        };
        let is_only_one = configurations.len() == 1;
        let mut plugins = Vec::new();
        let mut unused = wanted.capabilities.iter().map(|(_, option, _)| *option).collect::<Vec<_>>();
        for configuration in configurations {
            let Value::Object(mut configuration) = configuration else { bail!("a plugin is no object") };
            configuration.insert("name".to_owned(), name.clone().into());
            configuration.insert("cniVersion".to_owned(), version.clone().into());
            let served = tell(&mut configuration, wanted);
            unused.retain(|option| !served.contains(option));
            let kind = configuration.get("type").and_then(Value::as_str).context("a plugin has no type")?;
            let path = find(kind, given, is_only_one)?;
            plugins.push(Plugin { path, configuration });
        }
        if let Some(option) = unused.first() {
            return Err(anyhow!("cannot use {option}: no plugin of it has the capability"))
                .hint("the key \"capabilities\" of a plugin says which of portMappings, ips and mac it has");
        }
        Ok(Chain { name, plugins, result: None })
    }
}

/// Gives a plugin what it can do of what is wanted, as `runtimeConfig`. Returns the options that are served.
fn tell(configuration: &mut Map<String, Value>, wanted: &Wanted) -> Vec<&'static str> {
    let capabilities = configuration.remove("capabilities").unwrap_or_default();
    let can = |name: &str| capabilities.get(name) == Some(&Value::Bool(true));
    let served: Vec<_> = wanted.capabilities.iter().filter(|(name, _, _)| can(name)).collect();
    for (name, _, value) in &served {
        let runtime = configuration.entry("runtimeConfig").or_insert_with(|| json!({}));
        runtime[*name] = value.clone();
    }
    served.into_iter().map(|(_, option, _)| *option).collect()
}

/// The program for plugins of this type.
fn find(kind: &str, given: &[PathBuf], is_only_one: bool) -> Result<PathBuf> {
    if kind.is_empty() || kind.contains('/') {
        bail!("a plugin has the type {kind:?}");
    }
    let standard = DIRS.map(PathBuf::from).to_vec();
    let of_engine = |text: std::ffi::OsString| std::env::split_paths(&text).collect();
    let searched = match given {
        [] => std::env::var_os("CNI_PATH").map_or(standard, of_engine),
        given => given.to_vec(),
    };
    let (dirs, files): (Vec<&PathBuf>, Vec<&PathBuf>) = searched.iter().partition(|path| path.is_dir());
    let named = files.iter().find(|file| file.file_name().is_some_and(|name| name == kind));
    let only = files.first().filter(|_| is_only_one && files.len() == 1);
    let in_dir = || dirs.iter().map(|dir| dir.join(kind)).find(|path| path.is_file());
    let found = named.or(only).map(|file| (*file).clone()).or_else(in_dir);
    found.and_then(|path| std::path::absolute(path).ok()).ok_or_else(|| {
        let searched: Vec<String> = searched.iter().map(|path| path.display().to_string()).collect();
        anyhow!("cannot find plugin {kind} in {}", searched.join(", "))
    })
}
