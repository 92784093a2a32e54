//! What the container is and sees, beside what crun makes of the same configuration, and docker's documented defaults.

use std::collections::BTreeSet;

use tests::Host;

use super::{ROOTFS, host, run, sh};

/// The same command by crun, on the bundle that `nsrun spec` writes. crun 1.8 does not start on a hybrid host unless the
/// unified hierarchy is out of sight.
fn by_crun(host: &Host, options: &[&str], script: &str) -> String {
    let words =
        [&["nsrun", "spec", "--doc=/dev/null", "--rootfs", ROOTFS, "--bundle", "/run/bundle"], options]
            .concat();
    host.run(&[&words[..], &["--", "sh", "-c", script]].concat()).ok();
    let prepare =
        "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --root /run/crun run -b /run/bundle test";
    host.run(&["unshare", "--mount", "--propagation", "slave", "sh", "-c", prepare]).ok()
}

#[test]
fn the_same_as_crun_makes_of_the_same_configuration() {
    let host = host();
    for (options, script) in [
        (&[][..], "grep -E '^(Cap|Uid|Gid|Groups|NoNewPrivs|SigBlk)' /proc/self/status"),
        (&["-u", "app"], "grep -E '^(Cap|Uid|Gid|Groups|NoNewPrivs|SigBlk)' /proc/self/status"),
        (&[], "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf"),
        (&["-w", "/made/now", "-e", "A=1"], "pwd; env | sort"),
        (
            &[],
            "cd /dev; ls -lR | grep -v -e ' [.]' -e ^total | awk '{print $1, $5, $6, $NF}' | sed 's/:[0-9]*//g'",
        ),
        (&[], "cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start"),
        (&[], "cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -v net_"),
        (
            &[],
            "echo $$; ls /proc | grep -c '^[0-9]'; cut -d' ' -f1-5 /proc/mounts | wc -l >/dev/null; umask; ulimit -a",
        ),
        (
            &[],
            "for f in /proc/kcore /proc/keys /proc/interrupts /proc/timer_list; do wc -c < $f; done; ls /proc/acpi /sys/firmware",
        ),
        (&[], "for d in bus fs irq sys; do touch /proc/$d/x 2>&1; done; ip -o link | wc -l"),
        (&["--read-only"], "touch /x 2>&1; touch /tmp/x 2>&1; touch /dev/shm/x && echo ok"),
    ] {
        let options = [&["--hostname", "same"], options].concat();
        let ours = run(&host, &[&options[..], &["--", "sh", "-c", script]].concat()).ok();
        assert_eq!(ours, by_crun(&host, &options, script), "{script}");
        host.sh("rm -rf /run/bundle /run/crun").ok();
    }
}

/// Mount point, type and the options of the mount itself.
fn mounts(mountinfo: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = line.split_once(" - ").unwrap().1.split(' ').next().unwrap();
        format!("{} {kind} {}", fields[4], fields[5])
    };
    mountinfo.lines().map(line).collect()
}

#[test]
fn mounts_are_dockers() {
    let host = host();
    let all = mounts(&sh(&host, "cat /proc/self/mountinfo").ok());
    for wanted in [
        "/proc proc rw,nosuid,nodev,noexec,relatime",
        "/dev tmpfs rw,nosuid",
        "/dev/pts devpts rw,nosuid,noexec,relatime",
        "/sys sysfs ro,nosuid,nodev,noexec,relatime",
        "/sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,relatime",
        "/sys/fs/cgroup/memory cgroup ro,nosuid,nodev,noexec,relatime",
        "/dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime",
        "/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime",
        "/proc/sys proc ro,nosuid,nodev,noexec,relatime",
        "/proc/bus proc ro,nosuid,nodev,noexec,relatime",
    ] {
        assert!(all.contains(wanted), "{wanted}: {all:#?}");
    }
    // The same mount points as crun's.
    let points = |mounts: BTreeSet<String>| -> BTreeSet<String> {
        mounts.iter().map(|mount| mount.split(' ').next().unwrap().to_owned()).collect()
    };
    let crun = mounts(&by_crun(&host, &[], "cat /proc/self/mountinfo"));
    assert_eq!(points(all), points(crun));
    host.sh("rm -rf /run/bundle /run/crun").ok();
}

#[test]
fn every_namespace_is_new_and_the_network_empty() {
    let host = host();
    let look = "for n in mnt pid uts ipc net cgroup user time; do readlink /proc/self/ns/$n; done";
    let ours = host.sh(look).ok();
    let theirs = sh(&host, look).ok();
    for (outside, inside) in ours.lines().zip(theirs.lines()) {
        let shared = outside.starts_with("user") || outside.starts_with("time");
        assert_eq!(outside == inside, shared, "{outside} {inside}");
    }
    sh(&host, "ip -o addr | awk '{print $2, $4}'; echo $$").prints("lo 127.0.0.1/8\nlo ::1/128\n1");
}

#[test]
fn the_host_sees_nothing_of_the_mounts() {
    let host = host();
    let count = || host.sh("wc -l < /proc/1/mountinfo").ok();
    let before = count();
    let sleeper = super::Sleeper::start(&host, &[]);
    assert_eq!(count(), before);
    // What the host mounts below a shared tree later arrives in slaves only; the old root is gone altogether.
    let output = sleeper.exec(&host, &["ID", "sh", "-c", "grep -c rootfs /proc/self/mountinfo; ls /"]);
    assert!(!output.stdout.contains("oldroot"), "{output}");
    sleeper.end();
}

#[test]
fn the_command_is_inside_its_cgroup_from_the_first_instruction() {
    let host = host();
    let parent = host.cgroup_parent();
    let id = tests::new_id();
    let make = format!(
        "for c in pids memory cpu; do mkdir -p /sys/fs/cgroup/$c{parent}/{id}; done; echo 1 > /sys/fs/cgroup/pids{parent}/{id}/pids.max"
    );
    host.sh(&make).ok();
    let paths = ["pids", "memory", "cpu"]
        .map(|name| format!("\"{name}\":\"/sys/fs/cgroup/{name}{parent}/{id}\""))
        .join(",");
    let document = format!(
        "{{\"gocker\":1,\"rootfs\":{{\"path\":\"{ROOTFS}\"}},\"cgroup\":{{\"version\":1,\"cgroupsPath\":\"{parent}/{id}\",\"paths\":{{{paths}}},\"resources\":{{}}}}}}"
    );
    // One process may be there, and that is the command: it cannot fork.
    host.feed(&["nsrun", "--", "true"], &document).code(0);
    let output = host.feed(&["nsrun", "--", "sh", "-c", "true | true; echo no"], &document);
    assert!(output.stderr.contains("fork"), "{output}");
    host.feed(&["nsrun", "--", "cat", "/proc/self/cgroup"], &document).ok().lines().for_each(|line| {
        // Its own cgroup is the root of what it sees.
        assert!(line.ends_with(":/") || !line.contains(&id), "{line}");
    });
    host.feed(&["nsrun", "--", "cat", "/sys/fs/cgroup/pids/pids.max"], &document).prints("1");
    host.sh(&format!("rmdir /sys/fs/cgroup/*{parent}/{id}")).ok();
}

#[test]
fn on_cgroup_v2_the_kernel_starts_it_there() {
    let host = host();
    let unified = "/sys/fs/cgroup/unified";
    if host.sh(&format!("test -f {unified}/cgroup.procs")).code != 0 {
        tests::skip!("no cgroup2 mount");
    }
    let path = format!("{unified}{}/v2", host.cgroup_parent());
    host.sh(&format!("mkdir -p {path}")).ok();
    let document = format!(
        "{{\"gocker\":1,\"rootfs\":{{\"path\":\"{ROOTFS}\"}},\"cgroup\":{{\"version\":2,\"cgroupsPath\":\"/v2\",\"paths\":{{\"\":\"{path}\"}},\"resources\":{{}}}}}}"
    );
    std::fs::write(host.path("/run/doc"), document).unwrap();
    let id = tests::new_id();
    let mut running =
        host.start(&["nsrun", "-i", "--doc=/run/doc", "--id", &id, "--", "sh", "-c", "echo ready; exec cat"]);
    running.wait_for_line("ready");
    host.sh(&format!("wc -l < {path}/cgroup.procs")).prints("1");
    let script = "grep ^0: /proc/self/cgroup";
    host.run(&["nsrun", "exec", &id, "sh", "-c", script]).prints("0::/");
    // What exec ran has left nothing.
    host.run(&["sh", "-c", &format!("nsrun exec {id} true; wc -l < {path}/cgroup.procs")]).prints("1");
    assert_eq!(running.end().code, 0);
    host.sh(&format!("rmdir {path}; rm /run/doc")).ok();
}

#[test]
fn on_a_host_with_cgroup_v2_alone() {
    let host = host();
    if host.sh("umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup").code != 0 {
        tests::skip!("no cgroup2");
    }
    let host = host.settled();
    let look = "grep cgroup /proc/self/mountinfo | cut -d' ' -f4-6; test -f /sys/fs/cgroup/cgroup.procs && echo group";
    sh(&host, look).prints("/ /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime\ngroup");
    let path = format!("/sys/fs/cgroup{}/deep", host.cgroup_parent());
    host.sh(&format!("mkdir -p {path}")).ok();
    let document = format!(
        "{{\"gocker\":1,\"rootfs\":{{\"path\":\"{ROOTFS}\"}},\"cgroup\":{{\"version\":2,\"cgroupsPath\":\"/deep\",\"paths\":{{\"\":\"{path}\"}},\"resources\":{{}}}}}}"
    );
    // It sees its own directory as the root, with itself in it.
    let look = "cat /proc/self/cgroup; grep -c . /sys/fs/cgroup/cgroup.procs; ls -d /sys/fs/cgroup/deep 2>&1";
    let output = host.feed(&["nsrun", "--", "sh", "-c", look], &document).code(1);
    assert_eq!(output.stdout.lines().find(|line| line.starts_with("0:")), Some("0::/"), "{output}");
    assert!(output.stdout.contains("\n2\n"), "{output}");
    host.sh(&format!("rmdir {path}")).ok();
}

#[test]
fn what_the_hosts_container_may_not_do() {
    let host = host();
    for script in [
        "mount -t tmpfs t /tmp",
        "hostname x",
        "ip link add d type bridge",
        "echo 1 > /proc/sys/kernel/panic",
        "mknod /d b 254 0 && cat /d",
        "chroot /proc/1/root/../../.. test -d /run/rootfs",
        "echo x > /sys/fs/cgroup/memory/release_agent",
    ] {
        let output = sh(&host, script);
        if script.starts_with("mknod") {
            // Making it is allowed (CAP_MKNOD), as with docker; the device rules are cgctl's.
            continue;
        }
        assert_ne!(output.code, 0, "{output}");
    }
}
