//! docker's commands that are not here: one sentence each, and what to use.

use anyhow::{Result, bail};
use stage::Codes;

/// `group` is the command that `words` were given to, such as `network`; empty for gocker-sh itself.
///
/// # Errors
/// The command is none of docker's either.
pub fn answer(group: &str, words: &[String]) -> Result<u8> {
    let word = words.first().map(String::as_str).unwrap_or_default();
    let command = format!("{group} {word}");
    let command = command.trim_start();
    match INSTEAD.iter().find(|(name, _)| *name == command) {
        Some((_, instead)) => {
            stage::say(&format!("gocker-sh: there is no {command}: {instead}"));
            Ok(Codes::FAILED)
        }
        None => {
            let help = format!("gocker-sh {group}");
            bail!("'{command}' is not a gocker-sh command.\nSee '{} --help'", help.trim_end())
        }
    }
}

const INSTEAD: [(&str, &str); 20] = [
    ("build", "build with buildah, podman or docker, and run oci:DIR or docker-archive:FILE"),
    ("builder", "build images with buildah, podman or docker"),
    ("buildx", "build images with buildah, podman or docker"),
    ("checkpoint", "checkpoints are made by crun or runc with criu"),
    ("compose", "call gocker-sh run for each service from a script, or use podman-compose"),
    ("config", "a shell script keeps configuration in files and binds them with -v"),
    ("context", "gocker-sh works on this machine; reach another one with ssh"),
    ("manifest", "use skopeo inspect --raw, or crane manifest"),
    ("network connect", "say at run or create which network it is in: --network NAME"),
    ("network disconnect", "remove the container, and run it anew with --network none or another NAME"),
    ("node", "gocker has no cluster of its own: use it as the runtime and network of one that has"),
    ("plugin", "replace a stage by a program of your own instead"),
    ("push", "copy the image to the registry with skopeo or crane"),
    ("scout", "scan the image with trivy or grype"),
    ("search", "search on the registry's own page"),
    ("secret", "bind the file with -v FILE:/run/secrets/NAME:ro"),
    ("service", "gocker has no cluster of its own: use systemd units that call gocker-sh run"),
    ("stack", "gocker has no cluster of its own: use systemd units that call gocker-sh run"),
    ("swarm", "gocker has no cluster of its own: use it as the runtime and network of one that has"),
    ("trust", "pull by digest: NAME@sha256:DIGEST is verified"),
];
