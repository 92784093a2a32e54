//! Platforms: `os/arch[/variant]`, and which entry of an image index serves one.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// What an image runs on, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Platform {
        Platform::new("linux", std::env::consts::ARCH, None)
    }

    /// In normal form: `x86_64` is `amd64`, and `arm64` is always `v8`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "arm" => ("arm", Some("v7")),
            "i386" | "i686" | "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        let variant = match (architecture, variant.filter(|variant| !variant.is_empty()).or(implied)) {
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            (_, variant) => variant.map(str::to_owned),
        };
        Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// How well what `offered` says serves `self`; lower is better, `None` not at all.
    pub fn distance(&self, offered: &Platform) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        match (&self.variant, &offered.variant) {
            (ours, theirs) if ours == theirs => Some(0),
            (Some(_), None) => Some(1),
            // An ARMv7 processor runs what was made for v6 and v5.
            (Some(ours), Some(theirs)) if self.architecture == "arm" => {
                let number = |variant: &str| variant.trim_start_matches('v').parse::<u32>().ok();
                number(ours)?.checked_sub(number(theirs)?).filter(|distance| *distance > 0).map(|d| d + 1)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Platform> {
        let word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let words: Vec<&str> = text.split('/').collect();
        if words.iter().any(|part| part.is_empty() || !part.bytes().all(word)) {
            bail!("a platform is OS/ARCH or OS/ARCH/VARIANT, not {text:?}");
        }
        match words[..] {
            ["linux"] => Ok(Platform::host()),
            [architecture] => Ok(Platform::new("linux", architecture, None)),
            [os, architecture] => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, Some(variant))),
            _ => bail!("a platform is OS/ARCH or OS/ARCH/VARIANT, not {text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(wanted: &str, offered: &str) -> Option<u32> {
        wanted.parse::<Platform>().unwrap().distance(&offered.parse().unwrap())
    }

    #[test]
    fn other_names_of_one_platform_are_one() {
        assert_eq!("linux/x86_64".parse::<Platform>().unwrap().to_string(), "linux/amd64");
        assert_eq!("arm64/".parse::<Platform>().ok(), None);
        assert_eq!("linux/aarch64/v8".parse::<Platform>().unwrap().to_string(), "linux/arm64");
    }

    #[test]
    fn the_nearest_variant_serves() {
        assert_eq!(distance("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(distance("linux/amd64", "linux/amd64/v3"), None);
        assert_eq!(distance("linux/amd64", "linux/arm64"), None);
        assert_eq!(distance("linux/amd64", "windows/amd64"), None);
        assert_eq!(distance("linux/arm/v7", "linux/arm/v6"), Some(2));
        assert_eq!(distance("linux/arm/v6", "linux/arm/v7"), None);
    }
}
