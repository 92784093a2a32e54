//! The words of a mount's `options` (OCI runtime configuration, config.md "Mounts"; mount(8)). Pure.

use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags};

use crate::sys::Attributes;

/// Options, sorted by what the kernel wants them as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Of a new file system: MS_*.
    pub mount: MountFlags,
    /// Of a bind: what mount_setattr(2) changes at its top.
    pub attributes: Attributes,
    /// And what on the mounts below, too.
    pub below: Attributes,
    /// In the order of the options.
    pub propagations: Vec<Propagation>,
    pub bind: Option<Bind>,
    /// The ids of the files are to be shown as those of the container's user namespace.
    pub idmap: Option<Bind>,
    /// What the image has there is copied into the new file system.
    pub copy_up: bool,
    pub remount: bool,
    /// For the file system itself, joined by commas.
    pub data: String,
}

/// Which mounts a bind takes along, or a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    One,
    Recursive,
}

/// How mounts and unmounts are passed on (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    pub kind: MountPropagationFlags,
    pub reach: Bind,
}

/// word, whether it sets (or clears), MS_*, MOUNT_ATTR_*. With an `r` in front it is for the mounts below, too.
const ATTRIBUTES: [(&str, bool, MountFlags, MountAttrFlags); 12] = [
    ("ro", true, MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    ("rw", false, MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    ("nosuid", true, MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("suid", false, MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("nodev", true, MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    ("dev", false, MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    ("noexec", true, MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("exec", false, MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("nodiratime", true, MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("diratime", false, MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", true, MountFlags::NOSYMFOLLOW, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
    ("symfollow", false, MountFlags::NOSYMFOLLOW, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
];

/// The three ways to keep access times exclude each other: each sets its value in the field MOUNT_ATTR__ATIME. Undoing
/// one is the kernel's default, which is relatime.
const ATIMES: [(&str, MountFlags, MountAttrFlags); 6] = [
    ("relatime", MountFlags::RELATIME, MountAttrFlags::MOUNT_ATTR_RELATIME),
    ("noatime", MountFlags::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ("strictatime", MountFlags::STRICTATIME, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    ("norelatime", MountFlags::empty(), MountAttrFlags::MOUNT_ATTR_RELATIME),
    ("atime", MountFlags::empty(), MountAttrFlags::MOUNT_ATTR_RELATIME),
    ("nostrictatime", MountFlags::empty(), MountAttrFlags::MOUNT_ATTR_RELATIME),
];

/// linux/mount.h; rustix has no names for these.
const I_VERSION: MountFlags = MountFlags::from_bits_retain(1 << 23);
const POSIX_ACL: MountFlags = MountFlags::from_bits_retain(1 << 16);

/// Of a file system as a whole: a bind has none of its own.
const OF_FILE_SYSTEM: [(&str, bool, MountFlags); 14] = [
    ("defaults", false, MountFlags::empty()),
    ("sync", true, MountFlags::SYNCHRONOUS),
    ("async", false, MountFlags::SYNCHRONOUS),
    ("dirsync", true, MountFlags::DIRSYNC),
    ("mand", true, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("nomand", false, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("lazytime", true, MountFlags::LAZYTIME),
    ("nolazytime", false, MountFlags::LAZYTIME),
    ("silent", true, MountFlags::SILENT),
    ("loud", false, MountFlags::SILENT),
    ("iversion", true, I_VERSION),
    ("noiversion", false, I_VERSION),
    ("acl", true, POSIX_ACL),
    ("noacl", false, POSIX_ACL),
];

const PROPAGATIONS: [(&str, MountPropagationFlags); 4] = [
    ("private", MountPropagationFlags::PRIVATE),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("shared", MountPropagationFlags::SHARED),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
];

/// Of a bind, and of what is made of it.
const OTHERS: [&str; 5] = ["bind", "idmap", "rbind", "ridmap", "tmpcopyup"];

/// Every option that is not for the file system alone, sorted.
pub fn words() -> Vec<String> {
    let attributes = ATTRIBUTES.iter().map(|(word, ..)| *word);
    let recursive = attributes
        .chain(ATIMES.iter().map(|(word, ..)| *word))
        .chain(PROPAGATIONS.iter().map(|(word, _)| *word))
        .flat_map(|word| [word.to_owned(), format!("r{word}")]);
    let once = OF_FILE_SYSTEM.iter().map(|(word, ..)| *word).chain(OTHERS).map(str::to_owned);
    let mut words: Vec<String> = recursive.chain(once).collect();
    words.sort_unstable();
    words
}

impl Propagation {
    /// As mount(2) wants it.
    pub fn words(self) -> MountPropagationFlags {
        match self.reach {
            Bind::One => self.kind,
            Bind::Recursive => self.kind | MountPropagationFlags::REC,
        }
    }
}

impl std::fmt::Display for Propagation {
    /// As mount(8) has it behind `--make-`.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (word, _) = PROPAGATIONS.iter().find(|(_, kind)| *kind == self.kind).ok_or(std::fmt::Error)?;
        let recursive = if self.reach == Bind::Recursive { "r" } else { "" };
        write!(f, "{recursive}{word}")
    }
}

impl Flags {
    fn none() -> Flags {
        Flags {
            mount: MountFlags::empty(),
            attributes: Attributes::none(),
            below: Attributes::none(),
            propagations: Vec::new(),
            bind: None,
            idmap: None,
            copy_up: false,
            remount: false,
            data: String::new(),
        }
    }

    pub fn parse(words: &[String]) -> Flags {
        let mut flags = Flags::none();
        let mut data: Vec<&str> = Vec::new();
        let mut of_file_system: Vec<&str> = Vec::new();
        for word in words {
            if let Some((_, set, flag)) = OF_FILE_SYSTEM.iter().find(|(known, ..)| known == word) {
                flags.mount.set(*flag, *set);
                of_file_system.extend(set.then_some(word.as_str()));
            } else if !flags.take(word) {
                data.push(word);
            }
        }
        if flags.bind.is_some() {
            // Left over, as what it cannot have.
            data.extend(of_file_system);
        }
        flags.data = data.join(",");
        flags
    }

    /// Whether some change is for mounts below the top only.
    pub fn changes_below(&self) -> bool {
        self.below != Attributes::none()
    }

    /// What is set on the mounts below, as mount(2) names it.
    pub fn recursive_mount_flags(&self) -> MountFlags {
        let set =
            ATTRIBUTES.iter().filter(|(_, set, _, attribute)| *set && self.below.set.contains(*attribute));
        set.fold(MountFlags::empty(), |flags, (_, _, mount, _)| flags | *mount)
    }

    /// Whether it was a word that is not the file system's.
    fn take(&mut self, word: &str) -> bool {
        match word {
            "bind" => self.bind = Some(Bind::One),
            "rbind" => self.bind = Some(Bind::Recursive),
            "idmap" => self.idmap = Some(Bind::One),
            "ridmap" => self.idmap = Some(Bind::Recursive),
            "tmpcopyup" => self.copy_up = true,
            "remount" => self.remount = true,
            _ => {
                let (plain, recursive) = (word, word.strip_prefix('r'));
                return self.take_attribute(plain, Bind::One)
                    || self.take_propagation(plain, Bind::One)
                    || recursive.is_some_and(|word| {
                        self.take_attribute(word, Bind::Recursive)
                            || self.take_propagation(word, Bind::Recursive)
                    });
            }
        }
        true
    }

    fn take_attribute(&mut self, word: &str, reach: Bind) -> bool {
        let found = ATTRIBUTES.iter().find(|(known, ..)| *known == word);
        let atime = ATIMES.iter().find(|(known, ..)| *known == word);
        if reach == Bind::One {
            if let Some((_, set, mount, _)) = found {
                self.mount.set(*mount, *set);
            }
            if let Some((_, mount, _)) = atime {
                self.mount -= MountFlags::RELATIME | MountFlags::NOATIME | MountFlags::STRICTATIME;
                self.mount |= *mount;
            }
        }
        let attributes = if reach == Bind::One { &mut self.attributes } else { &mut self.below };
        if let Some((_, set, _, attribute)) = found {
            attributes.set.set(*attribute, *set);
            attributes.clear.set(*attribute, !*set);
        }
        if let Some((_, _, attribute)) = atime {
            attributes.clear |= MountAttrFlags::MOUNT_ATTR__ATIME;
            attributes.set -= MountAttrFlags::MOUNT_ATTR__ATIME;
            attributes.set |= *attribute;
        }
        found.is_some() || atime.is_some()
    }

    fn take_propagation(&mut self, word: &str, reach: Bind) -> bool {
        let Some((_, kind)) = PROPAGATIONS.iter().find(|(known, _)| *known == word) else { return false };
        self.propagations.push(Propagation { kind: *kind, reach });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Flags {
        Flags::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_the_kernels_or_the_file_systems() {
        let flags = of("nosuid,strictatime,mode=755,size=65536k,ro,rw");
        assert_eq!(flags.mount, MountFlags::NOSUID | MountFlags::STRICTATIME);
        assert_eq!(flags.data, "mode=755,size=65536k");
        assert_eq!(flags.bind, None);
    }

    #[test]
    fn a_bind_has_attributes_and_propagation() {
        let flags = of("rbind,rprivate,ro,noatime");
        assert_eq!(flags.bind, Some(Bind::Recursive));
        assert_eq!(
            flags.attributes.set,
            MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOATIME
        );
        assert_eq!(flags.attributes.clear, MountAttrFlags::MOUNT_ATTR__ATIME);
        assert_eq!(
            flags.propagations,
            [Propagation { kind: MountPropagationFlags::PRIVATE, reach: Bind::Recursive }]
        );
        assert_eq!(of("slave").propagations[0].reach, Bind::One);
        assert_eq!(flags.data, "");
        assert!(!flags.changes_below());
    }

    #[test]
    fn recursive_attributes_are_apart() {
        let flags = of("rbind,rro,rnosuid,rw");
        assert_eq!(flags.below.set, MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID);
        assert_eq!(flags.attributes.clear, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(flags.mount, MountFlags::empty());
        assert!(flags.changes_below());
    }

    #[test]
    fn what_a_bind_cannot_have_is_left_over() {
        assert_eq!(of("bind,ro,size=1k,sync,async").data, "size=1k,sync");
        assert_eq!(of("size=1k,sync").data, "size=1k");
        assert_eq!(of("size=1k,sync").mount, MountFlags::SYNCHRONOUS);
        assert_eq!(of("relative").data, "relative");
    }
}
