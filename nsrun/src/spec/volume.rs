//! `--volume SRC:DST[:OPTS]`.

use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};
use oci_spec::runtime::Mount;

/// A path of the host that the container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// As it was typed; relative to the caller's working directory if it is so.
    pub source: PathBuf,
    /// Absolute and without `.` and `..`.
    pub destination: PathBuf,
    /// Of the mount, as mount(8) and the OCI configuration name them.
    pub options: Vec<String>,
    /// `z` or `Z`: the source shall get an SELinux label that the container may use.
    pub relabel: bool,
}

impl Volume {
    /// # Errors
    /// It is not of that form, or an option is unknown or given twice.
    pub fn parse(text: &str) -> Result<Volume> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, words) = match parts[..] {
            [source, destination] => (source, destination, ""),
            [source, destination, words] => (source, destination, words),
            _ => bail!("cannot bind {text}: it is not SRC:DST[:OPTS]"),
        };
        if source.is_empty() {
            bail!("cannot bind {text}: SRC is empty");
        }
        let Some(destination) = clean(Path::new(destination)) else {
            bail!("cannot bind {text}: DST must be an absolute path other than /");
        };
        let mut volume = Volume { source: source.into(), destination, options: Vec::new(), relabel: false };
        volume.set_options(text, words)?;
        Ok(volume)
    }

    fn set_options(&mut self, text: &str, words: &str) -> Result<()> {
        let (mut mode, mut propagation) = (None, None);
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let slot = match word {
                "ro" | "rw" => &mut mode,
                "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => &mut propagation,
                "z" | "Z" => {
                    self.relabel = true;
                    continue;
                }
                // A bind never copies: docker has this word for named volumes.
                "nocopy" => continue,
                _ => bail!("cannot bind {text}: unknown option {word}"),
            };
            if slot.replace(word).is_some() {
                bail!("cannot bind {text}: {word} and another option contradict each other");
            }
        }
        self.options = vec!["rbind".to_owned(), propagation.unwrap_or("rprivate").to_owned()];
        // docker's `ro` holds for the mounts below, too: one that is read-only at its top alone would be a trap.
        self.options.extend(mode.map(|mode| if mode == "ro" { "rro" } else { mode }.to_owned()));
        Ok(())
    }

    pub fn mount(&self) -> Mount {
        let mut mount = Mount::default();
        mount
            .set_destination(self.destination.clone())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(self.source.clone()))
            .set_options(Some(self.options.clone()));
        mount
    }
}

/// The path without `.` and `..`; `None` if it is relative, or `/`.
pub fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
        }
    }
    (path.is_absolute() && clean != Path::new("/")).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        match Volume::parse(text) {
            Ok(v) => {
                format!("{} {} {}", v.source.display(), v.destination.display(), v.options.join(","))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn dockers_forms() {
        assert_eq!(of("/a:/b"), "/a /b rbind,rprivate");
        assert_eq!(of("./a:/b/../c/./d:ro"), "./a /c/d rbind,rprivate,rro");
        assert_eq!(of("/a:/b:rslave,rw,z"), "/a /b rbind,rslave,rw");
        assert!(Volume::parse("/a:/b:Z").unwrap().relabel);
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(of("/a"), "cannot bind /a: it is not SRC:DST[:OPTS]");
        assert_eq!(of("/a:b"), "cannot bind /a:b: DST must be an absolute path other than /");
        assert_eq!(of("/a:/b/.."), "cannot bind /a:/b/..: DST must be an absolute path other than /");
        assert_eq!(of(":/b"), "cannot bind :/b: SRC is empty");
        assert_eq!(of("/a:/b:rx"), "cannot bind /a:/b:rx: unknown option rx");
        assert_eq!(of("/a:/b:ro,rw"), "cannot bind /a:/b:ro,rw: rw and another option contradict each other");
    }
}
