//! `explain`: how a container was made, step by step: what was asked of the kernel, why, and the command that shows it now.

use anyhow::{Context, Result};
use serde_json::Value;

use super::each;
use crate::cli::Global;
use crate::record::Record;

/// Tell how a container was made, and how to look at each part of it
#[derive(clap::Args, Clone, Debug)]
pub struct Explain {
    /// Name or id
    container: String,
}

/// One step: what it is for, what was done, what to type.
struct Step {
    tool: &'static str,
    why: &'static str,
    done: Vec<String>,
    look: Vec<String>,
}

pub fn explain(global: &Global, options: &Explain) -> Result<u8> {
    each(global, std::slice::from_ref(&options.container), |store, id, _| {
        let record = Record::read(store, id)?.with_context(|| format!("No such container: {id}"))?;
        let document: Value = record
            .document
            .as_ref()
            .map(|raw| serde_json::from_str(raw.get()))
            .transpose()?
            .unwrap_or_default();
        let steps = [
            image(&record, &document),
            rootfs(&document),
            network(&record, &document),
            cgroup(&document),
            process(&record),
        ];
        let mut text = format!("{} ({}), {}\n", record.name, record.id.short(), crate::ps::state(&record));
        for (number, step) in steps.into_iter().flatten().enumerate() {
            text += &format!("\n{}. {}: {}\n", number + 1, step.tool, step.why);
            step.done.iter().for_each(|line| text += &format!("   - {line}\n"));
            step.look.iter().for_each(|line| text += &format!("     $ {line}\n"));
        }
        stage::print(&text)
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn image(record: &Record, document: &Value) -> Option<Step> {
    let layers = list(&document["image"]["layers"]);
    record.plan.pull.as_ref()?;
    let paths: Vec<String> = layers.iter().map(|layer| text(&layer["path"])).collect();
    Some(Step {
        tool: "pull",
        why: "an image is a list of archives; each is verified by its digest and unpacked once, for all containers",
        done: vec![
            format!(
                "{} is manifest {}",
                text(&document["image"]["reference"]),
                text(&document["image"]["manifest"]["digest"])
            ),
            format!("it has {} layer{}", paths.len(), if paths.len() == 1 { "" } else { "s" }),
        ],
        look: paths.iter().map(|path| format!("ls {path}")).collect(),
    })
}

fn rootfs(document: &Value) -> Option<Step> {
    let rootfs = document.get("rootfs")?;
    let path = text(&rootfs["path"]);
    Some(Step {
        tool: "mount-overlay",
        why: "one root out of the layers: reads go through to them, writes go to a directory of the container's own",
        done: vec![
            format!("mount(2): an overlay at {path}, read-only layers below"),
            format!("what the container writes is in {}", text(&rootfs["upper"])),
        ],
        look: vec![format!("findmnt {path}"), format!("find {}", text(&rootfs["upper"]))],
    })
}

fn network(record: &Record, document: &Value) -> Option<Step> {
    let network = document.get("network")?;
    record.plan.netns.as_ref()?;
    let name = text(&network["netns"]).rsplit('/').next().unwrap_or_default().to_owned();
    let links: Vec<String> = list(&network["interfaces"]).iter().map(|link| text(&link["name"])).collect();
    let addresses: Vec<String> = list(&network["ips"]).iter().map(|ip| text(&ip["address"])).collect();
    Some(Step {
        tool: "netns",
        why: "a namespace has interfaces, routes and rules of its own; a pair of virtual interfaces is the cable out of it",
        done: vec![
            format!("unshare(CLONE_NEWNET), kept by a bind mount at {}", text(&network["netns"])),
            format!("interfaces {}; addresses {}", links.join(", "), addresses.join(", ")),
            "packets that leave the host get the host's address (nf_tables, masquerade)".to_owned(),
        ],
        look: vec![
            format!("ip -n {name} address"),
            format!("ip -n {name} route"),
            "bridge link".to_owned(),
            "nft list ruleset".to_owned(),
        ],
    })
}

fn cgroup(document: &Value) -> Option<Step> {
    let cgroup = document.get("cgroup")?;
    let paths: Vec<String> = cgroup["paths"].as_object()?.values().map(text).collect();
    Some(Step {
        tool: "cgctl",
        why: "a control group counts what its processes use, and holds them to limits",
        done: vec![
            format!("mkdir(2) in {} hierarch{}", paths.len(), if paths.len() == 1 { "y" } else { "ies" }),
            format!("limits: {}", cgroup["resources"]),
        ],
        look: paths.iter().map(|path| format!("cat {path}/cgroup.procs")).collect(),
    })
}

fn process(record: &Record) -> Option<Step> {
    let process = record.process.as_ref()?;
    let pid = process.pid;
    let mut done = vec![
        "clone3(2) with new mount, PID, UTS, IPC and cgroup namespaces; it is process 1 in there".to_owned(),
        "pivot_root(2) into the overlay; /proc, /sys and /dev of its own, parts of them masked".to_owned(),
        "capabilities cut to docker's fourteen, then execve(2)".to_owned(),
    ];
    let look = match record.is_alive() {
        true => vec![
            format!("ls -l /proc/{pid}/ns"),
            format!("grep Cap /proc/{pid}/status"),
            format!("cat /proc/{pid}/mountinfo"),
            format!("nsenter --target {pid} --mount --net --pid -- sh"),
        ],
        false => {
            done.push("it has ended: all but the record and what it has written is gone".to_owned());
            Vec::new()
        }
    };
    Some(Step {
        tool: "nsrun",
        why: "the command sees only its own processes, mounts and names, and may do less than the host's root",
        done,
        look,
    })
}
