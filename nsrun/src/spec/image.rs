//! What the image says of its command, against what was typed.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::document::ImageConfig;

/// The words to execute: docker's rule. `--entrypoint` drops the image's command, too.
pub fn command(entrypoint: Option<&str>, typed: &[String], image: &ImageConfig) -> Result<Vec<String>> {
    let image_entrypoint = || image.entrypoint.clone().unwrap_or_default();
    let image_command = || image.cmd.clone().unwrap_or_default();
    let (mut words, default) = match entrypoint {
        None => (image_entrypoint(), image_command()),
        Some("") => (Vec::new(), Vec::new()),
        Some(word) => (vec![word.to_owned()], Vec::new()),
    };
    words.extend(if typed.is_empty() { default } else { typed.to_vec() });
    if words.first().is_none_or(String::is_empty) {
        bail!("no command specified");
    }
    Ok(words)
}

/// The working directory: `-w`, else the image's, else `/`.
pub fn cwd(typed: Option<&Path>, image: Option<&str>) -> Result<PathBuf> {
    let image = image.filter(|dir| !dir.is_empty()).map(Path::new);
    let dir = typed.or(image).unwrap_or(Path::new("/"));
    if !dir.is_absolute() {
        bail!("cannot work in {}: the working directory must be an absolute path", dir.display());
    }
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn of(entrypoint: Option<&str>, typed: &str, image: (&str, &str)) -> String {
        let image = ImageConfig {
            entrypoint: Some(words(image.0)),
            cmd: Some(words(image.1)),
            ..ImageConfig::default()
        };
        command(entrypoint, &words(typed), &image).map_or_else(|e| e.to_string(), |words| words.join(" "))
    }

    #[test]
    fn entrypoint_and_command_combine_as_docker_does() {
        assert_eq!(of(None, "", ("e", "c")), "e c");
        assert_eq!(of(None, "a b", ("e", "c")), "e a b");
        assert_eq!(of(None, "a", ("", "c")), "a");
        assert_eq!(of(None, "", ("", "c")), "c");
        assert_eq!(of(None, "", ("e", "")), "e");
        assert_eq!(of(Some("x"), "", ("e", "c")), "x");
        assert_eq!(of(Some("x"), "a", ("e", "c")), "x a");
        assert_eq!(of(Some(""), "a", ("e", "c")), "a");
        assert_eq!(of(Some(""), "", ("e", "c")), "no command specified");
        assert_eq!(of(None, "", ("", "")), "no command specified");
    }

    #[test]
    fn the_working_directory_is_absolute() {
        assert_eq!(cwd(None, None).unwrap(), Path::new("/"));
        assert_eq!(cwd(None, Some("")).unwrap(), Path::new("/"));
        assert_eq!(cwd(None, Some("/srv")).unwrap(), Path::new("/srv"));
        assert_eq!(cwd(Some(Path::new("/a")), Some("/srv")).unwrap(), Path::new("/a"));
        assert!(cwd(Some(Path::new("a")), None).is_err());
    }
}
