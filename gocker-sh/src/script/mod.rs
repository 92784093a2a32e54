//! `run --print-script`: the run as a shell script, with the five tools, or with util-linux, iproute2 and nftables in the
//! place of all but `pull`. Printing has no effect on the host.

mod tools;
mod util_linux;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use stage::{Explain, Id};

use crate::cli::Global;
use crate::options::Run;
use crate::plan::plan;
use crate::settle;
use crate::store::Store;
use crate::volumes::{self, Volumes};

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
    let id: Id = ID.parse()?;
    let volumes = Volumes::new(&global.roots);
    let mut options = options.clone();
    settle::share(&Store::new(&global.roots), &mut options)?;
    let options = &options;
    let plan = plan(options, &id, &volumes)?;
    let text = match with {
        With::Tools => tools::script(options, &plan, &prepare(options, &volumes)),
        With::UtilLinux => util_linux::script(options, &plan)?,
    };
    stage::print(&text).map(|()| 0)
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

/// Commands that make the named volumes and fill them from the image.
fn prepare(options: &Run, volumes: &Volumes) -> String {
    let mut text = String::new();
    for (name, destination, _) in options.volumes().iter().filter_map(|volume| volumes::named(volume)) {
        let data = quoted(&volumes.data(name).display().to_string());
        let destination = quoted(destination);
        text += &format!(
            "mkdir -p {data}\nroot=$(jq -r .rootfs.path \"$box\")\nif [ -z \"$(ls -A {data})\" ] && [ -d \"$root\"{destination} ]; then \
             cp -a \"$root\"{destination}/. {data}; fi\n"
        );
    }
    text
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
