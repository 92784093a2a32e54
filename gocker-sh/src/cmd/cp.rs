//! `cp`: files from a container to the host, or the other way round.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::cli::Global;
use crate::copy::{self, Owner};
use crate::store::Store;
use crate::{gc, lookup, rootfs};

/// Copy files from a container or to it
#[derive(clap::Args, Clone, Debug)]
pub struct Cp {
    /// Keep owners and groups as they are
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symbolic link leads to, if SRC is one
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Accepted: nothing is said in any case
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH or PATH
    #[arg(value_name = "SRC")]
    source: String,
    /// PATH or CONTAINER:PATH
    #[arg(value_name = "DST")]
    target: String,
}

/// One side.
struct Side<'a> {
    /// `/` of the container; `None` for the host, where links may lead anywhere.
    root: Option<&'a OwnedFd>,
    path: PathBuf,
    /// `x/.` and `x/`: what is in the directory, or that it must be one.
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Name,
    Slash,
    Dot,
}

pub fn cp(global: &Global, options: &Cp) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let owner = if options.archive { Owner::AsFound } else { Owner::Ours };
    let container = match (split(&options.source), split(&options.target)) {
        (Some(_), Some(_)) => bail!("copying between containers is not supported"),
        (None, None) => bail!("must specify at least one container source"),
        (Some((container, _)), None) | (None, Some((container, _))) => container,
    };
    for one in [&options.source, &options.target] {
        if one == "-" {
            bail!("cannot copy a tar stream: use gocker-sh exec {container} tar, or gocker-sh export");
        }
    }
    let id = lookup::container(&store, container)?;
    rootfs::with(global, &store, &id, |root| {
        let side = |text: &str| match split(text) {
            Some((_, path)) => Side::of(Some(root), &format!("/{path}")),
            None => Side::of(None, text),
        };
        let (source, target) = (side(&options.source), side(&options.target));
        copy_between(&source, &target, options.follow_link, owner)
    })?;
    Ok(0)
}

/// `CONTAINER:PATH`; what has a slash before its first colon, or starts with a dot, is a path.
fn split(text: &str) -> Option<(&str, &str)> {
    let (container, path) = text.split_once(':')?;
    (!container.is_empty() && !container.contains('/') && !container.starts_with('.'))
        .then_some((container, path))
}

impl<'a> Side<'a> {
    fn of(root: Option<&'a OwnedFd>, text: &str) -> Side<'a> {
        let ending = match text {
            text if text.ends_with("/.") || text == "." => Ending::Dot,
            text if text.ends_with('/') => Ending::Slash,
            _ => Ending::Name,
        };
        // Through `..` of the container's path the kernel goes, within the root.
        let path = Path::new(text).components().collect();
        Side { root, path, ending }
    }

    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        match self.root {
            Some(root) => rustix::fs::openat2(
                root,
                path,
                flags,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ),
            None => rustix::fs::open(path, flags, Mode::empty()),
        }
    }

    fn dir(&self, path: &Path) -> Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// The directory that holds it, and its name there. `None` when it has none of its own: `/`, `.`, `..`.
    fn place(&self) -> Result<Option<(OwnedFd, OsString)>> {
        match self.path.components().next_back() {
            Some(Component::Normal(name)) if self.ending == Ending::Name => {
                Ok(Some((self.dir(self.path.parent().unwrap_or(Path::new("")))?, name.to_owned())))
            }
            _ => Ok(None),
        }
    }

    fn is_dir(&self) -> Option<bool> {
        let fd = self.open(&self.path, OFlags::PATH).ok()?;
        let stat = rustix::fs::fstat(fd).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    fn name(&self) -> Option<&OsStr> {
        self.path.file_name()
    }
}

fn copy_between(source: &Side, target: &Side, follow: bool, owner: Owner) -> Result<()> {
    if source.is_dir().is_none() && !is_link(source)? {
        bail!("Could not find the file {}", source.path.display());
    }
    let into = target.is_dir();
    match (source.ending == Ending::Dot, source.is_dir(), into) {
        (_, Some(true), Some(false)) => {
            bail!("cannot copy directory {} to file {}", source.path.display(), target.path.display())
        }
        (true, _, Some(true)) => {
            copy::contents(source.dir(&source.path)?.as_fd(), target.dir(&target.path)?.as_fd(), owner)
        }
        (true, _, _) => {
            // `x/.` to what is not there is x under the new name.
            let (to, name) = place_of_new(target)?;
            let from = source.dir(&source.path)?;
            rustix::fs::mkdirat(
                &to,
                name.as_os_str(),
                Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH,
            )
            .context("mkdir")
            .with_context(|| format!("cannot make {}", target.path.display()))?;
            let made = target.dir(&target.path)?;
            copy::contents(from.as_fd(), made.as_fd(), owner)
        }
        (false, _, Some(true)) => {
            let to = target.dir(&target.path)?;
            let name = source.name().unwrap_or(OsStr::new(".")).to_owned();
            one(source, &to, &name, follow, owner)
        }
        (false, is_dir, _) => {
            if target.ending == Ending::Slash && is_dir == Some(false) {
                bail!("cannot copy to {}: no such directory", target.path.display());
            }
            let (to, name) = place_of_new(target)?;
            one(source, &to, &name, follow, owner)
        }
    }
}

fn is_link(side: &Side) -> Result<bool> {
    let Ok(Some((dir, name))) = side.place() else { return Ok(false) };
    let stat = rustix::fs::statat(dir, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW);
    Ok(stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink))
}

/// Where a file goes that is not there, or is replaced.
fn place_of_new(target: &Side) -> Result<(OwnedFd, OsString)> {
    let name = target.name().with_context(|| format!("cannot copy to {}", target.path.display()))?;
    Ok((target.dir(target.path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
}

/// One file or tree under a name of its own.
fn one(source: &Side, to: &OwnedFd, name: &OsStr, follow: bool, owner: Owner) -> Result<()> {
    let place = if follow { None } else { source.place()? };
    match place {
        Some((from, found)) => copy::copy(from.as_fd(), &found, to.as_fd(), name, owner),
        None if source.is_dir() == Some(true) => {
            let from = source.dir(&source.path)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU).ok();
            let to = std::ffi::CString::new(name.as_encoded_bytes())
                .context("a name holds a zero byte")
                .and_then(|name| {
                    copy::open_dir(to.as_fd(), &name).context("cannot open the directory to copy into")
                })?;
            copy::contents(from.as_fd(), to.as_fd(), owner)
        }
        // The link's end, by way of the descriptor: what is opened is what is copied.
        None => {
            let real = source
                .open(&source.path, OFlags::RDONLY)
                .with_context(|| format!("cannot open {}", source.path.display()))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o644)).context("create")?;
            let copied = std::io::copy(&mut std::fs::File::from(real), &mut std::fs::File::from(made));
            copied.with_context(|| format!("cannot copy {}", source.path.display())).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_stands_before_a_colon() {
        assert_eq!(split("web:/etc"), Some(("web", "/etc")));
        assert_eq!(split("web:etc"), Some(("web", "etc")));
        for path in ["/a:b", "./a:b", "a", "-", ":x"] {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
