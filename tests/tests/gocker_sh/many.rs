//! Many containers at once, copies of directories and of the system, and `--trace`.

use std::collections::BTreeSet;

use tests::Host;

use super::run;

#[test]
fn fifty_at_once_get_fifty_addresses() {
    let host = Host::with_images();
    // Eight at a time start; all fifty live at the same time, until the file goes away.
    let script = "touch /run/stay; mkdir /run/out; seq 50 | xargs -P 8 -I N sh -c '
        gocker-sh run --rm -v /run/stay:/stay -v /run/out:/out busybox sh -c \"
            ip -o -4 addr show eth0 | awk \\\"{print \\\\\\$4}\\\" > /out/N.new; mv /out/N.new /out/N
            while [ -s /stay ] || [ ! -e /out/go ]; do sleep 0.05; done\" > /run/out/N.log 2>&1 &
        while [ ! -e /run/out/N ] && ! grep -q . /run/out/N.log; do sleep 0.01; done'
        cat /run/out/[0-9] /run/out/[0-9][0-9] /run/out/*.log; touch /run/out/go; wait";
    let output = host.sh(script);
    let addresses: BTreeSet<&str> = output.stdout.lines().collect();
    assert_eq!(addresses.len(), 50, "{output}");
    assert!(
        addresses.iter().all(|address| address.starts_with("172.29.") && address.ends_with("/16")),
        "{output}"
    );
    // xargs' children have gone, their containers end by themselves.
    host.sh("while [ -n \"$(gocker-sh ps -aq)\" ]; do sleep 0.05; done; rm -r /run/out /run/stay").ok();
}

#[test]
fn a_directory_is_copied_not_changed() {
    let host = Host::with_images();
    let rootfs = "/run/rootfs";
    tests::images::busybox_rootfs(&host.path(rootfs));
    run(&host, &["--rootfs", rootfs, "sh", "-c", "rm /etc/passwd; touch /new; ls /new"]).prints("/new");
    host.sh("ls /run/rootfs/etc/passwd; ls /run/rootfs/new 2> /dev/null").code(2);
    host.run(&["gocker-sh", "run", "--name", "dir", "--rootfs", rootfs, "touch", "/kept"]).ok();
    host.sh("ls /var/lib/gocker/mount-overlay/*/upper | grep kept").prints("kept");
    host.run(&["gocker-sh", "rm", "dir"]).prints("dir");
}

#[test]
fn the_running_system_is_copied_into_memory() {
    let host = Host::new();
    host.sh("mkdir -p /tmp/gocker-test-copy && echo original > /tmp/gocker-test-copy/file").ok();
    // /tmp may be a mount of its own, which is no part of the copy: /etc is part of the root.
    let script = "rm -rf /etc/apt /usr/share/doc && ! ls /etc/apt 2> /dev/null && echo gone";
    run(&host, &["--rootfs", "/", "sh", "-c", script]).prints("gone");
    assert!(std::path::Path::new("/etc/apt").exists());
    host.sh("rm -r /tmp/gocker-test-copy").ok();
    host.assert_clean();
}

#[test]
fn a_trace_shows_every_stage() {
    let host = Host::with_images();
    let output = host.run(&["gocker-sh", "--trace", "run", "--rm", "--mem=64", "busybox", "true"]);
    for part in [
        "| netns --id=",
        "| pull busybox\n",
        "\"image\":{\"reference\":\"docker.io/library/busybox:latest\"",
        "| mount-overlay --volatile --id=",
        "\"rootfs\":{",
        "| cgctl --memory=64M --default-devices --id=",
        "\"cgroup\":{",
        "| nsrun --die-with-parent --doc=/dev/fd/",
        "| cgctl undo ",
        "| mount-overlay undo ",
        "| netns undo ",
        "  in all\n",
    ] {
        assert!(output.stderr.contains(part), "no {part:?}\n{output}");
    }
    assert_eq!((output.code, output.stdout.as_str()), (0, ""));
}

#[test]
fn verbose_shows_each_effect_as_a_command() {
    let host = Host::with_images();
    let output = host.run(&["gocker-sh", "--verbose", "run", "--rm", "busybox", "true"]).code(0);
    assert!(output.stderr.lines().filter(|line| line.starts_with("+ ")).count() > 5, "{output}");
}
