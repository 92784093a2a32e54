//! `run --print-script`: the run as a shell script, with the five tools, or with util-linux, iproute2 and nftables in the
//! place of all but `pull`. Printing has no effect on the host.

mod tools;
mod util_linux;
mod volumes;

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use stage::{Explain, Id};

use crate::cli::Global;
use crate::options::Run;
use crate::plan::plan;
use crate::settle;
use crate::store::Store;
use crate::swap::Swap;
use crate::volumes::{Volumes, is_nameless};

/// What the script is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum With {
    /// pull, mount-overlay, netns, cgctl, nsrun and jq
    Tools,
    /// pull and jq for the image, and unshare, mount, ip, nft and the files of the cgroup
    UtilLinux,
}

/// The scripts make ids of their own; in the plan this stands for it.
const ID: &str = "1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d";

/// Prints the script.
pub fn print(global: &Global, options: &Run, with: With) -> Result<u8> {
    if options.detach {
        return Err(anyhow!("cannot print a script of a detached run")).hint(
            "what goes on without a client is gocker-sh's own watcher; a script can be put in the background",
        );
    }
    let mut options = options.clone();
    options.swap.fill()?;
    check(&options)?;
    let id: Id = ID.parse()?;
    settle::share(&Store::new(&global.roots), &mut options)?;
    let exposed = options.network.expose.clone();
    if options.network.publish_all {
        settle::publish(&mut options.network, &exposed);
    }
    let volumes = Volumes::new(&global.roots);
    let nameless = volumes::take_nameless(&mut options);
    let plan = plan(&options, &id, &volumes)?;
    let text = match with {
        With::Tools => {
            let prepare = volumes::prepare(&options, &volumes, &nameless);
            tools::script(&options, &plan, &prepare)
        }
        With::UtilLinux if nameless.is_empty() => util_linux::script(&options, &plan)?,
        With::UtilLinux => bail!(
            "cannot print a script with util-linux: it does without --volume={}; --print-script=tools has it",
            nameless.join(" --volume=")
        ),
    };
    stage::print(&text).map(|()| 0)
}

/// Refuses what neither kind of script can do.
fn check(options: &Run) -> Result<()> {
    let Swap { net_cmd, pull_cmd } = &options.swap;
    for (option, command) in [("--net-cmd", net_cmd), ("--pull-cmd", pull_cmd)] {
        if let Some(command) = command {
            return Err(anyhow!("cannot print a script with {option}={command}"))
                .hint("print the one without, and put the command in the place of the stage");
        }
    }
    if options.cidfile.is_some() {
        return Err(anyhow!("cannot print a script with --cidfile")).hint("in the script the id is $id");
    }
    if let Some(spec) = options.isolation.mount.iter().find(|spec| is_nameless(spec)) {
        return Err(anyhow!("cannot print a script with --mount={spec}: the volume has no name"))
            .hint("give it one with source=NAME, or say -v DIR");
    }
    Ok(())
}

/// A word, quoted for a shell where it must be. The id is the script's.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    let text = if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    };
    text.replace(ID, "\"$id\"")
}

fn line(words: &[String]) -> String {
    words.iter().map(|word| format!(" {}", quoted(word))).collect()
}

/// What was typed, as a comment.
fn typed(options: &Run) -> String {
    let words: Vec<&str> = options.image.words.iter().map(String::as_str).collect();
    words.join(" ").replace('\n', " ")
}

/// `plan` without the id, for scripts that name things themselves.
fn without_id(words: &[String]) -> Vec<String> {
    words.iter().filter(|word| !word.contains(ID)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_the_id_is_the_scripts() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(&format!("--id={ID}")), "--id=\"$id\"");
        assert_eq!(quoted(""), "''");
    }
}
