//! `nsrun exec`: inside in every respect.

use serde_json::json;

use super::{ROOTFS, Sleeper, bundle, host};

#[test]
fn in_all_namespaces_of_the_container() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    let script = "for n in mnt pid uts ipc net cgroup user; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo $n; done; \
                  test $$ -gt 1 && readlink /proc/self/root; hostname";
    sleeper.exec(&host, &["ID", "sh", "-c", script]).prints(&format!("/\n{}", &sleeper.id[..12]));
    let host_net = host.sh("readlink /proc/self/ns/net").ok();
    assert_ne!(sleeper.exec(&host, &["ID", "readlink", "/proc/self/ns/net"]).ok(), host_net);
    sleeper.end();
}

#[test]
fn environment_user_directory_and_capabilities() {
    let host = host();
    let sleeper = Sleeper::start(&host, &["-e", "A=run", "-e", "B=run", "-w", "/tmp"]);
    sleeper
        .exec(&host, &["-e", "B=exec", "ID", "sh", "-c", "echo $A $B $HOME; pwd"])
        .prints("run exec /root\n/tmp");
    sleeper.exec(&host, &["-w", "/etc", "ID", "pwd"]).prints("/etc");
    let status = ["sh", "-c", "echo $HOME; id -G; grep -E '^Cap(Eff|Bnd)' /proc/self/status"];
    let root = "/root\n0\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb";
    let app = "/home/app\n1000 2000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb";
    sleeper.exec(&host, &[&["ID"], &status[..]].concat()).prints(root);
    sleeper.exec(&host, &[&["-u", "app", "ID"], &status[..]].concat()).prints(app);
    sleeper.end();
    let sleeper = Sleeper::start(&host, &["-u", "app"]);
    sleeper.exec(&host, &[&["ID"], &status[..]].concat()).prints(app);
    sleeper.exec(&host, &[&["-u", "0", "ID"], &status[..]].concat()).prints(root);
    sleeper.end();
}

#[test]
fn in_the_containers_cgroup() {
    let host = host();
    let parent = host.cgroup_parent();
    let path = format!("/sys/fs/cgroup/pids{parent}/exec");
    host.sh(&format!("mkdir -p {path}")).ok();
    std::fs::write(
        host.path("/run/doc"),
        format!(
            "{{\"gocker\":1,\"rootfs\":{{\"path\":\"{ROOTFS}\"}},\"cgroup\":{{\"version\":1,\"cgroupsPath\":\"{parent}/exec\",\"paths\":{{\"pids\":\"{path}\"}},\"resources\":{{}}}}}}"
        ),
    )
    .unwrap();
    let id = tests::new_id();
    let mut running =
        host.start(&["nsrun", "--doc=/run/doc", "-i", "--id", &id, "--", "sh", "-c", "echo ready; exec cat"]);
    running.wait_for_line("ready");
    host.run(&["nsrun", "exec", &id, "sh", "-c", "grep pids /proc/self/cgroup | cut -d: -f3"]).prints("/");
    // With room for no other process, exec's command is one too many when it forks.
    host.sh(&format!("echo 2 > {path}/pids.max")).ok();
    host.run(&["nsrun", "exec", &id, "true"]).code(0);
    assert!(host.run(&["nsrun", "exec", &id, "sh", "-c", "true | true; true"]).stderr.contains("fork"));
    assert_eq!(running.end().code, 0);
    host.sh(&format!("rmdir {path}; rm /run/doc")).ok();
}

#[test]
fn exit_codes_and_streams() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    sleeper.exec(&host, &["ID", "sh", "-c", "exit 6"]).code(6);
    sleeper.exec(&host, &["ID", "sh", "-c", "kill -9 $$"]).code(137);
    sleeper
        .exec(&host, &["ID", "nil"])
        .fails(127, "nsrun: exec: \"nil\": executable file not found in $PATH\n");
    sleeper.exec(&host, &["ID", "/etc"]).code(126);
    sleeper.exec(&host, &["-u", "nil", "ID", "true"]).code(125).says("cannot use user nil");
    host.feed(&["nsrun", "exec", "-i", &sleeper.id, "tr", "a-z", "A-Z"], "over\nand out\n")
        .prints("OVER\nAND OUT");
    host.feed(&["nsrun", "exec", &sleeper.id, "wc", "-c"], "not for you").prints("0");
    // Options of the command are the command's.
    sleeper.exec(&host, &["ID", "echo", "-e", "-t", "x"]).prints("-t x");
    sleeper.exec(&host, &["ID", "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]).prints("0 1 2 3 ");
    sleeper.end();
    let id = tests::new_id();
    host.run(&["nsrun", "exec", &id, "true"]).fails(
        125,
        &format!("nsrun: cannot run in container {id}: there is none of that id\n  hint: nsrun ls lists those there are\n"),
    );
}

#[test]
fn it_ends_with_the_container_and_with_its_nsrun() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    let mut exec = host.start(&["nsrun", "exec", &sleeper.id, "sh", "-c", "echo ready; exec sleep 1000"]);
    exec.wait_for_line("ready");
    exec.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(exec.end().code, 143);
    let mut exec = host.start(&["nsrun", "exec", &sleeper.id, "sh", "-c", "echo ready; exec sleep 1000"]);
    exec.wait_for_line("ready");
    exec.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(exec.end().code, 137);
    sleeper.exec(&host, &["ID", "sh", "-c", "while pgrep sleep; do :; done"]).prints("");
    let mut exec = host.start(&["nsrun", "exec", &sleeper.id, "sh", "-c", "echo ready; exec sleep 1000"]);
    exec.wait_for_line("ready");
    sleeper.end();
    assert_eq!(exec.end().code, 137);
}

#[test]
fn a_hostile_container_learns_nothing_from_who_enters() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    // Its account files and its /proc are its own doing.
    host.sh(&format!("echo 'root:x:0:0::/evil:' > {ROOTFS}/etc/passwd")).ok();
    sleeper.exec(&host, &["ID", "sh", "-c", "echo $HOME"]).prints("/evil");
    host.sh(&format!("ln -sf /proc/1/root/../../../run {ROOTFS}/link")).ok();
    sleeper.exec(&host, &["-w", "/link", "ID", "pwd"]).code(125);
    sleeper.exec(&host, &["ID", "/proc/self/exe"]).code(126);
    sleeper.end();
}

#[test]
fn on_the_processors_of_the_configuration() {
    let host = host();
    if host.run(&["nproc"]).ok().trim() == "1" {
        tests::skip!("this machine has one processor");
    }
    let mut config = bundle::config(&host, "box", "echo up; exec sleep 1000");
    config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    bundle::write(&host, "box", &config);
    bundle::create(&host, "box").prints("");
    bundle::nsrun(&host, &["start", "box"]).prints("");
    let list = ["sed", "-n", "s/^Cpus_allowed_list:\t*//p", "/proc/self/status"];
    // Not those of the container itself.
    let all = host.run(&list).ok();
    let first = std::fs::read_to_string(host.path("/run/box.pid")).unwrap();
    host.sh(&format!("sed -n 's/^Cpus_allowed_list:\t*//p' /proc/{first}/status")).prints(all.trim());
    let trace = ["strace", "-f", "-qq", "-o", "/run/trace", "-e", "trace=sched_setaffinity,clone3"];
    host.run(&[&trace[..], &["nsrun", "exec", "box"], &list[..]].concat()).prints("1");
    let trace = std::fs::read_to_string(host.path("/run/trace")).unwrap();
    let calls: Vec<&str> =
        trace.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('(').next()).collect();
    assert_eq!(calls, ["sched_setaffinity", "clone3", "sched_setaffinity"], "{trace}");
    // An engine's process has its own.
    let process = json!({"user": {}, "cwd": "/", "args": list, "env": ["PATH=/bin"], "execCPUAffinity": {"final": "0"}});
    std::fs::write(host.path("/run/process.json"), process.to_string()).unwrap();
    bundle::nsrun(&host, &["exec", "--process=/run/process.json", "box"]).prints("0");
    let process = json!({"user": {}, "cwd": "/", "args": list, "execCPUAffinity": {"final": "1-0"}});
    std::fs::write(host.path("/run/process.json"), process.to_string()).unwrap();
    bundle::nsrun(&host, &["exec", "--process=/run/process.json", "box"])
        .fails(125, "nsrun: cannot use process.execCPUAffinity.final: \"1-0\" is no list of processors\n");
    std::fs::write(host.path("/run/process.json"), r#"{"user": {}, "cwd": "/", "args": "true"}"#).unwrap();
    bundle::nsrun(&host, &["exec", "--process=/run/process.json", "box"])
        .code(125)
        .says("nsrun: cannot read the process from /run/process.json: args: invalid type: string");
    bundle::delete(&host, "box");
}
