//! The script with util-linux, iproute2, nftables and the files of the cgroup: what the stages do, in its plainest form.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{line, quoted, typed};
use crate::options::{Mode, Run};
use crate::plan::Plan;
use crate::volumes;

/// The capabilities that docker leaves.
const CAPABILITIES: &str = "chown,dac_override,fowner,fsetid,kill,mknod,net_bind_service,net_raw,setfcap,setgid,setpcap,setuid,sys_chroot,audit_write";

/// The options that have a plain counterpart here, or that have no effect on a run that a script does: names as in
/// [`Run::typed`].
const HERE: [&str; 26] = [
    "cpus",
    "entrypoint",
    "env",
    "hostname",
    "interactive",
    "label",
    "log_driver",
    "log_opt",
    "mem",
    "memory",
    "name",
    "network",
    "pids",
    "pids_limit",
    "platform",
    "pull",
    "quiet",
    "read_only",
    "restart",
    "rm",
    "rootfs",
    "stop_signal",
    "stop_timeout",
    "volume",
    "words",
    "workdir",
];

/// # Errors
/// An option has no plain counterpart here.
pub fn script(options: &Run, plan: &Plan) -> Result<String> {
    check(options)?;
    let parts =
        [head(options), image(plan), network(&options.network.mode()), cgroup(&plan.cgctl), process(options)];
    Ok(parts.concat())
}

fn check(options: &Run) -> Result<()> {
    let typed: Value = serde_json::from_str(options.typed()?.get())?;
    let named = options.volume.iter().any(|volume| volumes::named(volume).is_some());
    let other = match options.network.mode() {
        Mode::Named(_) | Mode::Container(_) => Some("network=NAME"),
        _ if named => Some("volume=NAME"),
        _ => names(&typed).into_iter().find(|name| !HERE.contains(name)),
    };
    match other {
        Some(name) => bail!(
            "cannot print a script with util-linux: it does without --{}; --print-script=tools has it",
            name.replace('_', "-")
        ),
        None => Ok(()),
    }
}

/// The options that were typed; they stand in groups.
fn names(typed: &Value) -> Vec<&str> {
    let fields = typed.as_object().into_iter().flatten();
    fields
        .flat_map(|(name, value)| if value.is_object() { names(value) } else { vec![name.as_str()] })
        .collect()
}

fn head(options: &Run) -> String {
    format!(
        r#"#!/bin/sh
# gocker-sh run ... {typed}
# With util-linux, iproute2 and nftables. Not here: the seccomp filter, masked paths, /etc/hosts; the image's volumes are in the writable layer.
set -eu
id=$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')
dir=$(mktemp -d)
steps=
# What is done is taken back in reverse.
undo() {{ steps="$1
$steps"; }}
clean_up() {{ set +e; eval "$steps"; rm -rf "$dir"; }}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
fail() {{ echo "$1" >&2; exit 125; }}

"#,
        typed = typed(options)
    )
}

fn image(plan: &Plan) -> String {
    let lower = match &plan.pull {
        Some(words) => format!(
            "doc=$(pull{}) || exit 125\nlower=$(echo \"$doc\" | jq -r '[.image.layers[].path] | reverse | join(\":\")')\n",
            line(words)
        ),
        None => {
            let lower = plan.mount_overlay.iter().find_map(|word| word.strip_prefix("--lower="));
            format!("doc='{{}}'\nlower={}\n", quoted(lower.unwrap_or_default()))
        }
    };
    format!(
        r#"# The root file system: the image's layers, and a writable one on top.
{lower}mount -t tmpfs -o mode=700 tmpfs "$dir"
mount --make-private "$dir"
undo "umount -l '$dir'"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root" || fail "no overlay"
undo "umount -l '$dir/root'"

"#
    )
}

fn network(mode: &Mode) -> String {
    let namespace = r#": > "$dir/net"
unshare --net="$dir/net" true
undo "umount '$dir/net'"
net=$dir/net
inside() { nsenter --net="$net" ip "$@"; }
inside link set lo up
"#;
    match mode {
        Mode::Host => "# The host's network.\nnet=/proc/self/ns/net\n\n".to_owned(),
        Mode::None => format!("# A network namespace with nothing but a loopback.\n{namespace}\n"),
        // The two others have been refused.
        Mode::Named(_) | Mode::Container(_) | Mode::Bridge => format!(
            "# A network namespace, a cable from it to a bridge of its own, and address translation behind that.\n\
             {namespace}{BRIDGE}"
        ),
    }
}

const BRIDGE: &str = r#"a=$(printf %d "0x$(echo "$id" | cut -c1-2)")
b=$(printf %d "0x$(echo "$id" | cut -c3-4)")
subnet=10.$a.$b
bridge=br$(echo "$id" | cut -c1-10)
veth=ve$(echo "$id" | cut -c1-10)
ip link add "$bridge" type bridge
undo "ip link del '$bridge'"
ip addr add "$subnet.1/24" dev "$bridge"
ip link set "$bridge" up
inside link add eth0 type veth peer name "$veth" netns $$
ip link set "$veth" master "$bridge" up
inside addr add "$subnet.2/24" dev eth0
inside link set eth0 up
inside route add default via "$subnet.1"
echo 1 > /proc/sys/net/ipv4/ip_forward
nft -f - <<END
table ip box-$id {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr $subnet.0/24 oifname != "$bridge" masquerade
    }
}
END
undo "nft delete table ip 'box-$id'"

"#;

/// The limits as both versions of the cgroup have them.
fn cgroup(words: &[String]) -> String {
    let value = |flag: &str| words.iter().find_map(|word| word.strip_prefix(flag)).map(str::to_owned);
    let mut v1 = String::new();
    let mut v2 = String::new();
    if let Some(bytes) = value("--memory=") {
        let bytes = quoted(&bytes.to_ascii_uppercase());
        v1 += &format!("    echo {bytes} > \"$memory/memory.limit_in_bytes\"\n");
        v2 += &format!("    echo {bytes} > \"$group/memory.max\"\n");
    }
    if let Some(count) = value("--pids-limit=") {
        let count = quoted(&count);
        v1 += &format!("    echo {count} > \"$pids/pids.max\"\n");
        v2 += &format!("    echo {count} > \"$group/pids.max\"\n");
    }
    if let Some(cpus) = value("--cpus=") {
        let quota = format!(
            "$(awk 'BEGIN {{ print int({} * 100000) }}')",
            cpus.replace(|c: char| !c.is_ascii_digit() && c != '.', "")
        );
        v1 += &format!("    echo {quota} > \"$cpu/cpu.cfs_quota_us\"\n");
        v2 += &format!("    echo \"{quota} 100000\" > \"$group/cpu.max\"\n");
    }
    format!(
        r#"# The control group. The process that becomes the container writes itself into it.
tasks=
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/box-$id
    echo "+memory +pids +cpu" > /sys/fs/cgroup/cgroup.subtree_control
    mkdir "$group"
    undo "rmdir '$group'"
    tasks=$group/cgroup.procs
{v2}else
    for controller in memory pids cpu; do
        mkdir "/sys/fs/cgroup/$controller/box-$id"
        undo "rmdir '/sys/fs/cgroup/$controller/box-$id'"
        tasks="$tasks /sys/fs/cgroup/$controller/box-$id/tasks"
    done
    # shellcheck disable=SC2034
    memory=/sys/fs/cgroup/memory/box-$id pids=/sys/fs/cgroup/pids/box-$id cpu=/sys/fs/cgroup/cpu/box-$id
{v1}fi

"#
    )
}

/// Sets the positional parameters to the command, the image's entry point in front of it.
fn command_line(options: &Run) -> String {
    let command: Vec<String> = options.entrypoint.iter().chain(options.image.command()).cloned().collect();
    let given = if command.is_empty() { String::new() } else { format!("set --{}\n", line(&command)) };
    let with_image = match (&options.entrypoint, command.is_empty()) {
        (Some(_), _) => String::new(),
        (None, true) => "eval \"set -- $(echo \"$doc\" | jq -r '.image.spec.config | (.Entrypoint // []) + (.Cmd // []) | @sh')\"\n".to_owned(),
        (None, false) => "eval \"set -- $(echo \"$doc\" | jq -r '.image.spec.config.Entrypoint // [] | @sh') \\\"\\$@\\\"\"\n".to_owned(),
    };
    given + &with_image
}

/// Variables that were given, as words for env(1).
fn environment(options: &Run) -> String {
    let words: String = options
        .process
        .env
        .iter()
        .map(|word| match word.split_once('=') {
            Some(_) => format!(" {}", quoted(word)),
            None => format!(" \"{word}=${{{word}-}}\""),
        })
        .collect();
    in_double_quotes(&words)
}

/// Commands that bind what `-v` names; `$1` is the root.
fn binds(options: &Run) -> String {
    options
        .volume
        .iter()
        .filter(|volume| volume.starts_with('/'))
        .map(|volume| {
            let mut parts = volume.splitn(3, ':');
            let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let read_only = parts.next().is_some_and(|words| words.split(',').any(|word| word == "ro"));
            let remount = if read_only {
                format!("mount -o remount,bind,ro \"$1\"{}\n", quoted(to))
            } else {
                String::new()
            };
            let make = format!(
                "if [ -d {0} ]; then mkdir -p \"$1\"{1}; else : >> \"$1\"{1}; fi\n",
                quoted(from),
                quoted(to)
            );
            format!("{make}mount --bind {} \"$1\"{}\n{remount}", quoted(from), quoted(to))
        })
        .collect()
}

fn process(options: &Run) -> String {
    let (command_line, environment, binds) = (command_line(options), environment(options), binds(options));
    let workdir = match &options.process.workdir {
        Some(dir) => format!("cwd={}\n", quoted(dir)),
        None => "cwd=$(echo \"$doc\" | jq -r '.image.spec.config.WorkingDir // \"\"')\n".to_owned(),
    };
    let hostname = options.hostname.as_deref().map_or_else(|| "\"$id\"".to_owned(), quoted);
    let read_only = if options.read_only { "mount -o remount,bind,ro \"$1\"\n" } else { "" };
    let stdin = if options.process.interactive { "" } else { " < /dev/null" };
    format!(
        r#"# The process: namespaces of its own, then its root, then fewer capabilities, then the command.
cat > "$dir/inside" <<'END'
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc -o nosuid,nodev,noexec proc "$1/proc" 2> /dev/null || {{ mkdir -p "$1/proc" "$1/sys" "$1/dev"; mount -t proc -o nosuid,nodev,noexec proc "$1/proc"; }}
mkdir -p "$1/sys" "$1/dev"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$1/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$1/dev"
for node in null zero full random urandom tty; do : > "$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
mkdir "$1/dev/pts" "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
mount -t tmpfs -o nosuid,nodev,noexec,size=64m tmpfs "$1/dev/shm"
mkdir -p "$1$3"
{binds}{read_only}hostname "$2"
root=$1 host=$2 cwd=$3 env=$4
shift 4
# The image's variables, then those that were given; nothing of the caller's.
eval "exec setpriv --bounding-set=-all,{capabilities} --inh-caps=-all env -i \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOSTNAME=\"\$host\" HOME=/root $env{environment} \
    unshare --root=\"\$root\" --wd=\"\${{cwd:-/}}\" -- \"\$@\""
END
{workdir}env=$(echo "$doc" | jq -r '.image.spec.config.Env // [] | @sh')
{command_line}[ $# -gt 0 ] || fail "no command specified"
code=0
(
    for file in $tasks; do echo 0 > "$file"; done
    exec nsenter --net="$net" unshare --mount --uts --ipc --pid --cgroup --fork --kill-child \
        sh "$dir/inside" "$dir/root" {hostname} "$cwd" "$env" "$@"
){stdin} || code=$?
exit "$code"
"#,
        capabilities = CAPABILITIES.split(',').map(|name| format!("+{name}")).collect::<Vec<_>>().join(","),
    )
}

/// Text that a shell reads again after it has taken it out of double quotes.
fn in_double_quotes(text: &str) -> String {
    text.chars().flat_map(|c| if "\\\"$`".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}
