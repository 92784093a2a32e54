//! The words of a mount's `options` (OCI runtime configuration, config.md "Mounts"; mount(8)). Pure.

use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags};

use crate::sys::Attributes;

/// Options, sorted by what the kernel wants them as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Of a new file system: MS_*.
    pub mount: MountFlags,
    /// Of a bind: what mount_setattr(2) changes.
    pub attributes: Attributes,
    /// Whether the propagation is that of the mounts below, too.
    pub recursive_propagation: bool,
    pub bind: Option<Bind>,
    /// For the file system itself, joined by commas.
    pub data: String,
}

/// Which mounts a bind takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    One,
    Recursive,
}

/// word, whether it sets (or clears), MS_*, MOUNT_ATTR_*.
const WORDS: [(&str, bool, MountFlags, MountAttrFlags); 16] = [
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
    ("sync", true, MountFlags::SYNCHRONOUS, MountAttrFlags::empty()),
    ("async", false, MountFlags::SYNCHRONOUS, MountAttrFlags::empty()),
    ("dirsync", true, MountFlags::DIRSYNC, MountAttrFlags::empty()),
    ("defaults", false, MountFlags::empty(), MountAttrFlags::empty()),
    ("bind", false, MountFlags::empty(), MountAttrFlags::empty()),
    ("rbind", false, MountFlags::empty(), MountAttrFlags::empty()),
];

/// The three ways to keep access times exclude each other: each sets its value in the field MOUNT_ATTR__ATIME.
const ATIMES: [(&str, MountFlags, MountAttrFlags); 3] = [
    ("relatime", MountFlags::RELATIME, MountAttrFlags::MOUNT_ATTR_RELATIME),
    ("noatime", MountFlags::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ("strictatime", MountFlags::STRICTATIME, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
];

const PROPAGATIONS: [(&str, MountPropagationFlags); 4] = [
    ("private", MountPropagationFlags::PRIVATE),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("shared", MountPropagationFlags::SHARED),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
];

impl Flags {
    fn none() -> Flags {
        Flags {
            mount: MountFlags::empty(),
            attributes: Attributes::none(),
            recursive_propagation: false,
            bind: None,
            data: String::new(),
        }
    }

    pub fn parse(words: &[String]) -> Flags {
        let mut flags = Flags::none();
        let mut data: Vec<&str> = Vec::new();
        for word in words {
            if !flags.take(word) {
                data.push(word);
            }
        }
        flags.data = data.join(",");
        flags
    }

    /// Whether it was a word that is not the file system's.
    fn take(&mut self, word: &str) -> bool {
        match word {
            "bind" => self.bind = Some(Bind::One),
            "rbind" => self.bind = Some(Bind::Recursive),
            _ => {}
        }
        if let Some((_, set, mount, attribute)) = WORDS.iter().find(|(known, ..)| *known == word) {
            self.change(*set, *mount, *attribute);
            return true;
        }
        if let Some((_, mount, attribute)) = ATIMES.iter().find(|(known, ..)| *known == word) {
            self.mount |= *mount;
            self.attributes.clear |= MountAttrFlags::MOUNT_ATTR__ATIME;
            self.attributes.set -= MountAttrFlags::MOUNT_ATTR__ATIME;
            self.attributes.set |= *attribute;
            return true;
        }
        let propagation = |word: &str| PROPAGATIONS.iter().find(|(known, _)| *known == word);
        let (recursive, found) = match (propagation(word), word.strip_prefix('r').and_then(propagation)) {
            (Some(found), _) => (false, found),
            (None, Some(found)) => (true, found),
            (None, None) => return false,
        };
        self.attributes.propagation = found.1;
        self.recursive_propagation = recursive;
        true
    }

    fn change(&mut self, set: bool, mount: MountFlags, attribute: MountAttrFlags) {
        if set {
            self.mount |= mount;
            self.attributes.set |= attribute;
            self.attributes.clear -= attribute;
        } else {
            self.mount -= mount;
            self.attributes.set -= attribute;
            self.attributes.clear |= attribute;
        }
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
        assert_eq!(flags.attributes.propagation, MountPropagationFlags::PRIVATE);
        assert!(flags.recursive_propagation);
        assert!(!of("slave").recursive_propagation);
        assert_eq!(flags.data, "");
    }
}
