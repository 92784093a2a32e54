//! What is to be mounted, and how it is told to the kernel and to people. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One overlay mount.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// Topmost first, as the kernel wants them.
    pub lowers: Vec<PathBuf>,
    /// `None`: read-only.
    pub upper: Option<Upper>,
}

/// Where what is written goes.
#[derive(Clone, Debug)]
pub struct Upper {
    pub dir: PathBuf,
    pub work: PathBuf,
    /// The file system below is never synced.
    pub volatile: bool,
}

/// What does not depend on the kernel's build or module parameters, so that a root behaves the same everywhere:
///  - `index=off`: the upper directory can be mounted again over the same layers at another place (docker and
///    containerd set it, too); hard links are broken on the first write, as with docker;
///  - `metacopy=off`: the upper directory holds whole files, so that it can be looked at and packed alone;
///  - `redirect_dir=nofollow`: a layer, which comes from strangers, cannot point at another directory;
///    rename(2) of a directory of a lower layer fails with EXDEV, which mv(1) handles;
///  - `xino=auto`: one st_dev for the whole root also when the upper directory is on another file system than
///    the layers (`--tmpfs`): find -xdev and du -x work.
const SWITCHES: [(&str, &str); 4] =
    [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"), ("xino", "auto")];

/// An option that is not a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    Value(&'static str, &'static str),
    Flag(&'static str),
}

impl Overlay {
    pub fn switches(&self) -> impl Iterator<Item = Switch> {
        let volatile = self.upper.as_ref().is_some_and(|upper| upper.volatile);
        SWITCHES
            .iter()
            .map(|(key, value)| Switch::Value(key, value))
            .chain(volatile.then_some(Switch::Flag("volatile")))
    }

    /// The one string of options of mount(2), with these names for the directories.
    pub fn classic_options(&self, names: &Names) -> OsString {
        let mut text = b"lowerdir=".to_vec();
        for (n, lower) in names.lowers.iter().enumerate() {
            if n > 0 {
                text.push(b':');
            }
            escape(lower, b":,\\", &mut text);
        }
        if let Some((dir, work)) = &names.upper {
            text.extend(b",upperdir=");
            escape(dir, b",\\", &mut text);
            text.extend(b",workdir=");
            escape(work, b",\\", &mut text);
        }
        for switch in self.switches() {
            text.push(b',');
            text.extend(switch.to_string().as_bytes());
        }
        OsString::from_vec(text)
    }

    /// The directories under their own names.
    pub fn names(&self) -> Names {
        let name = |path: &Path| path.as_os_str().to_owned();
        Names {
            lowers: self.lowers.iter().map(|lower| name(lower)).collect(),
            upper: self.upper.as_ref().map(|upper| (name(&upper.dir), name(&upper.work))),
        }
    }

    /// The mount as the OCI runtime specification writes one. Each lower layer has an option of its own: one
    /// string of them would not fit in the page that mount(2) takes.
    pub fn oci(&self) -> OciMount {
        let mut options: Vec<String> = vec!["nodev".to_owned()];
        options.push(if self.upper.is_some() { "rw" } else { "ro" }.to_owned());
        options.extend(self.lowers.iter().map(|lower| format!("lowerdir+={}", lower.display())));
        if let Some(upper) = &self.upper {
            options.push(format!("upperdir={}", upper.dir.display()));
            options.push(format!("workdir={}", upper.work.display()));
        }
        options.extend(self.switches().map(|switch| switch.to_string()));
        OciMount { destination: "/".to_owned(), kind: "overlay", source: "overlay".to_owned(), options }
    }
}

/// What the directories of an overlay are called when it is mounted.
pub struct Names {
    pub lowers: Vec<OsString>,
    pub upper: Option<(OsString, OsString)>,
}

/// A mount of the OCI runtime specification.
#[derive(Serialize)]
pub struct OciMount {
    pub destination: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub source: String,
    pub options: Vec<String>,
}

impl std::fmt::Display for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Switch::Value(key, value) => write!(f, "{key}={value}"),
            Switch::Flag(key) => f.write_str(key),
        }
    }
}

fn escape(name: &OsStr, special: &[u8], text: &mut Vec<u8>) {
    for byte in name.as_bytes() {
        if special.contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(lowers: &[&str], upper: bool) -> Overlay {
        Overlay {
            lowers: lowers.iter().map(PathBuf::from).collect(),
            upper: upper.then(|| Upper { dir: "/u,1".into(), work: "/w:1".into(), volatile: true }),
        }
    }

    #[test]
    fn what_separates_options_is_escaped() {
        let overlay = overlay(&["/a:b", "/c,d", "/e\\f"], true);
        assert_eq!(
            overlay.classic_options(&overlay.names()),
            "lowerdir=/a\\:b:/c\\,d:/e\\\\f,upperdir=/u\\,1,workdir=/w:1,\
             index=off,metacopy=off,redirect_dir=nofollow,xino=auto,volatile"
        );
    }

    #[test]
    fn the_standard_form_has_one_option_for_each_layer() {
        let mount = overlay(&["/b", "/a"], false).oci();
        assert_eq!(
            mount.options,
            [
                "nodev",
                "ro",
                "lowerdir+=/b",
                "lowerdir+=/a",
                "index=off",
                "metacopy=off",
                "redirect_dir=nofollow",
                "xino=auto"
            ]
        );
    }
}
