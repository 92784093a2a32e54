//! Every property of a file tree, to compare one with another.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tests::images::digest;

/// One line for each file: type, mode, owner, time with nanoseconds, links, device, size, extended attributes, content.
#[derive(Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, String>);

impl Tree {
    pub fn of(dir: &Path) -> Tree {
        let mut tree = Tree(BTreeMap::new());
        tree.add(dir, Path::new("."), &mut HashMap::new());
        tree
    }

    fn add(&mut self, root: &Path, path: &Path, linked: &mut HashMap<u64, PathBuf>) {
        let full = root.join(path);
        let meta = std::fs::symlink_metadata(&full).unwrap();
        let kind = meta.file_type();
        let content = if kind.is_file() {
            digest(&std::fs::read(&full).unwrap())
        } else if kind.is_symlink() {
            format!("-> {:?}", std::fs::read_link(&full).unwrap())
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("device {:x}", meta.rdev())
        } else {
            String::new()
        };
        let links = match linked.get(&meta.ino()) {
            Some(first) if !kind.is_dir() => format!("is {}", first.display()),
            _ => format!("{} links", if kind.is_dir() { 0 } else { meta.nlink() }),
        };
        linked.entry(meta.ino()).or_insert_with(|| path.to_owned());
        let line = format!(
            "{:o} {}:{} {}.{:09} {} {links} {:?} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            if kind.is_dir() { 0 } else { meta.size() },
            xattrs(&full),
        );
        self.0.insert(path.to_owned(), line);
        if kind.is_dir() {
            let mut names: Vec<_> =
                std::fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names.iter().for_each(|name| self.add(root, &path.join(name), linked));
        }
    }

    /// Fails with the lines that differ.
    #[track_caller]
    pub fn assert_same(&self, expected: &Tree) {
        let differs = |(path, line): &(&PathBuf, &String)| expected.0.get(*path) != Some(line);
        let more: Vec<_> = self.0.iter().filter(differs).collect();
        let less: Vec<_> = expected.0.iter().filter(|(path, line)| self.0.get(*path) != Some(line)).collect();
        assert!(more.is_empty() && less.is_empty(), "found {more:#?}\nexpected {less:#?}");
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The extended attributes of a file itself, by name.
pub fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap();
    let names = list[..length].split(|c| *c == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0u8; 70000];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
        value.truncate(length);
        (String::from_utf8_lossy(name).into_owned(), value)
    };
    names.map(value).collect()
}

/// Sets an extended attribute of a file itself.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}
