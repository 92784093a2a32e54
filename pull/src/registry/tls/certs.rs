//! `certs.d`: what docker and podman keep for one registry. `*.crt` are authorities to trust, `X.cert` with `X.key` is
//! who we are.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::store::listing;

/// The files that count for one registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    pub authorities: Vec<PathBuf>,
    /// Certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Certificates {
    /// Of `host`, which may have a port.
    ///
    /// # Errors
    /// A certificate lacks its key, or a key its certificate: which of the two was meant is not for us to guess.
    pub fn of(host: &str) -> Result<Certificates> {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/containers"));
        let dirs = home.into_iter().chain(["/etc/containers", "/etc/docker"].map(PathBuf::from));
        let mut found = Certificates::default();
        for dir in dirs {
            found.add(&dir.join("certs.d").join(host))?;
        }
        Ok(found)
    }

    fn add(&mut self, dir: &Path) -> Result<()> {
        for name in listing(dir)? {
            let path = dir.join(&name);
            let beside = |extension: &str, what: &str| {
                let other = path.with_extension(extension);
                if !other.exists() {
                    bail!("{} lacks its {what} {}", path.display(), other.display());
                }
                Ok(other)
            };
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some("crt") => self.authorities.push(path),
                Some("cert") => {
                    let key = beside("key", "key")?;
                    self.client.get_or_insert((path, key));
                }
                Some("key") => drop(beside("cert", "certificate")?),
                _ => {}
            }
        }
        Ok(())
    }
}
