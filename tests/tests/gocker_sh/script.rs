//! `--print-script`: the script does what the run does, and leaves as little.

use tests::Host;

/// Command lines of `run --rm` whose output is the same each time.
const LINES: [&str; 25] = [
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
    "wanting sh -c 'cat /data/file; echo x > /data/new; grep -c \" /data \" /proc/mounts; ls -a /fresh'",
    "-v box:/data wanting sh -c 'ls /data; grep -c \" /fresh \" /proc/mounts'",
    "-v /data -v /other wanting sh -c 'cat /data/file; grep -c \" /other \" /proc/mounts'",
    "-u 12:34 -v /other busybox sh -c 'ls -ldn /other | cut -c1-10'",
    "-P wanting sh -c 'ls /sys/class/net'",
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
    // An image that wants volumes, and exposes ports.
    let make = "gocker-sh run --name old --network none busybox sh -c 'mkdir /data; chmod 750 /data; echo data > /data/file' && \
                gocker-sh commit -c 'VOLUME /data /fresh/' -c 'EXPOSE 80 53/udp' old wanting && gocker-sh rm old";
    host.sh(make).ok();
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

#[test]
fn the_script_publishes_what_the_image_exposes() {
    let host = host();
    // What netns has made, told before the command runs.
    let told = r#"s/^nsrun --doc/jq -c '[.network.portMappings[] | "\\(.containerPort)\/\\(.protocol)"] | unique' "$box"; &/"#;
    let script = |options: &str| {
        let print = format!("gocker-sh run --rm --print-script {options} wanting true");
        host.sh(&format!(
            "{print} > /run/script && sed {} -i /run/script && sh /run/script; rm /run/script",
            quoted(told)
        ))
    };
    script("-P").prints("[\"53/udp\",\"80/tcp\"]");
    script("-P -p 8080:80 --expose 90").prints("[\"53/udp\",\"80/tcp\",\"90/tcp\"]");
    host.assert_clean();
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn what_a_script_cannot_do_is_refused_by_name() {
    let host = Host::new();
    let refuses = |words: &[&str], said: &str| {
        host.run(&[&["gocker-sh", "run"], words, &["busybox"]].concat()).code(125).says(said);
    };
    for (option, name) in [
        ("-P", "--publish-all"),
        ("--publish=80", "--publish"),
        ("--privileged", "--privileged"),
        ("--cap-drop=ALL", "--cap-drop"),
        ("--tmpfs=/x", "--tmpfs"),
        ("--init", "--init"),
        ("--user=1", "--user"),
        ("--volume=box:/x", "--volume=NAME"),
        ("--volume=/x", "--volume=/x"),
        ("--network=mine", "--network=NAME"),
    ] {
        let said = format!(
            "cannot print a script with util-linux: it does without {name}; --print-script=tools has it"
        );
        refuses(&["--print-script=util-linux", option], &said);
    }
    refuses(&["--print-script", "--cidfile=/run/cid"], "cannot print a script with --cidfile");
    refuses(&["--print-script", "--mount=type=volume,dst=/x"], "the volume has no name");
}
