//! `--mount` and `--tmpfs`, in docker's spelling.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use oci_spec::runtime::Mount;
use stage::Explain;

use super::limits::bytes;
use super::volume::clean;

/// What docker gives to a tmpfs that nothing is said of.
const TMPFS: [&str; 3] = ["noexec", "nosuid", "nodev"];
/// Options that take each other's place.
const PAIRS: [(&str, &str); 6] = [
    ("exec", "noexec"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("ro", "rw"),
    ("sync", "async"),
    ("atime", "noatime"),
];
/// Options with a value.
const VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// `--tmpfs PATH[:OPTIONS]`.
///
/// # Errors
/// An option is not one of a tmpfs.
pub fn tmpfs(text: &str) -> Result<Mount> {
    let (path, words) = text.split_once(':').unwrap_or((text, ""));
    let destination = clean(path.as_ref()).with_context(|| {
        format!("cannot use --tmpfs={text}: it must begin with an absolute path other than /")
    })?;
    let mut options: Vec<String> = TMPFS.map(str::to_owned).into();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let name = word.split('=').next().unwrap_or_default();
        let pair = PAIRS.iter().find(|(one, other)| *one == word || *other == word);
        ensure!(
            pair.is_some() || (VALUES.contains(&name) && word.contains('=')),
            "cannot use --tmpfs={text}: a tmpfs has no option {word}"
        );
        options.retain(|known| match pair {
            Some((one, other)) => known != one && known != other,
            None => known.split('=').next() != Some(name),
        });
        options.push(word.to_owned());
    }
    Ok(mount(destination, "tmpfs", "tmpfs".into(), options))
}

/// `--mount type=TYPE,KEY=VALUE,...`: bind and tmpfs. Unlike a volume's, the source of a bind must be there.
///
/// # Errors
/// A key is not known, or one that is needed is missing.
pub fn parse(text: &str) -> Result<Mount> {
    let mut typed = Typed::default();
    for part in text.split(',') {
        typed.take(part).with_context(|| format!("cannot use --mount={text}"))?;
    }
    typed.mount().with_context(|| format!("cannot use --mount={text}"))
}

/// What was typed of one mount.
#[derive(Debug, Default)]
struct Typed {
    typ: String,
    source: Option<PathBuf>,
    target: Option<PathBuf>,
    read_only: bool,
    propagation: Option<String>,
    /// `bind-recursive`: whether mounts below come along, and are read-only, too.
    recursive: Option<String>,
    size: Option<u64>,
    mode: Option<u32>,
}

impl Typed {
    fn take(&mut self, part: &str) -> Result<()> {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        let truth = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => bail!("{part}: it is neither true nor false"),
        };
        match key {
            "type" => value.clone_into(&mut self.typ),
            "source" | "src" => self.source = Some(value.into()),
            "target" | "destination" | "dst" => self.target = Some(value.into()),
            "readonly" | "ro" => self.read_only = truth()?,
            "bind-propagation" => self.propagation = Some(value.to_owned()),
            "bind-recursive" => self.recursive = Some(value.to_owned()),
            "bind-nonrecursive" => self.recursive = truth()?.then(|| "disabled".to_owned()),
            "tmpfs-size" => self.size = Some(bytes("tmpfs-size", value)?),
            "tmpfs-mode" => self.mode = Some(u32::from_str_radix(value, 8).context(part.to_owned())?),
            _ => bail!("there is no key {key}"),
        }
        Ok(())
    }

    fn mount(self) -> Result<Mount> {
        let target = self.target.context("target is missing")?;
        let target = clean(&target).context("target must be an absolute path other than /")?;
        match self.typ.as_str() {
            "bind" => {
                ensure!(self.size.is_none() && self.mode.is_none(), "a bind has no tmpfs options");
                let source = self.source.context("source is missing")?;
                ensure!(source.is_absolute(), "source must be an absolute path");
                ensure!(source.exists(), "source {} is not there", source.display());
                let options = bind_options(self.read_only, self.propagation, self.recursive.as_deref())?;
                Ok(mount(target, "bind", source, options))
            }
            "tmpfs" => {
                ensure!(self.source.is_none(), "a tmpfs has no source");
                ensure!(
                    self.propagation.is_none() && self.recursive.is_none(),
                    "a tmpfs has no bind options"
                );
                let mut options: Vec<String> = TMPFS.map(str::to_owned).into();
                options.extend(self.read_only.then(|| "ro".to_owned()));
                options.extend(self.size.map(|size| format!("size={size}")));
                options.extend(self.mode.map(|mode| format!("mode={mode:o}")));
                Ok(mount(target, "tmpfs", "tmpfs".into(), options))
            }
            "" | "volume" => {
                Err(anyhow!("type=volume: nsrun keeps no volumes")).hint("gocker-sh does; here: type=bind")
            }
            other => bail!("there is no type {other}"),
        }
    }
}

fn bind_options(
    read_only: bool,
    propagation: Option<String>,
    recursive: Option<&str>,
) -> Result<Vec<String>> {
    let (bind, ro) = match recursive.unwrap_or("enabled") {
        "enabled" => ("rbind", Some("rro")),
        "disabled" => ("bind", Some("ro")),
        "writable" => ("rbind", Some("ro")),
        "readonly" if read_only => ("rbind", Some("rro")),
        "readonly" => bail!("bind-recursive=readonly takes readonly"),
        other => bail!("bind-recursive={other}: it is none of enabled, disabled, writable and readonly"),
    };
    let propagation = propagation.unwrap_or_else(|| "rprivate".to_owned());
    let known =
        ["private", "rprivate", "slave", "rslave", "shared", "rshared"].contains(&propagation.as_str());
    ensure!(known, "bind-propagation={propagation}: there is no such kind");
    let mut options = vec![bind.to_owned(), propagation];
    options.extend(ro.filter(|_| read_only).map(str::to_owned));
    Ok(options)
}

fn mount(destination: PathBuf, typ: &str, source: PathBuf, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination)
        .set_typ(Some(typ.to_owned()))
        .set_source(Some(source))
        .set_options(Some(options));
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mount: Result<Mount>) -> String {
        match mount {
            Ok(mount) => format!(
                "{} {} {}",
                mount.source().as_ref().unwrap().display(),
                mount.destination().display(),
                mount.options().as_ref().unwrap().join(",")
            ),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn tmpfs_as_docker_has_it() {
        assert_eq!(shown(tmpfs("/a")), "tmpfs /a noexec,nosuid,nodev");
        assert_eq!(shown(tmpfs("/a:exec,size=1m,mode=700")), "tmpfs /a nosuid,nodev,exec,size=1m,mode=700");
        assert_eq!(shown(tmpfs("/a:sise=1")), "cannot use --tmpfs=/a:sise=1: a tmpfs has no option sise=1");
        assert_eq!(
            shown(tmpfs("a")),
            "cannot use --tmpfs=a: it must begin with an absolute path other than /"
        );
    }

    #[test]
    fn mounts_as_docker_has_them() {
        assert_eq!(shown(parse("type=bind,src=/tmp,dst=/a,ro")), "/tmp /a rbind,rprivate,rro");
        assert_eq!(
            shown(parse("type=bind,source=/tmp,target=/a,bind-propagation=rslave,bind-nonrecursive")),
            "/tmp /a bind,rslave"
        );
        assert_eq!(
            shown(parse("type=tmpfs,dst=/a,tmpfs-size=1k,tmpfs-mode=1770")),
            "tmpfs /a noexec,nosuid,nodev,size=1024,mode=1770"
        );
        for (text, error) in [
            ("type=bind,src=/nil/x,dst=/a", "source /nil/x is not there"),
            ("type=bind,dst=/a", "source is missing"),
            ("type=bind,src=/tmp", "target is missing"),
            ("type=bind,src=/tmp,dst=/a,x=1", "there is no key x"),
            ("type=nfs,dst=/a", "there is no type nfs"),
            ("dst=/a", "type=volume: nsrun keeps no volumes"),
        ] {
            assert_eq!(shown(parse(text)), format!("cannot use --mount={text}: {error}"));
        }
    }
}
