//! `--print-script`: the script does what the run does, and leaves as little.

use tests::Host;

/// Command lines of `run --rm` whose output is the same each time.
const LINES: [&str; 20] = [
    "busybox echo hello",
    "busybox sh -c 'echo out; echo err >&2; exit 3'",
    "busybox true",
    "busybox false",
    "busybox no-such-command",
    "-e A=b busybox sh -c 'echo $A'",
    "-e 'A=x \"y\" $z' busybox sh -c 'echo \"$A\"'",
    "-w /var/new busybox pwd",
    "-u 12:34 busybox id -u",
    "-h box busybox hostname",
    "-m 32m --pids-limit 10 busybox cat /etc/passwd",
    "--network none busybox ls /sys/class/net",
    "--network host busybox ls /sys/class/net",
    "-v /run/there:/here busybox cat /here/file",
    "-v /run/there:/here:ro busybox sh -c 'echo x > /here/file || echo refused'",
    "--read-only busybox sh -c 'touch /x || echo refused'",
    "--entrypoint /bin/echo busybox entry point",
    "-v box:/etc busybox cat /etc/passwd",
    "--init busybox sh -c 'exit 9'",
    "--rootfs /run/rootfs sh -c 'ls /'",
];

/// Those that have a counterpart with util-linux.
const PLAIN: [&str; 10] = [
    "busybox echo hello 'a b'",
    "busybox sh -c 'echo out; echo err >&2; exit 3'",
    "busybox false",
    "-e 'A=x \"y\" $z' busybox sh -c 'echo \"$A\"'",
    "-w /var/new busybox pwd",
    "-h box busybox hostname",
    "-m 32m --pids-limit 10 busybox cat /etc/passwd",
    "--network none busybox ls /sys/class/net",
    "-v /run/there:/here:ro busybox sh -c 'cat /here/file; echo x 2> /dev/null > /here/file || echo refused'",
    "--entrypoint /bin/echo busybox entry point",
];

fn host() -> Host {
    let host = Host::with_images();
    tests::images::busybox_rootfs(&host.path("/run/rootfs"));
    host.sh("mkdir /run/there; echo file > /run/there/file; gocker-sh volume create box").ok();
    // The volume is filled, and ip has made its directory a mount.
    host.sh(
        "gocker-sh run --rm --network none -v box:/etc busybox true; ip netns add one && ip netns del one",
    )
    .ok();
    host.settled()
}

#[test]
fn the_script_does_what_the_run_does() {
    let host = host();
    for line in LINES {
        let run = host.sh(&format!("gocker-sh run --rm {line}"));
        let script = host.sh(&format!("gocker-sh run --rm --print-script {line} > /run/script && sh /run/script; code=$?; rm /run/script; exit $code"));
        assert_eq!(
            (script.code, &script.stdout, &script.stderr),
            (run.code, &run.stdout, &run.stderr),
            "{line}\n{script}"
        );
        host.assert_clean();
    }
}

#[test]
fn with_util_linux_it_does_so_too() {
    let host = host();
    for line in PLAIN {
        let run = host.sh(&format!("gocker-sh run --rm {line}"));
        let script = host.sh(&format!("gocker-sh run --rm --print-script=util-linux {line} > /run/script && sh /run/script; code=$?; rm /run/script; exit $code"));
        assert_eq!(
            (script.code, &script.stdout, &script.stderr),
            (run.code, &run.stdout, &run.stderr),
            "{line}\n{script}"
        );
        host.assert_clean();
    }
}

#[test]
fn printing_touches_nothing() {
    let host = Host::new();
    // A read-only view of the host, and a user who may do nothing.
    let print = "mount -o remount,ro,bind / 2> /dev/null; mount -o remount,ro /run; mount -o remount,ro /var/lib/gocker; \
                 setpriv --reuid=65534 --clear-groups gocker-sh run --print-script -m 64m absent-image sh -c 'echo $x'";
    let output = host.run(&["unshare", "--mount", "sh", "-c", print]);
    let script = output.clone().ok();
    assert!(script.starts_with("#!/bin/sh\n") && output.stderr.is_empty(), "{output}");
    assert!(
        script.contains("pull absent-image | mount-overlay --volatile --id=\"$id\"")
            || script.contains("pull absent-image | mount-overlay --id=\"$id\""),
        "{script}"
    );
    host.assert_clean();
}

#[test]
fn printed_scripts_have_no_faults() {
    let host = Host::with_images();
    for with in ["tools", "util-linux"] {
        host.sh(&format!("gocker-sh run --print-script={with} -m 64m -v /tmp:/x:ro busybox sh -c 'echo $1' | shellcheck --severity=warning -")).ok();
    }
}
