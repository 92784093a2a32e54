//! What the image and the options say of the command: words, environment, user, directory, exit codes.

use serde_json::{Value, json};
use tests::Host;

use super::{ROOTFS, host, run, sh};

/// Runs on a document whose image has this `config`.
fn with_config(host: &Host, config: &Value, more: &[&str]) -> tests::Output {
    let document = json!({"gocker": 1, "image": {"spec": {"architecture": "amd64", "os": "linux", "config": config}},
        "rootfs": {"path": ROOTFS, "mount": {}}, "unknown": {"kept": true}});
    host.feed(&[&["nsrun"], more].concat(), &document.to_string())
}

#[test]
fn entrypoint_and_command() {
    let host = host();
    let config = json!({"Entrypoint": ["echo", "entry"], "Cmd": ["command"]});
    for (more, printed) in [
        (&[][..], "entry command"),
        (&["--", "typed"], "entry typed"),
        (&["--entrypoint", "basename", "--", "/a/b"], "b"),
        (&["--entrypoint", "", "--", "echo", "only"], "only"),
    ] {
        with_config(&host, &config, more).prints(printed);
    }
    with_config(&host, &json!({}), &[]).fails(125, "nsrun: no command specified\n");
    run(&host, &[]).fails(125, "nsrun: no command specified\n");
}

#[test]
fn environment_directory_and_user_of_the_image() {
    let host = host();
    let config = json!({"Env": ["A=image", "B=image", "PATH=/bin"], "WorkingDir": "/srv/app", "User": "app", "Cmd": ["sh", "-c",
        "pwd; id -u; id -g; id -G; echo $A $B $PATH $HOME"]});
    with_config(&host, &config, &["-e", "B=typed"])
        .prints("/srv/app\n1000\n1000\n1000 2000\nimage typed /bin /home/app");
    with_config(&host, &config, &["-u", "0", "-w", "/tmp"]).prints("/tmp\n0\n0\n0\nimage image /bin /root");
}

#[test]
fn users() {
    let host = host();
    for (user, printed) in [
        ("app", "1000 1000 1000 2000 /home/app"),
        ("1000", "1000 1000 1000 2000 /home/app"),
        ("app:extra", "1000 2000 2000 /home/app"),
        ("4321", "4321 0 0 /"),
        ("4321:77", "4321 77 77 /"),
        ("nobody", "65534 65534 65534 /"),
    ] {
        run(&host, &["-u", user, "--", "sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"]).prints(printed);
    }
    run(&host, &["-u", "nil", "--", "true"]).fails(
        125,
        "nsrun: cannot use user nil: no such name in the container's /etc/passwd\n  hint: a number needs no entry there\n",
    );
}

#[test]
fn environment_files_and_the_callers_variables() {
    let host = host();
    std::fs::write(host.path("/run/env"), "# no\nA=\"quoted\"\n  B=2\nHOME\n").unwrap();
    let script = "env | sort | grep -v -e ^SHLVL -e ^PWD -e ^HOSTNAME";
    let mut words =
        super::words(&["--env-file", "/run/env", "-e", "B=3", "-e", "NIL", "--", "sh", "-c", script]);
    words.splice(0..0, ["env", "HOME=/callers", "NOT=passed"]);
    host.run(&words).prints(
        "A=\"quoted\"\nB=3\nHOME=/callers\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    std::fs::write(host.path("/run/env"), "A B=1\n").unwrap();
    run(&host, &["--env-file", "/run/env", "--", "true"])
        .fails(125, "nsrun: cannot read /run/env: line 1: variable 'A B' contains whitespaces\n");
}

#[test]
fn exit_codes() {
    let host = host();
    let etc = host.path(&format!("{ROOTFS}/etc"));
    for (name, text, mode) in
        [("plain", "x", 0o644), ("noexec", "neither", 0o755), ("lost", "#!/no/such -x\n", 0o755)]
    {
        std::fs::write(etc.join(name), text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(etc.join(name), mode).unwrap();
    }
    for (word, code, said) in [
        ("nil", 127, "nsrun: exec: \"nil\": executable file not found in $PATH\n"),
        ("/nil", 127, "nsrun: cannot execute /nil: execve: ENOENT: No such file or directory\n"),
        (
            "/etc",
            126,
            "nsrun: cannot execute /etc: execve: EACCES: Permission denied\n  hint: it is a directory\n",
        ),
        (
            "/etc/plain",
            126,
            "nsrun: cannot execute /etc/plain: execve: EACCES: Permission denied\n  hint: is it executable for user 0?\n",
        ),
        (
            "/etc/noexec",
            126,
            "nsrun: cannot execute /etc/noexec: execve: ENOEXEC: Exec format error\n  hint: it is neither a program for this \
             machine nor a script with a #! line\n",
        ),
        (
            "/etc/lost",
            127,
            "nsrun: cannot execute /etc/lost: execve: ENOENT: No such file or directory\n  hint: its interpreter /no/such \
             is not in the container\n",
        ),
    ] {
        run(&host, &["--", word]).fails(code, said);
    }
    sh(&host, "exit 0").code(0);
    sh(&host, "exit 42").code(42);
    sh(&host, "sh -c 'kill -9 $$'; exit $?").code(137);
    // PID 1 is killed by what comes from outside only: here, by its own fault.
    run(&host, &["--init", "--", "sh", "-c", "kill -TERM $$"]).code(143);
    // A missing mount source is no missing command.
    run(&host, &["--rootfs", "/nil", "--", "true"]).code(125);
}

#[test]
fn wrong_documents() {
    let host = host();
    let feed = |text: &str, more: &[&str]| host.feed(&[&["nsrun"], more].concat(), text);
    feed("", &["--", "true"])
        .fails(125, "nsrun: no document on stdin: the stage before this one has said why\n");
    feed("{\"gocker\":2}", &["--", "true"])
        .fails(125, "nsrun: cannot read the document: version 2 of the document is not supported, only 1\n");
    feed("{", &["--", "true"]).code(125).says("nsrun: cannot read the document: EOF");
    feed("{\"gocker\":1}", &["--", "true"]).fails(
        125,
        "nsrun: cannot read the document: section \"rootfs\" is missing\n  hint: mount-overlay writes it; or name a \
         directory: --rootfs=DIR\n",
    );
    feed("{\"gocker\":1,\"process\":{}}", &["--rootfs", ROOTFS, "--", "true"])
        .fails(125, "nsrun: cannot add to the document: section \"process\" is already there\n");
    feed("{\"gocker\":1,\"rootfs\":{\"path\":\"/x\"}}", &["--rootfs", ROOTFS, "--", "true"])
        .fails(125, "nsrun: cannot use --rootfs: the document has a section \"rootfs\"\n");
    feed("{\"gocker\":1,\"network\":{}}", &["--rootfs", ROOTFS, "--network=none", "--", "true"])
        .fails(125, "nsrun: cannot use --network=none: the document has a section \"network\"\n");
    host.run(&["nsrun", "--doc=/dev/null", "--rootfs", "/run/..", "--", "true"]).fails(
        125,
        "nsrun: cannot use root file system /run/..: it is the host's own\n  hint: a copy of it can be used: mount-overlay --lower / \
         --tmpfs | nsrun -- COMMAND\n",
    );
    host.run(&["nsrun", "--doc=/dev/null", "--rootfs", "/nil", "--", "true"])
        .fails(125, "nsrun: cannot use root file system /nil: open: ENOENT: No such file or directory\n");
    host.run(&["setpriv", "--reuid=1000", "--clear-groups", "nsrun", "--rootfs", ROOTFS, "--", "true"])
        .fails(125, "nsrun: cannot change the host: not root\n  hint: run it as root, or with sudo\n");
}
