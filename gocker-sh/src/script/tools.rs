//! The script with the five tools.

use serde_json::json;

use super::volumes::Prepare;
use super::{line, quoted, typed, without_id};
use crate::options::Run;
use crate::plan::Plan;
use crate::settle::inside;

pub fn script(options: &Run, plan: &Plan, prepare: &Prepare) -> String {
    let netns = if plan.netns.is_some() { "    netns undo \"$id\" || left=1\n" } else { "" };
    let (volumes, no_volumes, words) = match prepare.has_nameless {
        true => ("volumes=$(mktemp -d)\n", "    rm -rf --one-file-system \"$volumes\"\n", " \"$@\""),
        false => ("", "", ""),
    };
    format!(
        r#"#!/bin/sh
# gocker-sh run ... {typed}
# What it makes is gone when it ends; gocker-sh run without --rm would keep the writable layer: undo --keep-upper.
set -u
id=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
box=$(mktemp)
{volumes}
clean_up() {{
    left=
    nsrun undo "$id" || left=1
    cgctl undo --kill "$id" || left=1
{netns}    mount-overlay undo "$id" || left=1
    rm -f "$box"
{no_volumes}    if [ -n "$left" ]; then echo "not all of $id could be removed" >&2; fi
}}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Each stage says on stderr why it failed; the ones behind it then do nothing.
{pipe} > "$box" || exit 125
[ "$(jq -r .id "$box")" = "$id" ] || exit 125
{prepare}
nsrun --doc="$box"{words}{nsrun}
"#,
        typed = typed(options),
        pipe = pipe(options, plan),
        prepare = prepare.text,
        nsrun = line(&plan.nsrun),
    )
}

/// The stages behind one another.
fn pipe(options: &Run, plan: &Plan) -> String {
    let stage = |words: &[String]| line(&without_id(words));
    let (mut pipe, ports) = match &plan.pull {
        // Which ports there are is known when the image is there.
        Some(words) if options.network.publish_all && plan.netns.is_some() => {
            let image = format!(
                "image=$(pull{}) || exit 125\nports=$(printf '%s\\n' \"$image\" | jq -r {})\nprintf '%s\\n' \"$image\"",
                line(words),
                quoted(&ports(options))
            );
            (image, " $ports")
        }
        Some(words) => (format!("pull{}", line(words)), ""),
        None => (String::new(), ""),
    };
    match pipe.is_empty() {
        true => pipe += &format!("mount-overlay{} < /dev/null", line(&plan.mount_overlay)),
        false => pipe += &format!(" | mount-overlay{}", line(&plan.mount_overlay)),
    }
    if let Some(words) = &plan.netns {
        pipe += &format!(" |\n    netns{ports}{}", stage(words));
    }
    pipe + &format!(" |\n    cgctl{}", stage(&plan.cgctl))
}

/// The jq filter that makes words for netns of the ports that the image exposes and that are not published yet.
fn ports(options: &Run) -> String {
    let published: Vec<String> = options.network.publish.iter().map(|port| inside(port)).collect();
    format!(
        "[.image.spec.config.ExposedPorts // {{}} | keys[] | if contains(\"/\") then . else . + \"/tcp\" end] - {} | \
         .[] | \"--publish=\" + .",
        json!(published)
    )
}
