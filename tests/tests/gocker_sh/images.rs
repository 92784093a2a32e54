//! Images by docker's commands: names, archives, and what containers become.

use tests::{Host, Output};

fn gocker(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["gocker-sh"], words].concat())
}

/// Removes what a test has named, and what has no name any more.
fn remove(host: &Host, names: &[&str]) {
    gocker(host, &[&["rmi"], names].concat()).ok();
}

#[test]
fn a_tag_is_another_name_of_the_same_image() {
    let host = Host::with_images();
    gocker(&host, &["tag", "busybox", "mine:2"]).prints("");
    let id = |name: &str| gocker(&host, &["images", "-q", "--no-trunc", name]).ok();
    assert_eq!(id("mine:2"), id("busybox"));
    gocker(&host, &["image", "tag", &id("busybox").trim()[7..19], "also/mine"]).ok();
    gocker(&host, &["run", "--rm", "--network=none", "also/mine:latest", "echo", "hi"]).prints("hi");
    gocker(&host, &["tag", "nobody", "x"]).code(1).says("gocker-sh: No such image: nobody:latest");
    gocker(&host, &["tag", "busybox", "Not A Name"]).code(1);
    remove(&host, &["mine:2", "also/mine"]);
}

#[test]
fn what_is_saved_can_be_loaded() {
    let host = Host::with_images();
    for name in ["kept:1", "kept:2", "other"] {
        gocker(&host, &["tag", "busybox", name]).ok();
    }
    // A name without a tag: all its tags.
    gocker(&host, &["save", "-o", "/run/images.tar", "kept", "other:latest"]).prints("");
    host.sh("tar -xOf /run/images.tar manifest.json | jq -c '.[].RepoTags'")
        .prints("[\"kept:1\",\"kept:2\",\"other:latest\"]");
    remove(&host, &["kept:1", "kept:2", "other"]);
    gocker(&host, &["load", "-i", "/run/images.tar"])
        .prints("Loaded image: kept:1\nLoaded image: kept:2\nLoaded image: other:latest");
    gocker(&host, &["run", "--rm", "--network=none", "kept:2", "echo", "hi"]).prints("hi");
    remove(&host, &["kept:1", "kept:2", "other"]);
    // Through pipes, compressed; by id there is no name to keep.
    host.sh("gocker-sh save kept:1").code(1).says("No such image: kept:1");
    host.sh("gocker-sh save busybox | gzip | gocker-sh load").prints("Loaded image: busybox:latest");
    let id = gocker(&host, &["images", "-q", "--no-trunc", "busybox"]).ok();
    host.sh("gocker-sh save $(gocker-sh images -q busybox) | gocker-sh load -q")
        .prints(&format!("Loaded image ID: {}", id.trim()));
    gocker(&host, &["load", "-i", "/no/such"]).code(1).says("/no/such");
    host.sh("echo no archive | gocker-sh load").code(1);
    host.sh("rm /run/images.tar").ok();
}

#[test]
fn skopeo_reads_what_is_saved() {
    let host = Host::with_images();
    gocker(&host, &["save", "-o", "/run/image.tar", "busybox"]).ok();
    host.sh("skopeo inspect docker-archive:/run/image.tar | jq -r .Os; rm /run/image.tar").prints("linux");
}

#[test]
fn the_files_of_a_container_become_an_image_of_one_layer() {
    let host = Host::with_images();
    gocker(&host, &["run", "--name", "old", "--network=none", "busybox", "sh", "-c", "echo new > /file"])
        .ok();
    let imported = host
        .sh("gocker-sh export old | gocker-sh import -c 'CMD cat /file' -c 'ENV A=\"b c\"' -m why - flat:1");
    let id = imported.ok();
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    gocker(&host, &["run", "--rm", "--network=none", "flat:1"]).prints("new");
    gocker(&host, &["inspect", "-f", "{{.Id}} {{len .RootFS.Layers}} {{json .Config.Env}}", "flat:1"])
        .prints(&format!("{} 1 [\"A=b c\"]", id.trim()));
    gocker(&host, &["history", "--format", "{{.Comment}}", "flat:1"]).prints("why");
    gocker(&host, &["import", "http://host/x.tar"]).code(1).says("curl URL | gocker-sh import - NAME");
    gocker(&host, &["import", "/no/such"]).code(1).says("/no/such");
    gocker(&host, &["rm", "old"]).ok();
    remove(&host, &["flat:1"]);
}

/// What hides something of the image below hides it in the new image, too.
#[test]
fn a_commit_is_a_layer_on_top_of_the_image() {
    let host = Host::with_images();
    let script = "echo new > /file; rm /etc/passwd; rm -r /var; mkdir /var; ln /file /same; chmod 600 /file";
    gocker(&host, &["run", "--name", "old", "--network=none", "-e", "A=b", "busybox", "sh", "-c", script])
        .ok();
    let committed = gocker(
        &host,
        &[
            "commit",
            "-a",
            "Jane",
            "-m",
            "why",
            "-c",
            "CMD [\"cat\",\"/file\"]",
            "-c",
            "LABEL x=y",
            "old",
            "next:1",
        ],
    );
    let id = committed.ok();
    gocker(&host, &["run", "--rm", "--network=none", "next:1"]).prints("new");
    let look = "cat /etc/passwd 2>&1; ls /var | wc -l; stat -c '%a %h' /same; echo $A";
    gocker(&host, &["run", "--rm", "--network=none", "next:1", "sh", "-c", look])
        .prints("cat: can't open '/etc/passwd': No such file or directory\n0\n600 2\nb");
    gocker(
        &host,
        &["inspect", "-f", "{{.Id}} {{.Author}} {{len .RootFS.Layers}} {{.Config.Labels.x}}", "next:1"],
    )
    .prints(&format!("{} Jane {} y", id.trim(), layers(&host, "busybox") + 1));
    gocker(&host, &["history", "--format", "{{.Comment}}", "next:1"]).ok();
    // Others read it, and it comes back as it was.
    host.sh("gocker-sh save -o /run/next.tar next:1; skopeo copy -q --insecure-policy docker-archive:/run/next.tar oci:/run/next:1")
        .ok();
    gocker(&host, &["rm", "old"]).ok();
    remove(&host, &["next:1"]);
    host.sh("gocker-sh load -i /run/next.tar; gocker-sh inspect -f {{.Id}} next:1")
        .prints(&format!("Loaded image: next:1\n{}", id.trim()));
    gocker(&host, &["run", "--rm", "--network=none", "next:1"]).prints("new");
    remove(&host, &["next:1"]);
    host.sh("rm -r /run/next /run/next.tar").ok();
}

fn layers(host: &Host, image: &str) -> usize {
    gocker(host, &["inspect", "-f", "{{len .RootFS.Layers}}", image]).ok().trim().parse().unwrap()
}

#[test]
fn a_running_container_is_frozen_while_it_is_committed() {
    let host = Host::with_images();
    gocker(
        &host,
        &[
            "run",
            "-d",
            "--name",
            "web",
            "--network=none",
            "busybox",
            "sh",
            "-c",
            "echo 1 > /file; sleep 1000",
        ],
    )
    .ok();
    host.sh("until gocker-sh exec web test -s /file; do :; done").ok();
    let verbose = gocker(&host, &["--verbose", "commit", "web", "next"]);
    assert!(verbose.stderr.contains("FROZEN") || verbose.stderr.contains("freeze"), "{verbose}");
    gocker(&host, &["inspect", "-f", "{{.State.Status}}", "web"]).prints("running");
    gocker(&host, &["exec", "web", "cat", "/file"]).prints("1");
    let verbose = gocker(&host, &["--verbose", "commit", "--pause=false", "web"]);
    assert!(verbose.code == 0 && !verbose.stderr.contains("FROZEN"), "{verbose}");
    gocker(&host, &["commit", "-c", "FROB x", "web"]).code(1).says("FROB is not a valid change command");
    gocker(&host, &["rm", "-f", "web"]).ok();
    remove(&host, &["next"]);
    host.sh("gocker-sh image prune -f").ok();
}

#[test]
fn what_was_not_made_of_an_image_cannot_be_committed() {
    let host = Host::with_images();
    host.sh("mkdir -p /run/tree/bin; cp /bin/busybox /run/tree/bin/ 2>/dev/null || cp $(command -v busybox) /run/tree/bin/").ok();
    gocker(&host, &["run", "--name", "bare", "--network=none", "--rootfs=/run/tree", "busybox", "true"])
        .code(0);
    gocker(&host, &["commit", "bare"]).code(1).says("it was not made of an image");
    gocker(&host, &["rm", "bare"]).ok();
    host.sh("rm -r /run/tree").ok();
}

#[test]
fn what_has_never_run_can_be_committed() {
    let host = Host::with_images();
    gocker(&host, &["create", "--name", "new", "busybox", "true"]).ok();
    gocker(&host, &["commit", "-c", "CMD echo nothing new", "new", "same"]).ok();
    gocker(&host, &["run", "--rm", "--network=none", "same"]).prints("nothing new");
    // Copied into it, a file is a change.
    host.sh("echo copied > /run/file; gocker-sh cp /run/file new:/file; rm /run/file").ok();
    gocker(&host, &["commit", "new", "more"]).ok();
    gocker(&host, &["run", "--rm", "--network=none", "more", "cat", "/file"]).prints("copied");
    // It is as it was, and can be started.
    gocker(&host, &["inspect", "-f", "{{.State.Status}}", "new"]).prints("created");
    gocker(&host, &["start", "-a", "new"]).code(0);
    gocker(&host, &["rm", "new"]).ok();
    remove(&host, &["same", "more"]);
}

#[test]
fn credentials_are_stored_and_forgotten() {
    let host = Host::with_images();
    let registry = tests::registry::Registry::shared(&host);
    let login = format!("gocker-sh login -u jane {}", registry.address);
    host.sh(&format!("{login} -p secret")).code(0).says("Using --password via the CLI is insecure");
    host.sh(&format!("echo secret | {login} --password-stdin")).code(0).says("Login Succeeded");
    host.sh(&format!("gocker-sh logout {}", registry.address)).code(0).says("Removed the login");
    host.sh(&format!("{login} < /dev/null")).code(1).says("--password-stdin");
    registry.stop();
}
