//! Named volumes: directories that outlive containers.
//!
//!     ROOT/gocker-sh-volumes/NAME/_data         the volume
//!     ROOT/gocker-sh-volumes/NAME/volume.json   when it was made, its labels

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};
use stage::{Durability, Roots, make_private_dir, replace_file};
use std::os::fd::AsFd;

use crate::copy::{self, Owner};
use crate::lookup;
use crate::options::Run;
use crate::record::{Record, now};
use crate::store::Store;

/// Below the root that survives a reboot.
const DIRECTORY: &str = "gocker-sh-volumes";

/// One volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    #[serde(skip)]
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// `KEY=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Where they are.
#[derive(Clone, Debug)]
pub struct Volumes(PathBuf);

/// docker's mark of a volume that goes with its container.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous=";

impl Volumes {
    pub fn new(roots: &Roots) -> Volumes {
        Volumes(roots.root.join(DIRECTORY))
    }

    /// Those beside the containers.
    pub fn of(store: &Store) -> Volumes {
        Volumes(store.kept_root().with_file_name(DIRECTORY))
    }

    /// The directory that containers see.
    pub fn data(&self, name: &str) -> PathBuf {
        self.0.join(name).join("_data")
    }

    /// Makes it, if it is not there.
    pub fn create(&self, name: &str, labels: &[String]) -> Result<()> {
        check(name)?;
        if self.get(name)?.is_some() {
            return Ok(());
        }
        make_private_dir(&self.0.join(name))?;
        // Whoever the container runs as must be able to enter it: what is above it is root's alone.
        let data = self.data(name);
        make_private_dir(&data)?;
        rustix::fs::chmod(&data, Mode::from_raw_mode(0o755))
            .with_context(|| format!("cannot make {}", data.display()))?;
        let volume = Volume { name: name.to_owned(), created: now(), labels: labels.to_vec() };
        let path = self.0.join(name).join("volume.json");
        replace_file(&path, &serde_json::to_vec(&volume)?, Durability::Durable)
    }

    pub fn get(&self, name: &str) -> Result<Option<Volume>> {
        let path = self.0.join(name).join("volume.json");
        match std::fs::read(&path) {
            Ok(text) => {
                let volume: Volume = serde_json::from_slice(&text)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Ok(Some(Volume { name: name.to_owned(), ..volume }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// All of them, by name.
    pub fn all(&self) -> Result<Vec<Volume>> {
        let mut names: Vec<String> = match std::fs::read_dir(&self.0) {
            Ok(entries) => {
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.0.display())),
        };
        names.sort();
        Ok(names.iter().filter_map(|name| self.get(name).ok().flatten()).collect())
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        stage::remove_tree(&self.0.join(name))
    }

    /// The containers that use it.
    pub fn users(store: &Store, name: &str) -> Result<Vec<Record>> {
        let mut users = Vec::new();
        for id in lookup::all(store)? {
            let Some(record) = Record::read(store, &id).ok().flatten() else { continue };
            let options = Run::read(record.options.as_deref())?;
            if options.volumes().iter().any(|volume| named(volume).is_some_and(|(used, _, _)| used == name)) {
                users.push(record);
            }
        }
        Ok(users)
    }

    /// Removes the volumes without a name of a container that goes, unless another uses them.
    pub fn forget(store: &Store, record: &Record) -> Result<()> {
        for name in &record.anonymous {
            if Volumes::users(store, name)?.iter().all(|user| user.id == record.id) {
                Volumes::of(store).remove(name)?;
            }
        }
        Ok(())
    }

    /// Fills the empty volumes of a container from the directories of its image that they hide, as docker does; those with
    /// the option `nocopy` aside.
    pub fn copy_up(&self, options: &Run, root: &Path) -> Result<()> {
        for (name, destination, mode) in options.volumes().iter().filter_map(|volume| named(volume)) {
            let data = self.data(name);
            let empty = std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_none());
            if !empty || mode.split(',').any(|word| word == "nocopy") {
                continue;
            }
            let open = |at, path: &Path, resolve| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::openat2(at, path, flags, Mode::empty(), resolve)
            };
            let context = || format!("cannot fill volume {name}");
            let root = open(rustix::fs::CWD, root, ResolveFlags::empty()).with_context(context)?;
            let Ok(from) = open(root.as_fd(), Path::new(destination), ResolveFlags::IN_ROOT) else {
                continue;
            };
            let to = open(rustix::fs::CWD, &data, ResolveFlags::empty()).with_context(context)?;
            copy::contents(from.as_fd(), to.as_fd(), Owner::AsFound).with_context(context)?;
            copy::like(from.as_fd(), to.as_fd()).with_context(context)?;
        }
        Ok(())
    }
}

/// Names for the volumes that were typed without one. The names are what comes out.
pub fn give_names(options: &mut Run) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for volume in options.volume.iter_mut().filter(|volume| is_path_alone(volume)) {
        let name = stage::Id::mint()?.to_string();
        *volume = format!("{name}:{volume}");
        names.push(name);
    }
    for spec in options.isolation.mount.iter_mut().filter(|spec| is_nameless(spec)) {
        let name = stage::Id::mint()?.to_string();
        *spec = format!("{spec},source={name}");
        names.push(name);
    }
    Ok(names)
}

/// Whether a `-v` is a volume without a name.
pub fn is_path_alone(volume: &str) -> bool {
    !volume.contains(':') && volume.starts_with('/')
}

/// Whether a `--mount` is a volume without a name.
pub fn is_nameless(spec: &str) -> bool {
    let has = |keys: &[&str]| {
        spec.split(',').any(|word| word.split_once('=').is_some_and(|(key, _)| keys.contains(&key)))
    };
    let is_volume = !has(&["type"]) || spec.split(',').any(|word| word == "type=volume");
    is_volume && !has(&["source", "src"])
}

/// The directories of a container that something is mounted on, volumes without a name aside.
pub fn covered(options: &Run) -> Vec<String> {
    let volumes = options.volume.iter().filter_map(|volume| volume.split(':').nth(1));
    let fields = options.isolation.mount.iter().flat_map(|spec| spec.split(','));
    let mounts = fields.filter_map(|word| match word.split_once('=') {
        Some(("destination" | "dst" | "target", path)) => Some(path),
        _ => None,
    });
    let tmpfs = options.isolation.tmpfs.iter().filter_map(|spec| spec.split(':').next());
    volumes.chain(mounts).chain(tmpfs).map(|path| path.trim_end_matches('/').to_owned()).collect()
}

/// Gives each directory that the image wants to be a volume, and that has none yet, one without a name. Whether there
/// was any.
pub fn of_image(record: &mut Record, volumes: &Volumes, wanted: &[String]) -> Result<bool> {
    let mut options = Run::read(record.options.as_deref())?;
    let covered = covered(&options);
    let mut any = false;
    for path in wanted.iter().filter(|path| !covered.contains(&path.trim_end_matches('/').to_owned())) {
        let name = stage::Id::mint()?.to_string();
        record.plan.add_volume(&volumes.data(&name), path);
        options.volume.push(format!("{name}:{path}"));
        record.anonymous.push(name);
        any = true;
    }
    if any {
        record.options = Some(options.typed()?);
    }
    Ok(any)
}

/// `NAME:DST[:OPTIONS]`; `None` for a path of the host.
pub fn named(volume: &str) -> Option<(&str, &str, &str)> {
    let mut parts = volume.splitn(3, ':');
    let (name, destination) = (parts.next()?, parts.next()?);
    let is_path = name.starts_with('/') || name.starts_with('.') || name.contains('/');
    (!is_path).then_some((name, destination, parts.next().unwrap_or_default()))
}

/// docker's rule.
pub fn check(name: &str) -> Result<()> {
    let first = |c: char| c.is_ascii_alphanumeric();
    if name.len() >= 2 && name.starts_with(first) && name.chars().all(|c| first(c) || "_.-".contains(c)) {
        return Ok(());
    }
    bail!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" \
         are allowed. If you intended to pass a host directory, use absolute path"
    );
}
