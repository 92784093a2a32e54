//! `--onto` and `--config`: what an image made of a tree has besides that one layer.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use stage::{Codes, Explain};

use crate::digest::Digest;
use crate::image::{Layer, Record};
use crate::manifest::Descriptor;
use crate::platform::Platform;
use crate::store::Store;

/// What lies below the new layer, and what the new configuration says.
#[derive(Default)]
pub struct Base {
    parent: Option<Record>,
    /// An OCI image configuration without what follows from the layers.
    said: Map<String, Value>,
}

/// What `--config` can say: the rest follows from the layers.
const KEYS: [&str; 4] = ["author", "config", "created", "history"];

impl Base {
    /// `onto` is an image that is here, `config` a JSON object.
    pub fn of(store: &Store, onto: Option<&str>, config: Option<&str>) -> Result<Base> {
        let parent = match onto {
            Some(name) => match store.find(name).with_context(|| format!("cannot use --onto={name}"))? {
                Some(found) => Some(found.record),
                None => bail!("cannot use --onto={name}: no such image"),
            },
            None => None,
        };
        let said = config.map_or(Ok(Map::new()), said).context("cannot use --config").code(Codes::USAGE)?;
        Ok(Base { parent, said })
    }

    /// What the image runs on: what its parent does.
    pub fn platform(&self, wanted: Option<&Platform>) -> Result<Platform> {
        let Some(parent) = &self.parent else {
            return Ok(wanted.cloned().unwrap_or_else(Platform::host));
        };
        let platform = parent.platform()?;
        match wanted {
            Some(wanted) if wanted.distance(&platform).is_none() => {
                bail!("the platform of --onto is {platform}, not {wanted}")
            }
            _ => Ok(platform),
        }
    }

    /// The layers below the new one.
    pub fn layers(&self) -> Vec<Descriptor> {
        self.parent.iter().flat_map(|parent| &parent.layers).map(Layer::descriptor).collect()
    }

    /// The configuration of the image with the new layer on top.
    pub fn config(&self, platform: &Platform, diff_id: &Digest) -> Result<Value> {
        let mut config: Map<String, Value> = match &self.parent {
            Some(parent) => serde_json::from_str(parent.spec.get())?,
            None => Map::from_iter([("config".to_owned(), json!({}))]),
        };
        config.insert("architecture".to_owned(), json!(platform.architecture));
        config.insert("os".to_owned(), json!(platform.os));
        if let Some(variant) = &platform.variant {
            config.insert("variant".to_owned(), json!(variant));
        }
        let history = self.history(config.remove("history"));
        let said = self.said.iter().filter(|(key, _)| *key != "history");
        config.extend(said.map(|(key, value)| (key.clone(), value.clone())));
        if !history.is_empty() {
            config.insert("history".to_owned(), history.into());
        }
        let mut diff_ids: Vec<&Digest> =
            self.parent.iter().flat_map(|parent| &parent.layers).map(|layer| &layer.diff_id).collect();
        diff_ids.push(diff_id);
        config.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
        Ok(config.into())
    }

    /// An entry for each layer, or none at all (OCI image-spec, config.md): where only some tell of theirs, the others
    /// have empty ones.
    fn history(&self, parents: Option<Value>) -> Vec<Value> {
        let mut history = parents.and_then(|value| value.as_array().cloned()).unwrap_or_default();
        let own = self.said.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
        if history.is_empty() && own.is_empty() {
            return history;
        }
        let layers =
            |history: &[Value]| history.iter().filter(|one| one["empty_layer"] != json!(true)).count();
        let below = self.parent.as_ref().map_or(0, |parent| parent.layers.len());
        while layers(&history) < below {
            history.push(json!({}));
        }
        if layers(&own) == 0 {
            history.push(json!({}));
        }
        history.extend(own);
        history
    }
}

fn said(text: &str) -> Result<Map<String, Value>> {
    let said: Map<String, Value> = serde_json::from_str(text).map_err(|error| anyhow!("{error}"))?;
    match said.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => {
            Err(anyhow!("{key:?} is not for it to say")).hint(format!("it can say {}", KEYS.join(", ")))
        }
        None => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_tells_of_each_layer_or_of_none() {
        let with = |config: &str| Base { parent: None, said: said(config).unwrap() };
        assert!(with("{}").history(None).is_empty());
        let own = with(r#"{"history":[{"comment":"mine"}]}"#);
        assert_eq!(own.history(None), [json!({"comment": "mine"})]);
        assert_eq!(with("{}").history(Some(json!([{"comment": "below"}]))).len(), 2);
    }

    #[test]
    fn what_follows_from_the_layers_is_not_for_it_to_say() {
        assert!(said(r#"{"rootfs":{}}"#).is_err() && said("[]").is_err());
    }
}
