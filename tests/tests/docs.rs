//! The documents say what is so: man pages name the options that there are, the README's commands work.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tests::{Host, bins};

const TOOLS: [&str; 6] = ["pull", "mount-overlay", "netns", "cgctl", "nsrun", "gocker-sh"];

fn help(tool: &str, verb: Option<&str>) -> String {
    let output = Command::new(bins::dir().join(tool))
        .args(verb.into_iter().flat_map(str::split_whitespace))
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{tool} {verb:?} --help: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The verbs that a tool's help lists.
fn verbs(help: &str) -> Vec<String> {
    let section = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.is_empty());
    let words = lines.filter(|line| line.starts_with("  ") && !line.starts_with("    "));
    words
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

/// Every `--option` of a text. clap's own two are in every help and need no page.
fn options(text: &str) -> BTreeSet<String> {
    let name = |word: &str| {
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(word.len());
        word[..end].to_owned()
    };
    let found = text.match_indices("--").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '-')
    });
    let found = found.map(|(at, _)| name(&text[at..])).filter(|option| option.len() > 3);
    found.filter(|option| option != "--help" && option != "--version").collect()
}

/// The options that a man page describes: those in the tag of a `.TP`.
fn described(page: &str) -> BTreeSet<String> {
    let page = page.replace("\\-", "-");
    let mut lines = page.lines();
    let mut tags = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with(".TP") {
            tags += lines.next().unwrap_or_default();
            tags.push('\n');
        }
    }
    options(&tags.replace("\\fB", "").replace("\\fI", "").replace("\\fR", ""))
}

/// The options that a help lists, not those that its examples and texts mention.
fn listed(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let declared = lines.map(|line| line.trim_start().split("  ").next().unwrap_or_default().to_owned());
    // One is an alias, more are aliases.
    let aliases =
        help.match_indices("[alias").map(|(at, _)| help[at..].split(']').next().unwrap_or_default());
    options(&declared.chain(aliases.map(str::to_owned)).collect::<Vec<_>>().join("\n"))
}

#[test]
fn man_pages_and_help_name_the_same_options() {
    for tool in TOOLS {
        let whole = help(tool, None);
        let mut in_help = listed(&whole);
        for verb in verbs(&whole) {
            let of_verb = help(tool, Some(&verb));
            in_help.extend(listed(&of_verb));
            for inner in verbs(&of_verb) {
                in_help.extend(listed(&help(tool, Some(&format!("{verb} {inner}")))));
            }
        }
        let page = std::fs::read_to_string(bins::workspace().join(tool).join(format!("{tool}.1"))).unwrap();
        assert_eq!(described(&page), in_help, "{tool}.1 (left) and --help (right)");
        assert!(in_help.len() > 3, "{tool}: {in_help:?}");
    }
}

#[test]
fn man_pages_name_every_verb_and_have_every_section() {
    for tool in TOOLS {
        let page = std::fs::read_to_string(bins::workspace().join(tool).join(format!("{tool}.1"))).unwrap();
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPERATION",
            "OPTIONS",
            "EXIT STATUS",
            "FILES",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            let heading = [format!(".SH {section}"), format!(".SH \"{section}\"")];
            assert!(page.lines().any(|line| heading.contains(&line.to_owned())), "{tool}.1 lacks {section}");
        }
        for verb in verbs(&help(tool, None)) {
            assert!(page.contains(&verb), "{tool}.1 does not mention {verb}");
        }
    }
}

#[test]
fn man_pages_have_no_faults() {
    for tool in TOOLS {
        let page = bins::workspace().join(tool).join(format!("{tool}.1"));
        let output = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn shell_scripts_have_no_faults() {
    let mut scripts: Vec<_> =
        ["demo/demo", "demo/need", ".ci/run"].map(|path| bins::workspace().join(path)).to_vec();
    let examples = std::fs::read_dir(bins::workspace().join("tests/examples")).unwrap();
    scripts.extend(examples.map(|entry| entry.unwrap().path()));
    scripts.extend(labs());
    let output = Command::new("shellcheck").args(&scripts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn labs() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(bins::workspace().join("docs/labs")).unwrap();
    let mut labs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    labs.retain(|path| path.extension().is_some_and(|end| end == "sh"));
    labs.sort();
    labs
}

/// A lab compares what it shows with what it says, and ends if that is not the same.
#[test]
fn the_labs_show_what_they_say_and_leave_nothing() {
    let labs = labs();
    assert_eq!(labs.len(), 8, "{labs:?}");
    for lab in labs {
        let host = Host::with_images();
        let output = host.run(&[lab.to_str().unwrap()]);
        assert_eq!(output.code, 0, "{output}");
        assert!(output.stdout.contains("Left out: "), "{output}");
        host.assert_clean();
    }
}

/// The shell commands of a Markdown file, block by block: what stands in ```sh fences, `$ ` before a command taken away.
fn blocks(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let fenced = text.split("\n```sh\n").skip(1);
    fenced.map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

/// What is typed in a block of commands and answers.
fn typed(block: &str) -> String {
    block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Each block of commands works, on a host that has the image `busybox` and nothing else; `make` and `git` aside: CI
/// does those.
#[test]
fn the_readmes_commands_work() {
    let blocks = blocks(&bins::workspace().join("README.md"));
    let on_a_host = |block: &&String| !block.contains("make ") && !block.contains("git clone");
    let blocks: Vec<&String> = blocks.iter().filter(on_a_host).collect();
    assert!(blocks.len() >= 3, "the README has lost its examples");
    for block in blocks {
        let host = Host::with_images();
        // In a directory of its own: /tmp is the machine's, and others run this test, too.
        let script = format!("set -eu; mkdir /run/here; cd /run/here\n{}\nrmdir /run/here", typed(block));
        let output = host.sh(&script);
        assert_eq!(output.code, 0, "{block}\n{output}");
        host.assert_clean();
    }
}

/// The demonstration, built tools and packages given.
#[test]
fn the_demo_works_and_leaves_nothing_but_its_image() {
    let host = Host::new();
    let output = host.sh(&format!(
        "GOCKER_BIN_DIR={} {}/demo/demo",
        bins::dir().display(),
        bins::workspace().display()
    ));
    let text = output.clone().ok();
    assert!(text.contains("busybox") && text.contains("172.29."), "{output}");
    host.run(&["gocker-sh", "rmi", "busybox"]).ok();
    host.assert_clean();
}
