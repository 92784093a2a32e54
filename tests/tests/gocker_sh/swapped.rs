//! Commands of the user's in the places of stages: `--net-cmd`, `--pull-cmd` and the configuration file.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use tests::Host;

use super::run;

/// A network with nothing but iproute2, noting what it is called for.
const NET: &str = r#"#!/bin/sh
set -eu
if [ "$1" = undo ]; then
    echo "undo $2" >> /run/called
    if [ -e "/run/netns/mine-$2" ]; then ip netns del "mine-$2"; fi
    exit
fi
document=$(cat)
id=$(echo "$document" | jq -r .id)
echo "do $id" >> /run/called
ip netns add "mine-$id"
ip -n "mine-$id" link add eth0 type bridge
ip -n "mine-$id" address add 10.77.0.2/24 dev eth0
ip -n "mine-$id" link set eth0 up
path=/run/netns/mine-$id
echo "$document" | jq -c --arg path "$path" '. + {network: {cniVersion: "1.1.0", netns: $path,
    interfaces: [{name: "eth0", sandbox: $path}], ips: [{address: "10.77.0.2/24", interface: 0}]}}'
"#;

/// An image of the store under a name of one's own.
const PULL: &str = "#!/bin/sh\necho \"$@\" >> /run/pulled\nexec pull --pull=never busybox\n";

fn host() -> Host {
    let host = Host::with_images();
    fs::write(host.path("/run/net"), NET).unwrap();
    fs::write(host.path("/run/pull"), PULL).unwrap();
    // The first `ip netns add` mounts /run/netns on itself.
    host.sh("chmod +x /run/net /run/pull; ip netns add first; ip netns del first").ok();
    host.settled()
}

const ADDRESS: [&str; 4] = ["busybox", "sh", "-c", "ip -4 -o addr show eth0 | awk '{print $4}'"];

#[test]
fn another_command_makes_the_network_and_takes_it_back() {
    let host = host();
    run(&host, &[&["--net-cmd=/run/net"], &ADDRESS[..]].concat()).prints("10.77.0.2/24");
    host.sh("awk '{print $1}' /run/called | tr '\\n' ' '; awk '{print $2}' /run/called | uniq | wc -l")
        .prints("do undo 1");
    run(&host, &["--net-cmd=nosuch -x", "busybox", "true"])
        .code(125)
        .says("cannot use --net-cmd=nosuch -x: nosuch is not there");
    fs::write(host.path("/run/failing"), "[ $1 = undo ] || { echo no net here >&2; exit 1; }").unwrap();
    run(&host, &["--net-cmd=sh /run/failing", "busybox", "true"]).code(125).says("no net here");
    host.assert_clean();
}

#[test]
fn the_record_remembers_the_command() {
    let host = host();
    host.run(&["gocker-sh", "create", "--name=box", "--net-cmd=/run/net", "busybox", "sleep", "1000"]).ok();
    for _ in 0..2 {
        host.run(&["gocker-sh", "start", "box"]).ok();
        host.run(&["gocker-sh", "exec", "box", "hostname", "-i"]).ok();
        host.run(&["gocker-sh", "stop", "-t0", "box"]).ok();
    }
    host.sh("awk '{print $1}' /run/called | paste -sd' '").prints("do undo do undo");
    host.run(&["gocker-sh", "rm", "box"]).ok();
}

#[test]
fn another_command_gets_the_image() {
    let host = host();
    run(&host, &["--network=none", "--pull-cmd=/run/pull", "mine:1", "echo", "in"]).prints("in");
    host.run(&["gocker-sh", "create", "--name=box", "--network=none", "--pull-cmd=/run/pull", "mine:2"]).ok();
    host.run(&["gocker-sh", "cp", "box:/etc/passwd", "/run/passwd"]).ok();
    host.sh("sed -n '1p;2p;$p' /run/pulled").prints("mine:1\nmine:2\nmine:2");
    host.run(&["gocker-sh", "rm", "box"]).ok();
}

#[test]
fn the_configuration_file_says_so_for_every_run_and_an_option_wins() {
    let host = host();
    let with_file = |text: &str, line: &str| {
        fs::write(host.path("/run/config.json"), text).unwrap();
        host.sh(&format!("export GOCKER_CONFIG=/run/config.json; gocker-sh run --rm {line}"))
    };
    let show = "busybox ip -4 -o addr show eth0";
    let shown = with_file(r#"{"netCmd": "/run/net"}"#, show).ok();
    assert!(shown.contains(" 10.77.0.2/24 "), "{shown}");
    let shown = with_file(r#"{"netCmd": "false"}"#, &format!("--net-cmd /run/net {show}")).ok();
    assert!(shown.contains(" 10.77.0.2/24 "), "{shown}");
    with_file(r#"{"netCmd": "/run/net"}"#, "--print-script busybox true")
        .code(125)
        .says("cannot print a script with --net-cmd=/run/net");
    with_file(r#"{"frob": 1}"#, show).code(125).says("cannot read /run/config.json: unknown field `frob`");
}

#[test]
fn nothing_is_drawn_where_no_color_is_set() {
    let host = Host::with_images();
    for (variable, draws) in [("X=1", true), ("NO_COLOR=1", false), ("TERM=dumb", false)] {
        let pty = nix::pty::openpty(None, None).unwrap();
        let side = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut command = host.command(&["env", "TERM=xterm", variable, "cgctl", "top", "-n1"]);
        let mut child = command.stdout(side(&pty.slave)).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        let mut bytes = [0; 4096];
        let length = nix::unistd::read(&pty.master, &mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(text.contains("GROUP") && text.contains('\x1b') == draws, "{variable}: {text:?}");
    }
}
