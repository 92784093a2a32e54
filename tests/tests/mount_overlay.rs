//! mount-overlay alone: documents written by hand, what it mounts looked at with findmnt(8) and the shell.

use serde_json::{Value, json};
use tests::{Host, inject, new_id, schema};

const TOOL: &str = "mount-overlay";
/// The system calls with which it changes the host.
const CALLS: [&str; 9] =
    ["mkdir", "chmod", "chown", "mount", "fsopen", "fsconfig", "fsmount", "move_mount", "write"];

/// Three layers below /run/l: each has its name in the file `name`, and a file of its own.
fn host() -> Host {
    let host = Host::new();
    host.sh("for n in a b c; do mkdir -p /run/l/$n; echo $n > /run/l/$n/name; touch /run/l/$n/only-$n; done
         chmod 1750 /run/l/c; chown 7:8 /run/l/c")
        .ok();
    host
}

/// A document as pull writes it, as far as it matters here.
fn document(layers: &[&str]) -> String {
    let layers: Vec<Value> = layers.iter().map(|path| json!({"path": path})).collect();
    json!({"gocker": 1, "image": {"layers": layers}}).to_string()
}

fn mount(host: &Host, arguments: &[&str], stdin: &str) -> Value {
    host.feed(&[&[TOOL], arguments].concat(), stdin).json()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value}"))
}

/// What findmnt(8) says about a mount point; empty for none.
fn findmnt(host: &Host, path: &str) -> Value {
    let output = host.run(&["findmnt", "-J", "-o", "TARGET,SOURCE,FSTYPE,OPTIONS", "--mountpoint", path]);
    if output.code == 0 { output.json()["filesystems"][0].clone() } else { Value::Null }
}

fn undo(host: &Host, document: &Value) {
    host.run(&[TOOL, "undo", text(document, "/id")]).ok();
}

#[test]
fn one_layer_becomes_a_writable_root_and_stays_as_it_is() {
    let host = host();
    let document = mount(&host, &[], &document(&["/run/l/a"]));
    let path = text(&document, "/rootfs/path");
    host.sh(&format!("cat {path}/name; echo new > {path}/name; cat {path}/name /run/l/a/name"))
        .prints("a\nnew\na");
    let mounted = findmnt(&host, path);
    assert_eq!((text(&mounted, "/fstype"), text(&mounted, "/source")), ("overlay", "overlay"));
    for option in ["rw", "nodev", "lowerdir+=/run/l/a", "redirect_dir=nofollow"] {
        assert!(text(&mounted, "/options").split(',').any(|one| one == option), "{mounted}");
    }
    undo(&host, &document);
    assert_eq!(findmnt(&host, path), Value::Null);
    host.assert_clean();
}

#[test]
fn the_last_layer_of_the_image_is_the_topmost() {
    let host = host();
    let document = mount(&host, &[], &document(&["/run/l/a", "/run/l/b", "/run/l/c"]));
    let path = text(&document, "/rootfs/path");
    host.sh(&format!("cat {path}/name; ls {path}")).prints("c\nname\nonly-a\nonly-b\nonly-c");
    undo(&host, &document);
}

#[test]
fn the_root_looks_as_the_topmost_layers_does() {
    let host = host();
    let document = mount(&host, &[], &document(&["/run/l/a", "/run/l/c"]));
    host.run(&["stat", "-c", "%a %u:%g", text(&document, "/rootfs/path")]).prints("1750 7:8");
    // What lies above is for root alone (CVE-2021-41091).
    for above in ["/run/gocker/mount-overlay", "/var/lib/gocker/mount-overlay"] {
        let id = text(&document, "/id");
        host.run(&["stat", "-c", "%a", above, &format!("{above}/{id}")]).prints("700\n700");
    }
    undo(&host, &document);
}

#[test]
fn five_hundred_layers_are_stacked_in_order() {
    let host = Host::new();
    host.sh("i=1000; while [ $i -lt 1500 ]; do d=/run/layers-of-an-image/$i; mkdir -p $d; echo $i > $d/name
             touch $d/only-$i; i=$((i+1)); done")
        .ok();
    let layers: Vec<String> = (1000..1500).map(|n| format!("/run/layers-of-an-image/{n}")).collect();
    let stdin = document(&layers.iter().map(String::as_str).collect::<Vec<_>>());
    let check = |document: &Value| {
        let path = text(document, "/rootfs/path");
        host.sh(&format!("cat {path}/name; ls {path} | wc -l; rm {path}/name; ls {path} | wc -l"))
            .prints("1499\n501\n500");
        undo(&host, document);
    };
    let made = mount(&host, &[], &stdin);
    let options = made["rootfs"]["mount"]["options"].as_array().unwrap();
    let lowers: Vec<&str> =
        options.iter().filter_map(|one| one.as_str().unwrap().strip_prefix("lowerdir+=")).collect();
    assert_eq!(lowers, layers.iter().rev().map(String::as_str).collect::<Vec<_>>());
    check(&made);
    // The same on a kernel without the new mount API, and on one that cannot add layers one by one.
    for fault in ["fsopen:error=ENOSYS", "fsconfig:error=EINVAL"] {
        let inject = format!("inject={fault}");
        let output = host.feed(&["strace", "-o", "/dev/null", "-e", &inject, TOOL], &stdin);
        check(&output.json());
    }
    host.assert_clean();
}

#[test]
fn more_layers_than_the_kernel_stacks_are_refused_in_its_own_words() {
    let host = Host::new();
    host.sh("i=1000; while [ $i -lt 1501 ]; do mkdir -p /run/l/$i; i=$((i+1)); done").ok();
    let layers: Vec<String> = (1000..1501).map(|n| format!("/run/l/{n}")).collect();
    let stdin = document(&layers.iter().map(String::as_str).collect::<Vec<_>>());
    let id = new_id();
    host.feed(&[TOOL, "--id", &id], &stdin).fails(
        1,
        &format!(
            "mount-overlay: cannot mount /run/gocker/mount-overlay/{id}/rootfs: fsconfig lowerdir+=/run/l/1000: \
             Invalid argument (os error 22)\n  kernel: overlay: too many lower directories, limit is 500\n"
        ),
    );
    host.assert_clean();
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let host = host();
    host.sh("mkdir /run/l/a/dir; touch /run/l/a/dir/below; mkdir /run/l/b/dir; touch /run/l/b/dir/above
         mknod /run/l/b/only-a c 0 0
         python3 -c 'import os; os.setxattr(\"/run/l/b/dir\", \"trusted.overlay.opaque\", b\"y\")'")
        .ok();
    let document = mount(&host, &[], &document(&["/run/l/a", "/run/l/b"]));
    host.sh(&format!("cd {}; ls; ls dir", text(&document, "/rootfs/path")))
        .prints("dir\nname\nonly-b\nabove");
    undo(&host, &document);
}

#[test]
fn plain_directories_need_no_document() {
    let host = host();
    // Relative to where it is typed; the second is on top.
    let output = host.sh("cd /run/l && mount-overlay --lower a --lower b");
    let document = output.json();
    host.sh(&format!("cat {}/name", text(&document, "/rootfs/path"))).prints("b");
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["gocker", "id", "rootfs"]);
    undo(&host, &document);
}

#[test]
fn names_with_special_characters_and_long_ones_work() {
    let host = Host::new();
    let long = "x".repeat(200);
    let lowers = [
        "/run/l/a:b".to_owned(),
        "/run/l/c,d".to_owned(),
        "/run/l/e\\f g".to_owned(),
        format!("/run/l/{long}/{long}"),
    ];
    for lower in &lowers {
        host.run(&["mkdir", "-p", lower]).ok();
        host.run(&["touch", &format!("{lower}/{}", lower.len())]).ok();
    }
    let arguments: Vec<String> = lowers.iter().map(|lower| format!("--lower={lower}")).collect();
    for fault in [&[][..], &["strace", "-o", "/dev/null", "-e", "inject=fsopen:error=ENOSYS"][..]] {
        let mut words = fault.to_vec();
        words.extend([TOOL, "--root=/run/r:o,o\\t"]);
        words.extend(arguments.iter().map(String::as_str));
        let document = host.run(&words).json();
        host.sh(&format!("ls {} | wc -l", text(&document, "/rootfs/path"))).prints("3");
        host.run(&[TOOL, "--root=/run/r:o,o\\t", "undo", text(&document, "/id")]).ok();
    }
}

#[test]
fn the_running_system_is_copied_with_its_changes_in_memory() {
    let host = Host::new();
    let document = host.run(&[TOOL, "--lower=/", "--tmpfs=3m"]).json();
    let path = text(&document, "/rootfs/path");
    host.sh(&format!("chroot {path} sh -c 'echo changed > /etc/hostname; cat /etc/hostname'"))
        .prints("changed");
    assert_ne!(host.sh("cat /etc/hostname").stdout, "changed\n");
    let upper = text(&document, "/rootfs/upper");
    host.run(&["cat", &format!("{upper}/etc/hostname")]).prints("changed");
    host.sh(&format!("dd if=/dev/zero of={path}/root/big bs=1M count=4"))
        .code(1)
        .says("No space left on device");
    assert_eq!(text(&findmnt(&host, upper.strip_suffix("/upper").unwrap()), "/fstype"), "tmpfs");
    undo(&host, &document);
    host.assert_clean();
}

#[test]
fn an_upper_directory_inside_a_layer_is_refused() {
    let host = Host::new();
    let id = new_id();
    host.run(&[TOOL, "--lower=/run", "--root=/run/root", "--id", &id]).fails(
        1,
        &format!(
            "mount-overlay: cannot mount over /run: the upper directory /run/root/mount-overlay/{id}/upper would lie \
             inside it\n  hint: use --tmpfs, or --root on another file system\n"
        ),
    );
    host.assert_clean();
    // On another file system it is not inside: overlayfs does not cross mounts.
    let document = host.run(&[TOOL, "--lower=/"]).json();
    undo(&host, &document);
}

#[test]
fn layers_inside_each_other_are_refused_with_the_true_reason() {
    let host = host();
    host.run(&["mkdir", "/run/l/a/inner"]).ok();
    let id = new_id();
    host.run(&[TOOL, "--lower=/run/l/a", "--lower=/run/l/a/inner", "--id", &id]).fails(
        1,
        &format!(
            "mount-overlay: cannot mount /run/gocker/mount-overlay/{id}/rootfs: fsconfig create: the directories \
             overlap: one lies inside another\n  hint: /run/l/a/inner lies inside /run/l/a\n"
        ),
    );
    host.assert_clean();
}

#[test]
fn a_kernel_without_overlayfs_is_named() {
    let host = host();
    let id = new_id();
    let output = host.run(&[
        "strace",
        "-o",
        "/dev/null",
        "-e",
        "inject=fsopen:error=ENODEV",
        TOOL,
        "--lower=/run/l/a",
        "--id",
        &id,
    ]);
    output.fails(
        1,
        &format!(
            "mount-overlay: cannot mount /run/gocker/mount-overlay/{id}/rootfs: fsopen overlay: the kernel has no \
             overlayfs\n  hint: modprobe overlay\n"
        ),
    );
}

#[test]
fn a_store_on_overlayfs_cannot_hold_what_is_written() {
    let host = host();
    let outer = host.run(&[TOOL, "--lower=/run/l/a"]).json();
    let root = format!("--root={}", text(&outer, "/rootfs/path"));
    let id = new_id();
    let output = host.run(&[TOOL, &root, "--lower=/run/l/b", "--id", &id]).code(1);
    assert!(output.stderr.contains("  kernel: overlay: filesystem on "), "{output}");
    let hint = "is on overlayfs itself: use --tmpfs, or --root on another file system\n";
    assert!(output.stderr.ends_with(hint), "{output}");
    undo(&host, &outer);
}

#[test]
fn read_only_is_read_only() {
    let host = host();
    for (layers, expected) in [(&["/run/l/a"][..], "a"), (&["/run/l/a", "/run/l/b"][..], "b")] {
        let document = mount(&host, &["--read-only"], &document(layers));
        let path = text(&document, "/rootfs/path");
        host.sh(&format!("cat {path}/name")).prints(expected);
        host.sh(&format!("touch {path}/new")).code(1).says("Read-only file system");
        assert!(text(&findmnt(&host, path), "/options").split(',').any(|one| one == "ro"));
        assert_eq!(document["rootfs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["mount", "path"]);
        schema::check(&document, "rootfs");
        undo(&host, &document);
        host.sh("ls /run/l/a").prints("name\nonly-a");
    }
    host.assert_clean();
}

#[test]
fn device_nodes_of_a_root_open_nothing() {
    let host = host();
    host.run(&["mknod", "/run/l/a/zero", "c", "1", "5"]).ok();
    let document = mount(&host, &[], &document(&["/run/l/a"]));
    host.sh(&format!("head -c1 {}/zero", text(&document, "/rootfs/path"))).code(1).says("Permission denied");
    undo(&host, &document);
}

#[test]
fn what_was_written_can_be_kept_and_mounted_again() {
    let host = host();
    let stdin = document(&["/run/l/a"]);
    let first = mount(&host, &["--volatile"], &stdin);
    let (id, path) = (text(&first, "/id"), text(&first, "/rootfs/path"));
    assert!(text(&findmnt(&host, path), "/options").contains("volatile"));
    host.sh(&format!("echo kept > {path}/new; chmod 711 {path}")).ok();
    host.run(&[TOOL, "undo", "--keep-upper", id]).ok();
    assert_eq!(findmnt(&host, path), Value::Null);
    let listed = host.run(&[TOOL, "ls"]).json();
    assert_eq!((&listed[0]["kept"], &listed[0]["mounted"]), (&json!(true), &json!(false)), "{listed}");
    host.run(&[TOOL, "undo", "--keep-upper", id]).ok();

    // A failure to mount it must not take it away.
    let inject = ["strace", "-o", "/dev/null", "-e", "inject=move_mount:error=EPERM", TOOL, "--id", id];
    host.feed(&inject, &stdin).code(1);

    let second = mount(&host, &["--id", id], &stdin);
    assert_eq!(second["rootfs"]["path"], first["rootfs"]["path"]);
    host.sh(&format!("cat {path}/new; stat -c %a {path}")).prints("kept\n711");
    undo(&host, &first);
    host.assert_clean();
}

#[test]
fn undo_needs_the_id_alone_and_may_come_twice() {
    let host = host();
    let document = mount(&host, &[], &document(&["/run/l/a"]));
    undo(&host, &document);
    undo(&host, &document);
    host.run(&[TOOL, "undo", &new_id()]).prints("");
    host.run(&[TOOL, "undo", "--keep-upper", &new_id()]).prints("");
    host.assert_clean();
}

#[test]
fn undo_takes_down_a_root_that_is_in_use_but_does_not_keep_what_may_still_change() {
    let host = host();
    let document = mount(&host, &[], &document(&["/run/l/a"]));
    let (id, path) = (text(&document, "/id"), text(&document, "/rootfs/path"));
    let mut user = host.start(&["sh", "-c", &format!("cd {path} && echo in && cat")]);
    user.wait_for_line("in");
    host.run(&[TOOL, "undo", "--keep-upper", id]).fails(
        1,
        &format!(
            "mount-overlay: cannot unmount {path}: umount: Device or resource busy (os error 16)\n  \
             hint: fuser -vm {path} shows who uses it\n"
        ),
    );
    host.run(&[TOOL, "-v", "undo", id]).code(0).says(&format!("+ umount -l {path}"));
    assert_eq!(findmnt(&host, path), Value::Null);
    user.end();
    host.assert_clean();
}

#[test]
fn ls_shows_what_there_is() {
    let host = host();
    host.run(&[TOOL, "ls"]).prints("[]");
    let document = mount(&host, &[], &document(&["/run/l/a"]));
    // Whatever somebody else put there.
    host.sh("mkdir /run/gocker/mount-overlay/junk; touch /var/lib/gocker/mount-overlay/junk").ok();
    let expected = json!([{"id": document["id"], "path": document["rootfs"]["path"], "mounted": true,
        "upper": document["rootfs"]["upper"], "kept": false}]);
    assert_eq!(host.run(&[TOOL, "ls"]).json(), expected);
    host.sh("rmdir /run/gocker/mount-overlay/junk; rm /var/lib/gocker/mount-overlay/junk").ok();
    undo(&host, &document);
    host.run(&[TOOL, "ls"]).prints("[]");
}

#[test]
fn an_id_is_mounted_once() {
    let host = host();
    let document = mount(&host, &[], &document(&["/run/l/a"]));
    let id = text(&document, "/id");
    host.run(&[TOOL, "--lower=/run/l/b", "--id", id]).fails(
        1,
        &format!(
            "mount-overlay: cannot make directory /run/gocker/mount-overlay/{id}: mkdir: File exists (os error 17)\n  \
             hint: a root with this id is there already; mount-overlay undo {id} takes it down\n"
        ),
    );
    host.sh(&format!("cat {}/name", text(&document, "/rootfs/path"))).prints("a");
    undo(&host, &document);
}

/// stage/README.md D3 and D4.
#[test]
fn the_rest_of_the_document_passes_through() {
    let host = host();
    let id = new_id();
    let stdin = format!(
        "{{\"gocker\":1,\"id\":\"{id}\",\"x\":{{\"y\":1.10}},\"image\":{{\"layers\":[{{\"path\":\"/run/l/a\"}}]}},\"network\":{{}}}}"
    );
    let output = host.feed(&[TOOL], &stdin).ok();
    let start = stdin.strip_suffix('}').unwrap();
    assert!(output.starts_with(&format!("{start},\"rootfs\":{{\"mount\":")), "{output}");
    assert_eq!(output.lines().count(), 1);
    let document: Value = serde_json::from_str(&output).unwrap();
    schema::check(&document, "rootfs");
    undo(&host, &document);
}

#[test]
fn wrong_input_is_refused_before_anything_is_done() {
    let host = host();
    let id = new_id();
    let cases = [
        ("", 3, "mount-overlay: no document on stdin: the stage before this one has said why\n".to_owned()),
        (
            "{\"gocker\":2}",
            2,
            "mount-overlay: cannot read the document: version 2 of the document is not supported, only 1\n"
                .to_owned(),
        ),
        (
            "{\"gocker\":1}",
            2,
            "mount-overlay: cannot read the document: section \"image\" is missing\n  hint: pull writes it\n"
                .to_owned(),
        ),
        (
            "{\"gocker\":1,\"rootfs\":{}}",
            2,
            "mount-overlay: cannot add to the document: section \"rootfs\" is already there\n".to_owned(),
        ),
        (
            "{\"gocker\":1,\"image\":{\"layers\":[]}}",
            2,
            "mount-overlay: cannot read the document: \"image\": it has no layers\n".to_owned(),
        ),
        (
            "{\"gocker\":1,\"image\":{\"layers\":[{\"path\":\"a\"}]}}",
            2,
            "mount-overlay: cannot read the document: \"image\": layer a is no absolute path\n".to_owned(),
        ),
        (
            "{\"gocker\":1,\"image\":{\"layers\":[{\"path\":\"/none\"}]}}",
            1,
            "mount-overlay: cannot use /none as a layer: stat: No such file or directory (os error 2)\n"
                .to_owned(),
        ),
    ];
    for (stdin, code, stderr) in cases {
        host.feed(&[TOOL, "--id", &id], stdin).fails(code, &stderr);
    }
    host.feed(&[TOOL], "{\"gocker\":1,\"image\":7}")
        .code(2)
        .says("cannot read the document: \"image\": invalid type");
    host.feed(&[TOOL], "{").code(2).says("mount-overlay: cannot read the document: EOF");
    host.run(&[TOOL, "--lower=/none"])
        .fails(1, "mount-overlay: cannot use /none as a layer: No such file or directory (os error 2)\n");
    host.run(&[TOOL, "--lower=/run/l/a/name"])
        .fails(1, "mount-overlay: cannot use /run/l/a/name as a layer: not a directory\n");
    for arguments in [
        &["--tmpfs=x", "--lower=/"][..],
        &["--read-only", "--tmpfs", "--lower=/"],
        &["--id=7"],
        &["undo"],
        &["undo", "x"],
        &["--lower=/", "ls"],
        &["rm"],
    ] {
        host.run(&[&[TOOL], arguments].concat()).code(2);
    }
    host.assert_clean();
}

#[test]
fn it_says_that_it_needs_root() {
    let host = host();
    host.sh("chmod 755 /run; setpriv --reuid=65534 --clear-groups mount-overlay --lower=/run/l/a")
        .fails(1, "mount-overlay: cannot change the host: not root\n  hint: run it as root, or with sudo\n");
}

#[test]
fn each_effect_is_shown_as_a_command() {
    let host = host();
    let id = new_id();
    let (run, kept) =
        (format!("/run/gocker/mount-overlay/{id}"), format!("/var/lib/gocker/mount-overlay/{id}"));
    let shown = host.run(&[TOOL, "-v", "--lower=/run/l/a", "--id", &id]).code(0).stderr;
    let options = format!(
        "lowerdir=/run/l/a,upperdir={kept}/upper,workdir={kept}/work,index=off,metacopy=off,redirect_dir=nofollow,xino=auto"
    );
    let expected = format!(
        "+ mkdir -p -m 700 {run}\n+ mkdir -m 700 {run}/rootfs\n+ mkdir -p -m 700 {kept}\n+ mkdir -m 755 {kept}/upper\n\
         + chown --reference=/run/l/a {kept}/upper\n+ chmod --reference=/run/l/a {kept}/upper\n\
         + mkdir -m 700 {kept}/work\n+ mount -t overlay overlay -o {options} {run}/rootfs\n"
    );
    assert_eq!(shown, expected);
    host.run(&[TOOL, "undo", &id]).ok();
    // Those commands have the same effect.
    host.sh(&shown.replace("+ ", "")).ok();
    host.sh(&format!("cat {run}/rootfs/name")).prints("a");
    let undone = host.run(&[TOOL, "-v", "undo", &id]).code(0).stderr;
    let expected = format!(
        "+ umount {run}/rootfs\n+ rm -rf --one-file-system {run}\n+ rm -rf --one-file-system {kept}\n"
    );
    assert_eq!(undone, expected);
}

#[test]
fn whatever_fails_the_host_is_as_it_was() {
    let host = host();
    let id = new_id();
    let stdin = document(&["/run/l/a", "/run/l/b"]);
    let undo = [TOOL, "undo", &id];
    let met = inject::every_error(&host, &[TOOL, "--id", &id], Some(&stdin), &CALLS, &undo);
    assert!(met >= 20, "only {met} calls failed");
    let tmpfs = [TOOL, "--tmpfs", "--id", &id];
    assert!(inject::every_error(&host, &tmpfs, Some(&stdin), &["mount", "mkdir"], &undo) >= 5);
    let bind = [TOOL, "--read-only", "--lower=/run/l/a", "--id", &id];
    assert!(inject::every_error(&host, &bind, None, &["mount"], &undo) >= 2);
}

#[test]
fn whenever_it_is_killed_undo_removes_what_is_left() {
    let host = host();
    let id = new_id();
    let undo = [TOOL, "undo", &id];
    let stdin = document(&["/run/l/a"]);
    let met = inject::every_kill(&host, &[TOOL, "--tmpfs", "--id", &id], Some(&stdin), &CALLS, &[&undo]);
    assert!(met >= 15, "only {met} calls met");
    // Killed itself, undo can be called again.
    let script = format!("mount-overlay --id {id} > /dev/null; mount-overlay undo {id}");
    let both = ["sh", "-c", &script];
    let met = inject::every_kill(&host, &both, Some(&stdin), &["umount2", "unlinkat", "rmdir"], &[&undo]);
    assert!(met >= 4, "only {met} calls met");
}
