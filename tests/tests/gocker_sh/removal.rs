//! `rm`, `rmi` and `pull`.

use tests::registry::Registry;
use tests::{Host, images};

use super::start;

#[test]
fn a_container_stays_until_it_is_removed() {
    let host = Host::with_images();
    host.run(&["gocker-sh", "run", "--name", "web", "busybox", "sh", "-c", "echo kept > /file; exit 4"])
        .code(4);
    // Its writable layer is the only thing it still has beside its record.
    let left = host
        .sh("cat /var/lib/gocker/mount-overlay/*/upper/file; ls /run/netns; grep -c overlay /proc/mounts");
    assert_eq!(left.stdout, "kept\n0\n", "{left}");
    host.run(&["gocker-sh", "rm", "web"]).prints("web");
    host.run(&["gocker-sh", "ps", "-aq"]).prints("");
    host.assert_clean();
}

#[test]
fn what_runs_is_removed_only_by_force() {
    let host = Host::with_images();
    for rm in [&[][..], &["--rm"]] {
        let running = start(&host, &[rm, &["--name", "web"]].concat());
        host.run(&["gocker-sh", "rm", "web"]).fails(
            1,
            "gocker-sh: cannot remove container \"/web\": container is running: stop the container before removing or \
             force remove\n",
        );
        host.run(&["gocker-sh", "rm", "-f", "web"]).prints("web");
        host.run(&["gocker-sh", "ps", "-aq"]).prints("");
        assert_eq!(running.end().code, 137);
        host.assert_clean();
    }
}

#[test]
fn what_is_not_there_is_an_error_unless_forced() {
    let host = Host::new();
    host.run(&["gocker-sh", "rm", "nobody"]).fails(1, "gocker-sh: No such container: nobody\n");
    host.run(&["gocker-sh", "rm", "-f", "nobody"]).fails(0, "gocker-sh: No such container: nobody\n");
}

#[test]
fn several_are_removed_although_one_fails() {
    let host = Host::with_images();
    for name in ["one", "two"] {
        host.run(&["gocker-sh", "run", "--name", name, "busybox", "true"]).ok();
    }
    let output = host.run(&["gocker-sh", "rm", "one", "nobody", "two"]).code(1);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("one\ntwo\n", "gocker-sh: No such container: nobody\n")
    );
}

/// A host with a store of its own, and busybox in it.
fn with_busybox() -> Host {
    let host = Host::new();
    let layout = images::layouts().join("busybox");
    host.sh(&format!("pull --name busybox oci:{}:latest > /dev/null", layout.display())).ok();
    host
}

fn id_of(host: &Host, image: &str) -> String {
    host.run(&["gocker-sh", "images", "-q", "--no-trunc", image]).ok().trim_end().to_owned()
}

#[test]
fn an_image_goes_with_its_last_name() {
    let host = with_busybox();
    let id = id_of(&host, "busybox");
    let layout = images::layouts().join("busybox");
    host.sh(&format!("pull --name box:2 oci:{}:latest > /dev/null", layout.display())).ok();
    host.run(&["gocker-sh", "rmi", "box:2"]).prints("Untagged: box:2");
    host.run(&["gocker-sh", "run", "--rm", "--pull=never", "busybox", "true"]).ok();
    let said = host.run(&["gocker-sh", "rmi", "busybox"]).ok();
    assert!(
        said.starts_with("Untagged: busybox:latest\n") && said.contains(&format!("Deleted: {id}\n")),
        "{said}"
    );
    host.run(&["gocker-sh", "images", "-q"]).prints("");
    host.run(&["gocker-sh", "rmi", "busybox"]).fails(1, "gocker-sh: No such image: busybox:latest\n");
    // Nothing of it stays on the disk.
    host.sh("find /var/lib/gocker/pull -type f -size +64k | wc -l").prints("0");
}

#[test]
fn an_image_is_removed_by_its_id() {
    let host = with_busybox();
    let id = id_of(&host, "busybox");
    let said = host.run(&["gocker-sh", "rmi", &id["sha256:".len()..][..12]]).ok();
    assert!(
        said.starts_with("Untagged: busybox:latest\n") && said.contains(&format!("Deleted: {id}\n")),
        "{said}"
    );
}

#[test]
fn an_image_in_use_is_not_removed() {
    let host = with_busybox();
    let id = id_of(&host, "busybox");
    let short = &id["sha256:".len()..][..12];
    host.run(&["gocker-sh", "run", "--name", "web", "--cidfile", "/run/cid", "busybox", "touch", "/mine"])
        .ok();
    let container = host.sh("head -c 12 /run/cid").ok();
    host.run(&["gocker-sh", "rmi", "busybox"]).fails(
        1,
        &format!(
            "gocker-sh: conflict: unable to remove repository reference \"busybox\" (must force) - container {container} is \
             using its referenced image {short}\n"
        ),
    );
    host.run(&["gocker-sh", "rmi", short]).fails(
        1,
        &format!(
            "gocker-sh: conflict: unable to delete {short} (must be forced) - image is being used by stopped container \
             {container}\n"
        ),
    );
    host.run(&["gocker-sh", "rmi", "-f", "busybox"]).prints("Untagged: busybox:latest");
    host.run(&["gocker-sh", "images", "--format", "{{.Repository}} {{.ID}}"])
        .prints(&format!("<none> {short}"));
    host.run(&["gocker-sh", "rm", "web"]).prints("web");
    let said = host.run(&["gocker-sh", "rmi", short]).ok();
    assert!(said.contains(&format!("Deleted: {id}\n")), "{said}");
}

#[test]
fn pull_says_what_it_got() {
    let host = Host::new();
    let registry = Registry::shared(&host);
    let name = format!("{}/busybox", registry.address);
    for status in ["Downloaded newer image", "Image is up to date"] {
        let output = host.run(&["gocker-sh", "pull", &name]);
        let said = format!("Status: {status} for {name}:latest\n");
        assert!(output.stderr.contains("Digest: sha256:") && output.stderr.ends_with(&said), "{output}");
        output.prints(&format!("{name}:latest"));
    }
    host.run(&["gocker-sh", "pull", "-q", &name]).prints(&format!("{name}:latest"));
    host.run(&["gocker-sh", "run", "--rm", &name, "echo", "ran"]).prints("ran");
    registry.stop();
}
