//! `--device` as rules for the control group: nsrun makes the nodes, cgctl lets them be used.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};

/// `c 10:229 rwm` for the device, or for each of those in a directory. What is wrong with the words nsrun will say.
pub fn rules(device: &str) -> Result<Vec<String>> {
    let parts: Vec<&str> = device.split(':').collect();
    let is_permissions = |text: &&str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let permissions = parts.iter().skip(1).last().filter(|text| is_permissions(text)).unwrap_or(&"rwm");
    let host = Path::new(parts.first().unwrap_or(&""));
    let mut rules = Vec::new();
    collect(host, permissions, &mut rules)
        .with_context(|| format!("cannot use --device={device}: error gathering device information"))?;
    Ok(rules)
}

fn collect(path: &Path, permissions: &str, rules: &mut Vec<String>) -> Result<()> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
            collect(&entry?.path(), permissions, rules)?;
        }
        return Ok(());
    }
    let kind = match (meta.file_type().is_char_device(), meta.file_type().is_block_device()) {
        (true, _) => 'c',
        (_, true) => 'b',
        _ => return Ok(()),
    };
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    rules.push(format!("{kind} {major}:{minor} {permissions}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_what_may_be_done() {
        assert_eq!(rules("/dev/null").unwrap(), ["c 1:3 rwm"]);
        assert_eq!(rules("/dev/null:/dev/x:r").unwrap(), ["c 1:3 r"]);
        assert_eq!(rules("/dev/null:rw").unwrap(), ["c 1:3 rw"]);
        assert!(rules("/no/such").is_err());
    }
}
