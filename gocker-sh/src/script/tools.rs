//! The script with the five tools.

use super::{line, typed, without_id};
use crate::options::Run;
use crate::plan::Plan;

/// `prepare` are commands that run between the set-up and the start.
pub fn script(options: &Run, plan: &Plan, prepare: &str) -> String {
    let stage = |words: &[String]| line(&without_id(words));
    let mut pipe = match &plan.pull {
        Some(words) => format!("pull{} | mount-overlay{}", line(words), line(&plan.mount_overlay)),
        None => format!("mount-overlay{} < /dev/null", line(&plan.mount_overlay)),
    };
    if let Some(words) = &plan.netns {
        pipe += &format!(" |\n    netns{}", stage(words));
    }
    pipe += &format!(" |\n    cgctl{}", stage(&plan.cgctl));
    let netns = if plan.netns.is_some() { "    netns undo \"$id\" || left=1\n" } else { "" };
    format!(
        r#"#!/bin/sh
# gocker-sh run ... {typed}
# What it makes is gone when it ends; gocker-sh run without --rm would keep the writable layer: undo --keep-upper.
set -u
id=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
box=$(mktemp)

clean_up() {{
    left=
    nsrun undo "$id" || left=1
    cgctl undo --kill "$id" || left=1
{netns}    mount-overlay undo "$id" || left=1
    rm -f "$box"
    if [ -n "$left" ]; then echo "not all of $id could be removed" >&2; fi
}}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Each stage says on stderr why it failed; the ones behind it then do nothing.
{pipe} > "$box" || exit 125
[ "$(jq -r .id "$box")" = "$id" ] || exit 125
{prepare}
nsrun --doc="$box"{nsrun}
"#,
        typed = typed(options),
        nsrun = line(&plan.nsrun),
    )
}
