//! Device rules on cgroup v2, which has no files for them: a program that the kernel asks at each access.

mod code;
mod program;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use stage::Explain;

use crate::device::Rule;

/// Lets the rules decide about every device that the processes of the group `dir` use; in place of those that were set
/// before.
pub fn limit(dir: &Path, rules: &[Rule]) -> Result<()> {
    let context = || format!("cannot limit devices of {}", dir.display());
    let words: Vec<String> = rules.iter().map(|rule| format!("{} {rule}", verb(rule))).collect();
    // No command of a shell does it: shown as one that does nothing.
    stage::shell(&[":", "devices", "of", &dir.to_string_lossy(), &words.join(", ")]);
    let group = File::open(dir).with_context(context)?;
    let before = program::attached(&group).context("bpf: BPF_PROG_QUERY").with_context(context)?;
    let new = program::load(&code::of(rules)).context("bpf: BPF_PROG_LOAD").with_context(context);
    let new = new.hint("it takes CAP_BPF or CAP_SYS_ADMIN in the host's user namespace")?;
    program::attach(&group, &new).context("bpf: BPF_PROG_ATTACH").with_context(context)?;
    // Until here both decide, which forbids what either forbids.
    for old in before {
        program::detach(&group, old).context("bpf: BPF_PROG_DETACH").with_context(context)?;
    }
    Ok(())
}

fn verb(rule: &Rule) -> &'static str {
    if rule.allow { "allow" } else { "deny" }
}
