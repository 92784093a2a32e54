//! Options that loosen or tighten what a container may do, and docker's filter of system calls.

use super::{ROOTFS, Sleeper, host, run};

const CAPS: &str = "grep CapBnd /proc/self/status | cut -f2";

#[test]
fn capabilities_are_added_and_dropped() {
    let host = host();
    let bounding = |more: &[&str]| run(&host, &[more, &["--", "sh", "-c", CAPS]].concat());
    bounding(&[]).prints("00000000a80425fb");
    bounding(&["--cap-add=SYS_PTRACE", "--cap-drop=chown"]).prints("00000000a80c25fa");
    bounding(&["--cap-drop=ALL", "--cap-add=KILL"]).prints("0000000000000020");
    bounding(&["--cap-add=NIL"]).fails(125, "nsrun: cannot use --cap-add=NIL: there is no such capability\n");
}

#[test]
fn the_default_filter_is_dockers() {
    let host = host();
    let filtered = "grep ^Seccomp: /proc/self/status; unshare -U true 2>&1; mount -t tmpfs t /tmp 2>&1; true";
    run(&host, &["--", "sh", "-c", filtered])
        .prints("Seccomp:\t2\nunshare: unshare(0x10000000): Operation not permitted\nmount: permission denied (are you root?)");
    run(&host, &["--security-opt=seccomp=unconfined", "--", "grep", "^Seccomp:", "/proc/self/status"])
        .prints("Seccomp:\t0");
    // Calls that a capability takes come with it.
    run(&host, &["--cap-add=SYS_ADMIN", "--", "sh", "-c", "mount -t tmpfs t /tmp && echo mounted"])
        .prints("mounted");
    // What docker's authors did not know answers ENOSYS (38), what they refuse EPERM (1).
    std::fs::write(
        host.path("/run/call.c"),
        "#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
         int main(int n, char **v) { while (*++v) { errno = 0; syscall(atol(*v), 0, 0, 0, 0, 0, 0); printf(\"%d \", errno); } }",
    )
    .unwrap();
    host.sh(&format!("gcc -static -o {ROOTFS}/bin/call /run/call.c && rm /run/call.c")).ok();
    // mount_setattr, one of tomorrow, keyctl, getpid.
    run(&host, &["--", "call", "442", "1000", "250", "39"]).prints("1 38 1 0 ");
    let sleeper = Sleeper::start(&host, &[]);
    sleeper.exec(&host, &["ID", "call", "442", "1000", "250", "39"]).prints("1 38 1 0 ");
    sleeper.exec(&host, &["-u", "app", "ID", "call", "442", "1000"]).prints("1 38 ");
    sleeper.end();
}

#[test]
fn a_profile_of_ones_own() {
    let host = host();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":28,"excludes":{"caps":["CAP_SYS_TIME"]}}]}"#;
    std::fs::write(host.path("/run/profile.json"), profile).unwrap();
    let option = "--security-opt=seccomp=/run/profile.json";
    run(&host, &[option, "--", "sh", "-c", "mkdir /x 2>&1 || true"])
        .prints("mkdir: can't create directory '/x': No space left on device");
    run(&host, &[option, "--cap-add=SYS_TIME", "--", "sh", "-c", "mkdir /x && echo made"]).prints("made");
    host.sh("echo '{}' > /run/profile.json").ok();
    run(&host, &[option, "--", "true"])
        .code(125)
        .says("cannot use seccomp profile /run/profile.json: missing field `defaultAction`");
    host.sh("rm /run/profile.json").ok();
}

#[test]
fn no_new_privileges_and_labels() {
    let host = host();
    run(
        &host,
        &["--security-opt=no-new-privileges", "-u", "app", "--", "grep", "NoNewPrivs", "/proc/self/status"],
    )
    .prints("NoNewPrivs:\t1");
    run(&host, &["--security-opt=apparmor=nil", "--", "true"])
        .fails(125, "nsrun: cannot use process.apparmorProfile nil: AppArmor is not enabled on this host\n");
    run(&host, &["--security-opt=nil=1", "--", "true"])
        .code(125)
        .says("cannot use --security-opt=nil=1: not known");
}

#[test]
fn a_privileged_container_is_not_held_back() {
    let host = host();
    let script = "grep ^Seccomp: /proc/self/status; mount -t tmpfs t /tmp && echo mounted; test -w /proc/sys/kernel/panic && echo whole; \
        ls /dev | wc -l | awk '$1 > 20 {print \"devices\"}'; grep ' /sys ' /proc/self/mounts | cut -d' ' -f4 | cut -c1-2";
    run(&host, &["--privileged", "--", "sh", "-c", script])
        .prints("Seccomp:\t0\nmounted\nwhole\ndevices\nrw");
}

#[test]
fn mounts_devices_and_limits() {
    let host = host();
    host.sh("mkdir -p /run/data/below && echo data > /run/data/f && mount -t tmpfs t /run/data/below").ok();
    run(
        &host,
        &[
            "--mount=type=bind,src=/run/data,dst=/d,ro",
            "--",
            "sh",
            "-c",
            "cat /d/f; touch /d/x 2>&1; touch /d/below/x 2>&1; true",
        ],
    )
    .prints("data\ntouch: /d/x: Read-only file system\ntouch: /d/below/x: Read-only file system");
    run(&host, &["--mount=type=bind,src=/nil,dst=/d", "--", "true"])
        .fails(125, "nsrun: cannot use --mount=type=bind,src=/nil,dst=/d: source /nil is not there\n");
    run(
        &host,
        &[
            "--tmpfs=/t:size=1m,mode=700",
            "--shm-size=2m",
            "--",
            "sh",
            "-c",
            "df -m /t /dev/shm | awk 'NR > 1 {print $2}'; ls -ld /t | cut -c1-10",
        ],
    )
    .prints("1\n2\ndrwx------");
    run(
        &host,
        &["--device=/dev/zero:/dev/mine", "--", "sh", "-c", "ls -l /dev/mine | awk '{print $1, $5, $6}'"],
    )
    .prints("crw-rw-rw- 1, 5");
    run(
        &host,
        &[
            "--ulimit=nofile=100:200",
            "--sysctl=kernel.shmmax=7777",
            "--",
            "sh",
            "-c",
            "ulimit -n; ulimit -Hn; cat /proc/sys/kernel/shmmax",
        ],
    )
    .prints("100\n200\n7777");
    run(&host, &["--sysctl=vm.swappiness=1", "--", "true"]).fails(
        125,
        "nsrun: cannot use linux.sysctl: vm.swappiness is not of a namespace, it would be the host's\n",
    );
    host.sh("umount /run/data/below && rm -r /run/data").ok();
}

#[test]
fn a_user_namespace() {
    let host = host();
    host.sh(&format!("chown -R 100000:100000 {ROOTFS} && chmod 700 /run")).ok();
    let host = host.settled();
    let words = [
        "--userns=100000:65536",
        "--",
        "sh",
        "-c",
        "id -u; tail -n +1 /proc/self/uid_map; touch /made; echo x > /dev/null && echo null",
    ];
    run(&host, &words).prints("0\n         0     100000      65536\nnull");
    host.sh(&format!("stat -c %u {ROOTFS}/made")).prints("100000");
    let sleeper = Sleeper::start(&host, &["--userns=100000:65536"]);
    sleeper
        .exec(&host, &["ID", "sh", "-c", "id -u; cat /proc/self/uid_map"])
        .prints("0\n         0     100000      65536");
    sleeper.end();
    host.sh("chmod 755 /run").ok();
}

/// They ask for ambient capabilities that are not inheritable, which no kernel gives.
#[test]
fn what_runc_and_crun_write_as_their_configuration_runs() {
    let host = host();
    for runtime in ["runc", "crun"] {
        if host.run(&["which", runtime]).code != 0 {
            tests::skip!("{runtime} is not installed");
        }
        let change = ".process.terminal = false | .root.path = \"/run/rootfs\" | .linux.cgroupsPath = $path
            | .process.args = [\"sh\", \"-c\", \"hostname; ulimit -n; grep Cap /proc/self/status; touch /x\"]";
        let script = format!(
            "mkdir /run/{runtime} && cd /run/{runtime} && {runtime} spec && jq --arg path {}/box '{change}' config.json > new && mv new config.json",
            host.cgroup_parent()
        );
        host.sh(&script).ok();
        let run = |by: &str| {
            host.run(&[by, "run", "--bundle", &format!("/run/{runtime}"), "box"])
                .code(1)
                .says("Read-only file system")
                .stdout
        };
        let shown = run("nsrun");
        // crun 1.8 refuses hybrid hosts.
        assert_eq!(shown, run("runc"), "{runtime}");
        assert!(shown.contains("CapAmb:\t0000000000000000"), "{shown}");
    }
    host.sh("rm -rf /run/runc").ok();
}
