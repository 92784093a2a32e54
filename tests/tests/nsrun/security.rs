//! The attacks that runtimes have fallen for, each tried. nsrun/SECURITY.md is the table of them.

use super::{ROOTFS, Sleeper, host, run, sh, words};

/// A hash of nsrun's own file, as the host sees it.
fn own_file(host: &tests::Host) -> String {
    host.sh("sha256sum $(command -v nsrun)").ok()
}

#[test]
fn cve_2024_21626_no_descriptor_of_the_host_is_left_open() {
    let host = host();
    host.sh("mkdir -p /run/victim && echo secret > /run/victim/file").ok();
    let list = format!(
        "exec 9</run/victim 10</etc/passwd; nsrun --doc=/dev/null --rootfs {ROOTFS} -- sh -c 'cd /proc/self/fd; echo *'"
    );
    host.run(&["bash", "-c", &list]).prints("0 1 2 3");
    // Nor does any number lead out as a working directory, not nsrun's own either; 3 may be the directory of a shell.
    for number in 3..40 {
        let dir = format!("/proc/self/fd/{number}");
        let script = format!(
            "exec 9</run/victim; nsrun --doc=/dev/null --rootfs {ROOTFS} -w {dir} -- sh -c 'pwd; cat ./file ../../victim/file'"
        );
        let output = host.run(&["bash", "-c", &script]);
        assert!(!output.stdout.contains("secret"), "{output}");
        // A number that is in use by the time it is looked for is a link like any other, inside the root.
        assert!(output.code == 125 || output.stdout.starts_with("/proc"), "{output}");
    }
}

#[test]
fn cve_2024_21626_exec_does_not_either() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    let id = sleeper.id.clone();
    host.run(&["bash", "-c", &format!("exec 9</etc; nsrun exec {id} sh -c 'cd /proc/self/fd; echo *'")])
        .prints("0 1 2 3");
    for number in 3..20 {
        let script =
            format!("exec 9</run/rootfs; nsrun exec -w /proc/self/fd/{number} {id} sh -c 'ls ..; pwd'");
        let output = host.run(&["bash", "-c", &script]);
        assert!(!output.stdout.contains("rootfs"), "{output}");
        let last = output.stdout.trim_end().rsplit('\n').next().unwrap();
        assert!(output.code == 125 || last.starts_with("/proc"), "{output}");
    }
    sleeper.end();
}

#[test]
fn cve_2019_5736_nsruns_own_file_is_not_to_be_had() {
    let host = host();
    let before = own_file(&host);
    // As the command, by a link, and as what a script wants to be interpreted by.
    host.sh(&format!(
        "cd {ROOTFS}/bin && ln -s /proc/self/exe trap && printf '#!/proc/self/exe\\n' > script && chmod 755 script \
         && printf '#!/bin/script x\\n' > again && chmod 755 again"
    ))
    .ok();
    for command in ["/proc/self/exe", "trap", "/bin/trap", "/bin/script", "script", "/bin/again"] {
        let output = run(&host, &["--", command, "ls"]).code(126);
        assert!(output.stderr.contains("ELOOP"), "{output}");
        let sleeper = Sleeper::start(&host, &[]);
        sleeper.exec(&host, &["ID", command, "ls"]).code(126);
        sleeper.end();
    }
    // Nothing of nsrun can be opened from inside while it joins.
    let hunt = "for n in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do readlink $p/exe; done; done | grep -c nsrun";
    let sleeper = Sleeper::start(&host, &["--init"]);
    let hunter = host.start(&["nsrun", "exec", &sleeper.id, "sh", "-c", hunt]);
    for _ in 0..20 {
        sleeper.exec(&host, &["ID", "true"]).code(0);
    }
    let output = hunter.end();
    assert_eq!(output.stdout, "0\n", "{output}");
    sleeper.end();
    assert_eq!(own_file(&host), before);
}

/// Exchanges a directory and a link to `/run/victim`, over and over.
const EXCHANGE: &str = "
import ctypes, sys
libc = ctypes.CDLL(None)
print('ready', flush=True)
while True:
    libc.syscall(316, -100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)
";

#[test]
fn cve_2021_30465_destinations_that_are_swapped_while_mounting() {
    let host = host();
    host.sh(&format!(
        "mkdir -p /run/victim /run/data {ROOTFS}/a/b && echo data > /run/data/f && echo secret > /run/victim/f \
         && ln -s ../../../victim {ROOTFS}/link && ln -s /run/victim {ROOTFS}/a/c"
    ))
    .ok();
    let (dir, link) = (format!("{ROOTFS}/a/b"), format!("{ROOTFS}/a/c"));
    let mut exchange = host.start(&["python3", "-c", EXCHANGE, &dir, &link]);
    exchange.wait_for_line("ready");
    for _ in 0..40 {
        let output = run(
            &host,
            &["--volume=/run/data:/a/b/d", "--", "sh", "-c", "cat /run/victim/f /a/b/../f; ls /a/b /a/c"],
        );
        assert!(!output.stdout.contains("secret"), "{output}");
    }
    exchange.signal(nix::sys::signal::Signal::SIGKILL);
    exchange.end();
    // What was made on the way was made inside.
    host.sh("ls /run/victim").prints("f");
}

#[test]
fn cve_2025_31133_a_null_device_that_is_a_link() {
    let host = host();
    host.sh("mkdir /run/dev && ln -s /proc/sys/kernel/core_pattern /run/dev/null").ok();
    run(&host, &["--volume=/run/dev:/dev", "--", "true"])
        .fails(125, "nsrun: cannot hide paths: the container's /dev/null is not the null device\n");
    host.sh("rm -r /run/dev").ok();
}

#[test]
fn cve_2025_52565_a_console_that_is_a_link() {
    let host = host();
    host.sh(
        "mkdir /run/dev && mknod -m 666 /run/dev/null c 1 3 && mkdir /run/dev/pts && touch /run/dev/target \
         && ln -s /dev/target /run/dev/console",
    )
    .ok();
    let output = run(&host, &["-t", "--volume=/run/dev:/dev", "--tmpfs=/tmp", "--", "sh", "-c", "echo in"]);
    assert_eq!((output.code, output.stdout.as_str()), (125, ""), "{output}");
    host.sh("rm -r /run/dev").ok();
    // In the ordinary case it is the terminal itself, by whatever name.
    let script = "stat -c %t,%T -L /dev/console /proc/self/fd/0 | uniq | wc -l; stat -f -c %t /dev/console";
    let output = run(&host, &["-t", "--", "sh", "-c", script]);
    assert_eq!(output.stdout, "1\r\n1cd1\r\n", "{output}");
}

#[test]
fn cve_2025_52881_what_is_written_to_proc_goes_to_proc() {
    let host = host();
    host.sh("mkdir -p /run/fake/net/ipv4 && echo 0 > /run/fake/net/ipv4/ip_forward").ok();
    let show = "mount -t proc p /tmp && cat /tmp/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_forward";
    run(
        &host,
        &[
            "--volume=/run/fake:/proc/sys",
            "--sysctl=net.ipv4.ip_forward=1",
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=systempaths=unconfined",
            "--",
            "sh",
            "-c",
            show,
        ],
    )
    .prints("1\n0");
    host.sh("cat /run/fake/net/ipv4/ip_forward").prints("0");
    host.sh("rm -r /run/fake").ok();
}

#[test]
fn masked_paths_that_are_links_hide_nothing_else() {
    let host = host();
    host.sh("mkdir -p /run/sys && ln -s /etc /run/sys/firmware").ok();
    let output = run(&host, &["--volume=/run/sys:/sys", "--", "ls", "/etc"]).code(125);
    output.says("cannot hide /sys/firmware: openat2: ELOOP");
    host.sh("rm -r /run/sys").ok();
}

#[test]
fn a_proc_and_a_sys_that_are_none() {
    let host = host();
    host.sh("mkdir -p /run/fake/self /run/fake/sys").ok();
    // The image's own are covered; where the caller wants others, nothing of the set-up depends on them.
    host.sh(&format!("mkdir -p {ROOTFS}/proc/self/fd && echo trap > {ROOTFS}/proc/self/exe")).ok();
    sh(&host, "readlink /proc/self/exe").prints("/bin/busybox");
    run(&host, &["--volume=/run/fake:/proc", "--ulimit=nofile=99", "--", "sh", "-c", "ulimit -n"])
        .prints("99");
    host.sh("rm -r /run/fake").ok();
}

#[test]
fn cve_2022_0492_the_release_agent_is_out_of_reach() {
    let host = host();
    for script in [
        "echo /x > /sys/fs/cgroup/memory/release_agent",
        "unshare -Urm sh -c 'mount -t cgroup -o memory c /tmp && echo /x > /tmp/release_agent'",
        "mount -t cgroup -o memory c /tmp",
    ] {
        let output = sh(&host, script);
        assert_ne!(output.code, 0, "{output}");
    }
    // Not even with the capability can the mount that the container has be written to.
    let output = run(
        &host,
        &["--cap-add=SYS_ADMIN", "--", "sh", "-c", "echo /x > /sys/fs/cgroup/memory/release_agent"],
    );
    assert_ne!(output.code, 0, "{output}");
}

#[test]
fn cve_2014_8989_no_group_goes_along_into_a_user_namespace() {
    let host = host();
    host.sh(&format!("chown -R 100000:100000 {ROOTFS} && chmod 711 /run")).ok();
    let words = words(&[
        "--userns=100000:65536",
        "--",
        "sh",
        "-c",
        "grep Groups /proc/self/status; id -u; cat /proc/self/setgroups",
    ]);
    let output = host.run(&[&["setpriv", "--groups=4242,4243"], &words[..]].concat());
    assert_eq!(output.stdout, "Groups:\t0 \n0\nallow\n", "{output}");
}

#[test]
fn cve_2016_9962_who_joins_is_not_traced() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    // All that the container may, it does to whatever it sees: follow links of the joining process out of here.
    let hunt = "n=0; while [ $n -lt 30 ]; do n=$((n+1)); for p in /proc/[0-9]*; do \
        [ \"$(cat $p/comm 2>/dev/null)\" = nsrun ] || continue; \
        [ -e $p/root/run/victim ] && echo root; readlink $p/exe $p/cwd $p/fd/[3-9]; done; done; echo done";
    host.sh("mkdir -p /run/victim").ok();
    let hunter = host.start(&["nsrun", "exec", &sleeper.id, "sh", "-c", hunt]);
    for _ in 0..20 {
        sleeper.exec(&host, &["ID", "true"]).code(0);
    }
    let output = hunter.end();
    assert_eq!(output.stdout, "done\n", "{output}");
    sleeper.end();
}

#[test]
fn exec_into_a_container_that_is_hostile() {
    let host = host();
    let sleeper = Sleeper::start(&host, &["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"]);
    let id = sleeper.id.clone();
    let exec = |words: &str| host.sh(&format!("timeout 20 nsrun exec {words}"));
    exec(&format!("{id} sh -c 'rm /etc/passwd && mkfifo /etc/passwd'")).ok();
    let refused = exec(&format!("-u app {id} id"));
    assert!(refused.code == 125 && refused.stderr.contains("it is not a regular file"), "{refused}");
    // A /proc that is none: nothing of nsrun reads it.
    exec(&format!(
        "-e HOME=/ {id} sh -c 'mount -t tmpfs t /proc && mkdir -p /proc/self/fd /proc/thread-self && rm /etc/passwd'"
    ))
    .ok();
    exec(&format!("-e HOME=/ {id} echo still")).prints("still");
    // A working directory and a program that are links to each other.
    exec(&format!("-e HOME=/ {id} sh -c 'ln -s b /a; ln -s a /b; ln -sf /a /bin/loop'")).ok();
    assert_eq!(exec(&format!("-e HOME=/ -w /a {id} true")).code, 125);
    assert_eq!(exec(&format!("-e HOME=/ {id} /bin/loop")).code, 126);
    sleeper.end();
}

/// Makes a key in the session keyring and goes on; or looks for it.
const KEYS: &str = r#"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
    if (!strcmp(argv[1], "make")) {
        syscall(SYS_keyctl, 1, 0);
        if (syscall(SYS_add_key, "user", "secret", "x", 1, -3) < 0) { perror("add_key"); return 1; }
        execvp(argv[2], argv + 2);
        return 2;
    }
    puts(syscall(SYS_keyctl, 10, -3, "user", "secret", 0) < 0 ? "none" : "found");
    return 0;
}
"#;

#[test]
fn the_hosts_keyring_stays_outside() {
    let host = host();
    std::fs::write(host.path("/run/keys.c"), KEYS).unwrap();
    host.sh(&format!("gcc -static -o {ROOTFS}/bin/keys /run/keys.c")).ok();
    let keys = format!("{ROOTFS}/bin/keys");
    host.run(&[&keys, "make", &keys, "find"]).prints("found");
    let inside = words(&["--security-opt=seccomp=unconfined", "--", "/bin/keys", "find"]);
    host.run(&[&[keys.as_str(), "make"], &inside[..]].concat()).prints("none");
    // docker's filter refuses even to ask.
    run(&host, &["--", "/bin/keys", "find"]).prints("none");
    host.sh("rm /run/keys.c").ok();
}
