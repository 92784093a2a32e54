//! The volumes of a container in the script with the five tools: the named ones are gocker-sh's own directories, the
//! others, those of the image among them, go with the script.

use serde_json::json;

use super::quoted;
use crate::options::Run;
use crate::volumes::{self, Volumes};

/// What stands between the set-up and the start of nsrun.
#[derive(Default)]
pub struct Prepare {
    /// Commands.
    pub text: String,
    /// Whether they make directories in `$volumes`, and words for nsrun in `"$@"`.
    pub has_nameless: bool,
}

/// Takes the volumes without a name out of the options: the directories of the container that are to be volumes.
pub fn take_nameless(options: &mut Run) -> Vec<String> {
    let (nameless, others) =
        options.volume.drain(..).partition(|volume: &String| volumes::is_path_alone(volume));
    options.volume = others;
    nameless
}

/// Commands that make the volumes and fill them from the image.
pub fn prepare(options: &Run, volumes: &Volumes, nameless: &[String]) -> Prepare {
    let typed = options.volumes();
    let mut text: String = typed
        .iter()
        .filter_map(|volume| volumes::named(volume))
        .map(|volume| named(volumes, volume))
        .collect();
    let has_nameless = options.image.image().is_some() || !nameless.is_empty();
    if has_nameless {
        text += &of_image(options, nameless);
    }
    if !text.is_empty() {
        text.insert_str(0, FILL);
    }
    Prepare { text, has_nameless }
}

/// An image may have made any symbolic link of the place: what it leads to outside is not copied.
const FILL: &str = r#"
# Puts into the volume $1, if it is empty, what the image has at $2.
root=$(realpath "$(jq -r .rootfs.path "$box")")
fill() {
    from=$(realpath -e "$root$2" 2> /dev/null) || return 0
    case $from in "$root"/*) ;; *) return 0 ;; esac
    if [ -d "$from" ] && [ -z "$(ls -A "$1")" ]; then cp -a "$from/." "$1"; fi
}
"#;

fn named(volumes: &Volumes, (name, destination, mode): (&str, &str, &str)) -> String {
    let data = quoted(&volumes.data(name).display().to_string());
    let fill = match mode.split(',').any(|word| word == "nocopy") {
        true => String::new(),
        false => format!("fill {data} {}\n", quoted(destination)),
    };
    format!("mkdir -p {data}\n{fill}")
}

/// Which these are is known when the script runs; those that something else is mounted on are none.
fn of_image(options: &Run, nameless: &[String]) -> String {
    let wanted = format!(
        "(.image.spec.config.Volumes // {{}} | keys) + {} | map(rtrimstr(\"/\")) | unique[]",
        json!(nameless)
    );
    let covered: Vec<String> = volumes::covered(options).iter().map(|path| quoted(path)).collect();
    let skip = match covered.is_empty() {
        true => String::new(),
        false => format!("    case $path in {}) continue ;; esac\n", covered.join(" | ")),
    };
    format!(
        r#"
# The volumes without a name, and those that the image wants, go with the container.
jq -r {wanted} "$box" > "$volumes/wanted"
set --
while IFS= read -r path; do
{skip}    mkdir "$volumes/$#"
    fill "$volumes/$#" "$path"
    set -- "$@" "--volume=$volumes/$#:$path"
done < "$volumes/wanted"
"#,
        wanted = quoted(&wanted),
    )
}
