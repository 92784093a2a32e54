//! `completion`: what a shell needs to complete command lines: commands and options from the parser's own description,
//! names from `ps` and `images` at the time of the key.

use anyhow::Result;
use clap::ValueEnum;

/// Print what a shell needs to complete command lines
#[derive(clap::Args, Clone, Debug)]
pub struct Completion {
    /// Which shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Commands whose operands are containers, and those whose operands are images.
const OF_CONTAINERS: [&str; 23] = [
    "attach", "commit", "cp", "diff", "exec", "explain", "export", "inspect", "kill", "logs", "pause",
    "port", "rename", "restart", "rm", "start", "stats", "stop", "top", "unpause", "update", "wait", "why",
];
const OF_IMAGES: [&str; 8] = ["create", "history", "images", "pull", "rmi", "run", "save", "tag"];

const CONTAINERS: &str = "gocker-sh ps -a --format '{{.Names}}' 2>/dev/null";
const IMAGES: &str = "gocker-sh images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null";

/// One command: its name, its help, its long options with theirs.
struct Verb {
    name: String,
    about: String,
    options: Vec<(String, String)>,
}

pub fn completion(mut parser: clap::Command, options: &Completion) -> Result<u8> {
    parser.build();
    let verbs: Vec<Verb> = parser.get_subcommands().filter(|verb| !verb.is_hide_set()).map(verb).collect();
    stage::print(&match options.shell {
        Shell::Bash => bash(&verbs),
        Shell::Zsh => {
            format!("#compdef gocker-sh\nautoload -U +X bashcompinit && bashcompinit\n{}", bash(&verbs))
        }
        Shell::Fish => fish(&verbs),
    })
    .map(|()| 0)
}

fn verb(command: &clap::Command) -> Verb {
    let options = command.get_arguments().filter(|one| !one.is_hide_set()).filter_map(|one| {
        let help = one.get_help().map(ToString::to_string).unwrap_or_default();
        one.get_long().map(|long| (format!("--{long}"), help))
    });
    Verb {
        name: command.get_name().to_owned(),
        about: command.get_about().map(ToString::to_string).unwrap_or_default(),
        options: options.collect(),
    }
}

/// Also in the part of it that zsh reads: no `mapfile`.
fn bash(verbs: &[Verb]) -> String {
    let names: Vec<&str> = verbs.iter().map(|verb| verb.name.as_str()).collect();
    let options: String = verbs
        .iter()
        .map(|verb| {
            let words: Vec<&str> = verb.options.iter().map(|(long, _)| long.as_str()).collect();
            format!("        {}) options=\"{}\" ;;\n", verb.name, words.join(" "))
        })
        .collect();
    format!(
        r#"_gocker_sh() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} verb="" options="" word
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        case $word in
        -*) ;;
        *) verb=$word; break ;;
        esac
    done
    case $verb in
        "") options="{names}" ;;
{options}    esac
    if [[ $verb && $current != -* ]]; then
        case $verb in
        {containers}) options=$({CONTAINERS}) ;;
        {images}) options=$({IMAGES}) ;;
        esac
    fi
    COMPREPLY=()
    while read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$options" -- "$current")
}}
complete -o default -F _gocker_sh gocker-sh
"#,
        names = names.join(" "),
        containers = OF_CONTAINERS.join("|"),
        images = OF_IMAGES.join("|"),
    )
}

fn fish(verbs: &[Verb]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut text = String::from("complete -c gocker-sh -f\n");
    for verb in verbs {
        text += &format!(
            "complete -c gocker-sh -n __fish_use_subcommand -a {} -d {}\n",
            verb.name,
            quoted(&verb.about)
        );
        for (long, help) in &verb.options {
            let seen = quoted(&format!("__fish_seen_subcommand_from {}", verb.name));
            text += &format!("complete -c gocker-sh -n {seen} -l {} -d {}\n", &long[2..], quoted(help));
        }
    }
    for (verbs, names) in [(&OF_CONTAINERS[..], CONTAINERS), (&OF_IMAGES[..], IMAGES)] {
        let seen = quoted(&format!("__fish_seen_subcommand_from {}", verbs.join(" ")));
        text += &format!(
            "complete -c gocker-sh -n {seen} -a \"({})\"\n",
            names.replace("'{{", "\\'{{").replace("}}'", "}}\\'").replace("\\'", "'")
        );
    }
    text
}
