//! No verb: from the layers to a mounted root and its section of the document.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};
use stage::{Codes, Document, Explain, Section, Undo};

use crate::cli::Create;
use crate::mount::{mount_overlay, mount_read_only};
use crate::overlay::{OciMount, Overlay, Upper};
use crate::place::{self, Dirs, Place};
use crate::size::Size;
use crate::takedown;

/// As much of the section "image" as is needed here.
#[derive(Deserialize)]
struct Image {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    path: PathBuf,
}

/// The section "rootfs".
#[derive(Serialize)]
struct Rootfs {
    mount: OciMount,
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<PathBuf>,
}

pub fn command(dirs: &Dirs, wanted: &Create) -> Result<()> {
    let mut document = Document::from_stdin()?;
    document.vacant(Section::Rootfs)?;
    let lowers = lowers(&document, &wanted.lower)?;
    let place = dirs.of(&document.identify(wanted.id.clone())?);
    stage::need_root()?;
    if !wanted.read_only && wanted.tmpfs.is_none() {
        outside(&place.kept, &lowers)?;
    }
    stage::signals::hold()?;
    stage::undoable(|undo| {
        claim(&place, undo)?;
        let section = build(&place, wanted, lowers, undo)?;
        document.add(Section::Rootfs, &section)?;
        document.write()
    })
}

/// The layers, topmost first.
fn lowers(document: &Document, given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut lowers: Vec<PathBuf> = if given.is_empty() {
        document.need::<Image>(Section::Image)?.layers.into_iter().map(|layer| layer.path).collect()
    } else {
        given.iter().map(|dir| directory(dir)).collect::<Result<_>>()?
    };
    if lowers.is_empty() {
        return Err(anyhow::anyhow!("cannot read the document: \"image\": it has no layers"))
            .code(Codes::USAGE);
    }
    if let Some(lower) = lowers.iter().find(|lower| lower.is_relative()) {
        return Err(anyhow::anyhow!(
            "cannot read the document: \"image\": layer {} is no absolute path",
            lower.display()
        ))
        .code(Codes::USAGE);
    }
    lowers.reverse();
    Ok(lowers)
}

/// What was typed, without symbolic links: it can be compared with where the upper directory is.
fn directory(path: &Path) -> Result<PathBuf> {
    let context = || format!("cannot use {} as a layer", path.display());
    let real = path.canonicalize().with_context(context)?;
    if !real.is_dir() {
        Err(std::io::Error::from(ErrorKind::NotADirectory)).with_context(context)?;
    }
    Ok(real)
}

/// An upper directory inside a layer would show itself in the merged tree, and change the layer below a mount,
/// which overlayfs leaves undefined; the kernel does not refuse it. On another file system it is not inside:
/// overlayfs does not cross mounts.
fn outside(kept: &Path, lowers: &[PathBuf]) -> Result<()> {
    let Some(above) = kept.ancestors().find_map(|dir| dir.canonicalize().ok()) else { return Ok(()) };
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    match lowers.iter().find(|lower| above.starts_with(lower) && device(lower) == device(&above)) {
        None => Ok(()),
        Some(lower) => Err(anyhow::anyhow!(
            "cannot mount over {}: the upper directory {} would lie inside it",
            lower.display(),
            place::upper(kept).display()
        ))
        .hint("use --tmpfs, or --root on another file system"),
    }
}

/// The directory below which this container's mounts are belongs to the one process that could make it.
fn claim(place: &Place, undo: &mut Undo) -> Result<()> {
    let run = &place.run;
    let mut made = DirBuilder::new().mode(0o700).create(run);
    if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        stage::make_private_dir(run.parent().unwrap_or(run))?;
        made = DirBuilder::new().mode(0o700).create(run);
    }
    if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
        let id = run.file_name().unwrap_or_default().to_string_lossy();
        return made
            .with_context(|| format!("cannot make directory {}: mkdir", run.display()))
            .hint(format!("a root with this id is there already; mount-overlay undo {id} takes it down"));
    }
    made.with_context(|| format!("cannot make directory {}: mkdir", run.display()))?;
    stage::shell(&["mkdir", "-p", "-m", "700", &run.to_string_lossy()]);
    let run = run.clone();
    undo.push(move || stage::remove_tree(&run));
    make_dir(&place.rootfs(), 0o700)
}

fn build(place: &Place, wanted: &Create, lowers: Vec<PathBuf>, undo: &mut Undo) -> Result<Rootfs> {
    let path = place.rootfs();
    if wanted.read_only && lowers.len() == 1 {
        let mount = mount_read_only(&lowers[0], &path, undo)?;
        return Ok(Rootfs { mount, path, upper: None, work: None });
    }
    let upper = match wanted.tmpfs {
        _ if wanted.read_only => None,
        Some(size) => Some(in_memory(place, size, undo)?),
        None => Some(on_disk(place, undo)),
    };
    let upper = upper.map(|dir| make_upper(&dir, &lowers[0], wanted.volatile)).transpose()?;
    let overlay = Overlay { lowers, upper };
    mount_overlay(&overlay, &path, undo)?;
    let mount = overlay.oci();
    let (upper, work) = overlay.upper.map(|upper| (upper.dir, upper.work)).unzip();
    Ok(Rootfs { mount, path, upper, work })
}

/// Mounts a tmpfs for the upper directory.
fn in_memory(place: &Place, size: Option<Size>, undo: &mut Undo) -> Result<PathBuf> {
    let dir = place.tmpfs();
    make_dir(&dir, 0o700)?;
    let mut options = "mode=0700".to_owned();
    if let Some(Size(bytes)) = size {
        options += &format!(",size={bytes}");
    }
    stage::shell(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &dir.to_string_lossy()]);
    let mounted = dir.clone();
    undo.push(move || takedown::unmount(&mounted));
    let options = std::ffi::CString::new(options)?;
    mount("tmpfs", &dir, "tmpfs", MountFlags::NODEV, &*options)
        .with_context(|| format!("cannot mount tmpfs at {}: mount", dir.display()))?;
    Ok(dir)
}

/// The upper and the work directory in `dir`. An upper directory that is there already is one that
/// `undo --keep-upper` left: it is used again, and stays if anything fails.
fn make_upper(dir: &Path, topmost: &Path, volatile: bool) -> Result<Upper> {
    let upper = Upper { dir: place::upper(dir), work: place::work(dir), volatile };
    if !upper.dir.exists() {
        if !dir.exists() {
            stage::shell(&["mkdir", "-p", "-m", "700", &dir.to_string_lossy()]);
            stage::make_private_dir(dir)?;
        }
        make_dir(&upper.dir, 0o755)?;
        like(&upper.dir, topmost)?;
    }
    if !upper.work.exists() {
        make_dir(&upper.work, 0o700)?;
    }
    Ok(upper)
}

/// What is not there yet will be removed if anything fails.
fn on_disk(place: &Place, undo: &mut Undo) -> PathBuf {
    let dir = &place.kept;
    for path in [dir.clone(), place::upper(dir), place::work(dir)] {
        if !path.exists() {
            undo.push(move || stage::remove_tree(&path));
        }
    }
    dir.clone()
}

/// The root of the merged tree is the upper directory: it must look as the layers' root does.
fn like(upper: &Path, topmost: &Path) -> Result<()> {
    let root = std::fs::metadata(topmost)
        .with_context(|| format!("cannot use {} as a layer: stat", topmost.display()))?;
    for command in ["chown", "chmod"] {
        let reference = format!("--reference={}", topmost.display());
        stage::shell(&[command, &reference, &upper.to_string_lossy()]);
    }
    std::os::unix::fs::chown(upper, Some(root.uid()), Some(root.gid()))
        .with_context(|| format!("cannot give {} its owner: chown", upper.display()))?;
    std::fs::set_permissions(upper, std::fs::Permissions::from_mode(root.mode() & 0o7777))
        .with_context(|| format!("cannot give {} its mode: chmod", upper.display()))
}

fn make_dir(dir: &Path, mode: u32) -> Result<()> {
    stage::shell(&["mkdir", "-m", &format!("{mode:o}"), &dir.to_string_lossy()]);
    DirBuilder::new()
        .mode(mode)
        .create(dir)
        .with_context(|| format!("cannot make directory {}: mkdir", dir.display()))
}
