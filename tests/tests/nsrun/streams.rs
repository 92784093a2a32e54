//! stdin, stdout and stderr without a terminal: the payload's own, byte for byte.

use std::io::{Read, Write};
use std::process::Stdio;

use super::{host, run, sh, words};

#[test]
fn both_outputs_are_passed_exactly_and_apart() {
    let host = host();
    let output = sh(&host, "printf 'a\\0\\r\\n\\377'; printf 'b\\n' >&2");
    assert_eq!((output.stderr.as_str(), output.code), ("b\n", 0), "{output}");
    assert!(output.stdout.starts_with("a\0\r\n"), "{output}");
}

#[test]
fn stdin_is_passed_with_its_end_when_asked_for() {
    let host = host();
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut child = host
        .command(&words(&["-i", "--", "cat"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(got == bytes, "{} of {} bytes came through", got.len(), bytes.len());
}

#[test]
fn stdin_is_empty_when_not_asked_for() {
    let host = host();
    host.feed(&words(&["--", "sh", "-c", "cat; readlink /proc/self/fd/0"]), "not for you")
        .prints("/dev/null");
    // The document's pipe is not the payload's stdin, either.
    host.feed(&["nsrun", "--rootfs", super::ROOTFS, "--", "wc", "-c"], "{\"gocker\":1}\n").prints("0");
}

#[test]
fn a_terminal_is_needed_for_its_input() {
    let host = host();
    host.feed(&words(&["-it", "--", "true"]), "").fails(
        125,
        "nsrun: cannot attach stdin to a TTY-enabled container because stdin is not a terminal\n",
    );
}

#[test]
fn the_hosts_null_device_cannot_be_changed_through_the_streams() {
    let host = host();
    host.run(&[
        "sh",
        "-c",
        &format!(
            "{} > /dev/null 2>&1",
            words(&["--", "sh", "-c", "'chmod 600 /dev/stdin /dev/stdout'"]).join(" ")
        ),
    ])
    .ok();
    host.sh("stat -c %a /dev/null").prints("666");
}

#[test]
fn no_descriptor_of_the_host_is_inherited() {
    let host = host();
    let script = "exec 7</etc/passwd 8>/dev/null 9</; exec \"$@\"";
    let list = ["--", "sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '"];
    // 3 is the directory that ls itself reads.
    host.run(&[&["bash", "-c", script, "sh"], &words(&list)[..]].concat()).prints("0 1 2 3 ");
    let list = ["--init", "--", "sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '"];
    host.run(&[&["bash", "-c", script, "sh"], &words(&list)[..]].concat()).prints("0 1 2 3 ");
    // CVE-2024-21626: a working directory through a descriptor that is still open while it is entered.
    for fd in 3..12 {
        let cwd = format!("/proc/self/fd/{fd}");
        let look = "test \"$(stat -c %d:%i .)\" = \"$(stat -c %d:%i \"$(pwd)\")\" && echo inside";
        let line = words(&["-w", &cwd, "--", "sh", "-c", look]);
        let output = host.run(&[&["bash", "-c", script, "sh"], &line[..]].concat());
        let refused =
            output.code == 125 && output.stderr.starts_with(&format!("nsrun: cannot work in {cwd}: "));
        assert!(refused || output.stdout == "inside\n", "{output}");
    }
}

#[test]
fn signals_are_as_for_a_new_login() {
    let host = host();
    let script = "trap '' HUP INT USR1; exec \"$@\"";
    let look = ["--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    host.run(&[&["sh", "-c", script, "sh"], &words(&look)[..]].concat())
        .prints("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
    run(&host, &["--", "sh", "-c", "umask"]).prints("0022");
}
