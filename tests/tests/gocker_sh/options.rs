//! Each option of `run` and `exec`, looked at from inside the container or by other tools.

use std::path::PathBuf;

use tests::Host;
use tests::snapshot::cgroup_dirs;

use super::{run, start};

#[test]
fn what_a_command_sees() {
    let host = Host::with_images();
    host.sh("printf 'FROM=file\\n# no\\nQUOTED=\"a b\"\\n' > /run/env; mkdir /run/data; echo inside > /run/data/file").ok();
    for (options, command, seen) in [
        (&["--hostname", "box"][..], "hostname; cat /etc/hostname", "box\nbox"),
        (&["-h", "box"], "hostname", "box"),
        (&["-e", "A=1", "--env", "B=x y"], "echo $A $B", "1 x y"),
        (&["-e", "HOME"], "echo [$HOME]", "[/root]"),
        (&["--env-file", "/run/env", "-e", "FROM=line"], "echo $FROM $QUOTED", "line \"a b\""),
        (&["-w", "/var/new/dir"], "pwd", "/var/new/dir"),
        (&["-u", "app"], "id", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"),
        (&["-u", "1234:5"], "id -u; id -g; echo $HOME", "1234\n5\n/"),
        (&["--network", "none"], "ls /sys/class/net", "lo"),
        (&["--net=bridge"], "ls /sys/class/net", "eth0\nlo"),
        (
            &["--read-only"],
            "touch /x 2>&1; touch /dev/shm/x && echo yes",
            "touch: /x: Read-only file system\nyes",
        ),
        (&["-v", "/run/data:/data"], "cat /data/file", "inside"),
        (&["-v", "/run/data:/data:ro"], "touch /data/x 2>&1", "touch: /data/x: Read-only file system"),
        (&["--add-host", "db:192.0.2.7"], "grep -F 192.0.2.7 /etc/hosts", "192.0.2.7\tdb"),
        (
            &["--dns", "192.0.2.1", "--dns-search", "example.test", "--dns-option", "ndots:3"],
            "sort /etc/resolv.conf",
            "nameserver 192.0.2.1\noptions ndots:3\nsearch example.test",
        ),
        (&["--ip", "172.29.9.9"], "ip -o -4 addr show eth0 | awk '{print $4}'", "172.29.9.9/16"),
        (&[], "echo $$; echo $PATH; pwd; id -u", "1\n/bin:/usr/bin\n/\n0"),
        (&["--init"], "[ $$ != 1 ] && echo not PID 1", "not PID 1"),
        (&["--platform", "linux/amd64"], "echo yes", "yes"),
    ] {
        let output = run(&host, &[options, &["busybox", "sh", "-c", command]].concat());
        assert_eq!((output.stdout.trim_end(), output.stderr.as_str()), (seen, ""), "{output}");
    }
}

/// gocker-sh has short turns on the processors for itself; what it runs has those that its caller has.
#[test]
fn the_payload_is_scheduled_as_gocker_shs_caller_is() {
    const LOOK: &str = "grep -E '^(policy|prio|se.slice) ' /proc/self/sched";
    let host = Host::with_images();
    for caller in ["", "nice -n 5", "chrt --batch 0"] {
        let own = host.sh(&format!("{caller} sh -c \"{LOOK}\"")).ok();
        let payloads = host
            .sh(&format!(
                "{caller} gocker-sh run --rm --security-opt systempaths=unconfined busybox sh -c \"{LOOK}\""
            ))
            .ok();
        assert_eq!(payloads, own, "{caller}");
    }
}

#[test]
fn the_host_name_is_the_short_id_and_the_cidfile_has_the_whole() {
    let host = Host::with_images();
    let name = run(&host, &["--cidfile", "/run/cid", "busybox", "hostname"]).ok();
    let id = host.sh("cat /run/cid").ok();
    assert_eq!((id.len(), name.trim_end()), (64, &id[..12]));
    run(&host, &["--cidfile", "/run/cid", "busybox", "true"]).fails(
        125,
        "gocker-sh: container ID file found, make sure the other container isn't running or delete /run/cid\n",
    );
}

#[test]
fn the_hosts_network_is_the_hosts() {
    let host = Host::with_images();
    // sysfs shows the network that it was mounted in: nsrun mounts it anew, in the host's.
    host.sh("ip link add mark type bridge").ok();
    let namespace = host.sh("readlink /proc/self/ns/net").ok();
    let look = "readlink /proc/self/ns/net; ls /sys/class/net | grep mark";
    run(&host, &["--network", "host", "busybox", "sh", "-c", look]).prints(&format!("{namespace}mark"));
    host.sh("ip link del mark").ok();
}

#[test]
fn behind_the_image_nothing_is_an_option() {
    let host = Host::with_images();
    run(&host, &["--entrypoint", "echo", "busybox", "--rm", "-v", "--help"]).prints("--rm -v --help");
    let running = start(&host, &["--rm", "--name", "web"]);
    host.run(&["gocker-sh", "exec", "web", "echo", "-i", "--help"]).prints("-i --help");
    assert_eq!(running.end().code, 0);
}

#[test]
fn an_entry_point_takes_the_place_of_the_images() {
    let host = Host::with_images();
    run(&host, &["--entrypoint", "echo", "busybox", "a", "b"]).prints("a b");
    // The image's command goes with it.
    run(&host, &["--entrypoint", "echo", "busybox"]).prints("");
}

#[test]
fn a_missing_source_of_a_volume_is_made() {
    let host = Host::with_images();
    run(&host, &["-v", "/run/new/dir:/data", "busybox", "touch", "/data/x"]).ok();
    host.sh("ls /run/new/dir").prints("x");
}

#[test]
fn stdin_is_read_only_when_asked_for() {
    let host = Host::with_images();
    host.feed(&["gocker-sh", "run", "--rm", "-i", "busybox", "cat"], "hello\n").prints("hello");
    host.feed(&["gocker-sh", "run", "--rm", "busybox", "cat"], "hello\n").prints("");
}

#[test]
fn a_terminal_is_the_commands_own() {
    let host = Host::with_images();
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all three";
    let output = run(&host, &["-t", "busybox", "sh", "-c", script]);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("/dev/pts/0\r\nall three\r\n", ""),
        "{output}"
    );
}

#[test]
fn stdout_and_stderr_stay_apart() {
    let host = Host::with_images();
    let output = run(&host, &["busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

/// The file of the one container's cgroup, as its controller has it.
fn cgroup_file(host: &Host, file: &str) -> String {
    let dirs = cgroup_dirs(&host.cgroup_parent());
    let path = dirs.iter().map(|dir| PathBuf::from(dir).join(file)).find(|path| path.exists());
    std::fs::read_to_string(path.unwrap_or_else(|| panic!("no {file} in {dirs:?}")))
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn limits_are_in_the_cgroup() {
    let host = Host::with_images();
    for (options, expected) in [
        (&["--memory=64m", "--memory-swap=64m"][..], &[("memory.limit_in_bytes", "67108864")][..]),
        (&["--mem=64", "--swap=0"], &[("memory.limit_in_bytes", "67108864")]),
        (&["--cpus=0.5"], &[("cpu.cfs_quota_us", "50000"), ("cpu.cfs_period_us", "100000")]),
        (&["--cpu-shares=512"], &[("cpu.shares", "512")]),
        (&["--pids-limit=20"], &[("pids.max", "20")]),
        (&["--pids=20"], &[("pids.max", "20")]),
        (&[], &[("pids.max", "max"), ("cpu.cfs_quota_us", "-1")]),
    ] {
        let running = start(&host, &[&["--rm"], options].concat());
        for (file, value) in expected {
            assert_eq!(cgroup_file(&host, file), *value, "{options:?} {file}");
        }
        assert_eq!(running.end().code, 0);
    }
}

#[test]
fn exec_sees_the_container_and_its_own_options() {
    let host = Host::with_images();
    let running = start(&host, &["--rm", "--name", "web", "-e", "A=run", "-h", "box", "-w", "/tmp"]);
    let exec = |options: &[&str], script: &str| {
        host.run(&[&["gocker-sh", "exec"], options, &["web", "sh", "-c", script]].concat())
    };
    exec(&[], "hostname; echo $A; pwd; ls /sys/class/net | head -1").prints("box\nrun\n/tmp\neth0");
    exec(&["-e", "A=exec"], "echo $A").prints("exec");
    exec(&["-w", "/etc"], "pwd").prints("/etc");
    exec(&["-u", "app"], "id -un").prints("app");
    let own = host.run(&["gocker-sh", "exec", "web", "cat", "/proc/self/cgroup"]).ok();
    assert_eq!(host.run(&["gocker-sh", "exec", "web", "cat", "/proc/1/cgroup"]).ok(), own);
    host.feed(&["gocker-sh", "exec", "-i", "web", "cat"], "hello").prints("hello");
    host.feed(&["gocker-sh", "exec", "web", "cat"], "hello").prints("");
    assert_eq!(running.end().code, 0);
}

#[test]
fn a_container_is_found_by_its_name_its_id_and_the_start_of_it() {
    let host = Host::with_images();
    let running = start(&host, &["--rm", "--name", "web", "--cidfile", "/run/cid"]);
    let id = host.sh("cat /run/cid").ok();
    for word in ["web", &id, &id[..12], &id[..6]] {
        host.run(&["gocker-sh", "exec", word, "echo", "here"]).prints("here");
    }
    assert_eq!(running.end().code, 0);
}

#[test]
fn a_name_is_taken_once() {
    let host = Host::with_images();
    let running = start(&host, &["--rm", "--name", "web", "--cidfile", "/run/cid"]);
    let id = host.sh("cat /run/cid").ok();
    run(&host, &["--name", "web", "busybox", "true"]).fails(
        125,
        &format!(
            "gocker-sh: Conflict. The container name \"/web\" is already in use by container \"{id}\". You have to remove \
             (or rename) that container to be able to reuse that name.\n"
        ),
    );
    assert_eq!(running.end().code, 0);
    run(&host, &["--name", "web", "busybox", "true"]).ok();
}
