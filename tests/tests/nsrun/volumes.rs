//! `--volume`: what is bound, how, and what happens to what is not there.

use super::{ROOTFS, host, run};

#[test]
fn a_directory_and_a_file_are_bound_and_may_be_written() {
    let host = host();
    host.sh("mkdir /run/data && echo file > /run/data/f").ok();
    run(&host, &["--volume=/run/data:/deep/er", "--", "sh", "-c", "cat /deep/er/f; echo new > /deep/er/n"])
        .prints("file");
    host.sh("cat /run/data/n").prints("new");
    run(&host, &["--volume=/run/data/f:/etc/one", "--", "cat", "/etc/one"]).prints("file");
    // Relative to where nsrun is called.
    host.sh(&format!("cd /run && nsrun --doc=/dev/null --rootfs {ROOTFS} --volume=./data:/d -- cat /d/f"))
        .prints("file");
    host.sh("rm -r /run/data").ok();
}

#[test]
fn read_only_holds_for_mounts_below_as_well() {
    let host = host();
    host.sh("mkdir -p /run/data/below && mount -t tmpfs t /run/data/below").ok();
    let script = "touch /d/x 2>&1; touch /d/below/x 2>&1; true";
    let refused = "touch: /d/x: Read-only file system\ntouch: /d/below/x: Read-only file system";
    let words = super::words(&["--volume=/run/data:/d:ro", "--", "sh", "-c", script]);
    host.run(&words).prints(refused);
    // A kernel without mount_setattr.
    let old = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=mount_setattr:error=ENOSYS"];
    host.run(&[&old[..], &words].concat()).prints(refused);
    host.sh("umount /run/data/below && rm -r /run/data").ok();
}

#[test]
fn an_old_kernel_does_as_well() {
    let host = host();
    for call in ["mount_setattr", "openat2"] {
        let inject = format!("inject={call}:error=ENOSYS");
        let old = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject.as_str()];
        let script =
            "touch /x 2>&1; { echo 1 > /proc/sys/kernel/panic; } 2>&1; grep -c . /proc/keys; ls -d /dev/null";
        host.run(&[&old[..], &super::words(&["--read-only", "--", "sh", "-c", script])].concat())
            .prints("touch: /x: Read-only file system\nsh: can't create /proc/sys/kernel/panic: Read-only file system\n0\n/dev/null");
    }
}

#[test]
fn a_missing_source_is_made_and_that_is_said() {
    let host = host();
    let output = run(&host, &["--volume=/run/new/dir:/d", "--", "ls", "-d", "/d"]);
    assert_eq!((output.stdout.as_str(), output.code), ("/d\n", 0), "{output}");
    assert_eq!(output.stderr, "nsrun: made directory /run/new/dir, which was missing\n");
    host.sh("rmdir /run/new/dir /run/new").ok();
}

#[test]
fn a_volume_replaces_a_default_mount() {
    let host = host();
    host.sh("mkdir /run/data && echo mine > /run/data/hosts").ok();
    run(
        &host,
        &[
            "--volume=/run/data/hosts:/etc/hosts",
            "--volume=/run/data:/dev/shm",
            "--",
            "cat",
            "/etc/hosts",
            "/dev/shm/hosts",
        ],
    )
    .prints("mine\nmine");
    host.sh("rm -r /run/data").ok();
}

#[test]
fn propagation_is_private_unless_asked_for() {
    let host = host();
    host.sh(
        "mkdir /run/data && mount -t tmpfs t /run/data && mount --make-shared /run/data && mkdir /run/data/m",
    )
    .ok();
    let field = |options: &str| {
        let volume = format!("--volume=/run/data:/d{options}");
        let script = "grep ' /d ' /proc/self/mountinfo | grep -o -E 'shared|master' | tr '\\n' ' '";
        run(&host, &[&volume, "--", "sh", "-c", script]).ok()
    };
    assert_eq!(field(""), "");
    assert_eq!(field(":rslave"), "master ");
    assert_eq!(field(":rshared"), "shared ");
    host.sh("umount /run/data && rmdir /run/data").ok();
}

#[test]
fn what_is_refused() {
    let host = host();
    for (volume, said) in [
        ("/a", "nsrun: cannot bind /a: it is not SRC:DST[:OPTS]\n"),
        ("/a:/b:rx", "nsrun: cannot bind /a:/b:rx: unknown option rx\n"),
        ("/a:/", "nsrun: cannot bind /a:/: DST must be an absolute path other than /\n"),
    ] {
        let option = format!("--volume={volume}");
        run(&host, &[&option, "--", "true"]).fails(125, said);
    }
    host.sh("test ! -e /a").ok();
}
