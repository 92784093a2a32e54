//! Layers of every kind, unpacked: compared with what GNU tar makes of them, and seen through a mounted overlay.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tar::EntryType::{Directory, Link, Regular, Symlink};
use tests::Host;
use tests::images::Compression::{Gzip, None as Plain, Zstd};
use tests::images::{self, Tar};

use super::tree::{Tree, set_xattr, xattrs};
use super::{append, assert_nothing_half_done, header, host_with, layer_paths, tar_with, unpacked};

/// A tree with everything that a file system has.
const AWKWARD: &str = r#"
mkdir -p /run/tree && cd /run/tree
mkdir -p usr/bin usr/lib empty sticky setgid/in "with space"
printf 'hello\n' > file
printf '' > nothing
head -c 300000 /dev/urandom > large
printf x > setuid; chown 7:8 setuid; chmod 6755 setuid
chown :50 setgid; chmod 2775 setgid; printf y > setgid/in/y; printf z > setgid/z; chown 1000:1000 setgid/z
chmod 1777 sticky; chmod 0000 empty
printf n > noperm; chmod 0000 noperm
printf o > owned; chown 3000000:4000000 owned
ln file hard; ln file usr/lib/hard2
ln -s usr/lib lib; ln -s /absolute/nowhere dangling; ln -s "$(printf 'l%.0s' $(seq 200))" longlink
chown -h 12:13 dangling
ln dangling hard-of-link
mknod null c 1 3; mknod block b 7 300; chown 0:6 block; chmod 660 block; mkfifo fifo; chmod 622 fifo
n=$(printf 'n%.0s' $(seq 250)); mkdir -p "$n/$n"; printf deep > "$n/$n/$n"; ln "$n/$n/$n" "$n/link"
printf u > "$(printf 'not\377utf\376')"; printf w > "$(printf 'new\nline')"; printf q > "quo'te\"\\"
truncate -s 3M holes; printf a | dd of=holes bs=1 seek=1000000 conv=notrunc status=none; printf b | dd of=holes bs=1 seek=2000000 conv=notrunc status=none
truncate -s 1M all-hole
cp holes "$n/$n/holes"
i=0; truncate -s 6M many; while [ $i -lt 60 ]; do printf s | dd of=many bs=1 seek=$((i * 100000)) conv=notrunc status=none; i=$((i + 1)); done
cp /bin/busybox caps; setcap cap_net_raw+ep caps
touch -d '2001-02-03 04:05:06.123456789' file; touch -d '1969-12-31 23:59:58.25 UTC' large; touch -h -d '2010-01-01 00:00:00.5' dangling
touch -d '2002-02-02 02:02:02.22' usr/bin usr sticky; touch -d '2030-01-01' fifo null
"#;

/// The host's tree as a tar stream, and what GNU tar makes of that.
fn tar_and_expected(host: &Host, options: &str) -> (Tar, Tree) {
    host.sh(&format!("tar --numeric-owner {options} -C /run/tree -cf /run/layer.tar . && rm -rf /run/tree"))
        .ok();
    host.sh("mkdir /run/expected && tar --xattrs --xattrs-include='*' --numeric-owner -C /run/expected -xpf /run/layer.tar").ok();
    (std::fs::read(host.path("/run/layer.tar")).unwrap(), Tree::of(&host.path("/run/expected")))
}

fn awkward() -> Host {
    let host = Host::new();
    host.sh(AWKWARD).ok();
    host
}

#[test]
fn a_pax_layer_is_what_gnu_tar_makes_of_it() {
    for (version, compression) in [("1.0", Gzip), ("0.1", Zstd), ("0.0", Plain)] {
        let host = awkward();
        let tree = host.path("/run/tree");
        set_xattr(&tree.join("file"), "user.text", b"value");
        set_xattr(&tree.join("file"), "user.bytes", b"a\nb\0c=d\xff\n12 x=y\n");
        set_xattr(&tree.join("usr"), "user.of-directory", b"v");
        set_xattr(&tree.join("dangling"), "trusted.of-link", b"v");
        set_xattr(&tree.join("fifo"), "trusted.of-fifo", b"v");
        // Version 2, effective, with 0x0a among its bytes.
        set_xattr(
            &tree.join("setuid"),
            "security.capability",
            &[1, 0, 0, 2, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        let (tar, expected) = tar_and_expected(
            &host,
            &format!("--format=posix --xattrs --xattrs-include='*' --sparse --sparse-version={version}"),
        );
        images::layout(&host.path("/run/oci"), "latest", &[(tar, compression)], &serde_json::json!({}));
        let found = Tree::of(&unpacked(&host)[0]);
        found.assert_same(&expected);
        assert!(found.len() > 30);
        holes_are_holes(&unpacked(&host)[0]);
    }
}

#[test]
fn gnu_and_ustar_layers_are_what_gnu_tar_makes_of_them() {
    for options in [
        "--format=gnu --sparse",
        "--format=oldgnu",
        "--format=ustar --exclude=./n* --exclude=longlink --exclude=owned --exclude=large",
    ] {
        let host = awkward();
        let (tar, expected) = tar_and_expected(&host, options);
        images::layout(&host.path("/run/oci"), "latest", &[(tar, Gzip)], &serde_json::json!({}));
        Tree::of(&unpacked(&host)[0]).assert_same(&expected);
    }
}

fn holes_are_holes(layer: &Path) {
    for (name, size) in [("holes", 3 << 20), ("all-hole", 1 << 20), ("many", 6 << 20)] {
        let meta = std::fs::metadata(layer.join(name)).unwrap();
        assert_eq!(meta.size(), size);
        assert!(meta.blocks() * 512 < size / 2, "{name}: {} blocks", meta.blocks());
    }
}

#[test]
fn what_comes_later_in_a_layer_replaces_what_came_before() {
    let tar = tar_with(|tar| {
        append(tar, "file-then-dir", Regular, "old");
        append(tar, "file-then-dir", Directory, "");
        append(tar, "file-then-dir/in", Regular, "new");
        append(tar, "dir-then-file", Directory, "");
        append(tar, "dir-then-file/a", Directory, "");
        append(tar, "dir-then-file/a/b", Regular, "old");
        append(tar, "dir-then-file", Regular, "new");
        append(tar, "dir-then-link", Directory, "");
        append(tar, "dir-then-link/x", Regular, "old");
        append(tar, "dir-then-link", Symlink, "elsewhere");
        append(tar, "link-then-dir", Symlink, "file-then-dir");
        append(tar, "link-then-dir", Directory, "");
        append(tar, "link-then-file", Symlink, "dir-then-file");
        append(tar, "link-then-file", Regular, "own");
        append(tar, "twice", Regular, "longer than the second");
        append(tar, "twice", Regular, "second");
        append(tar, "dir-twice", Directory, "");
        append(tar, "dir-twice/kept", Regular, "kept");
        append(tar, "dir-twice", Directory, "");
        append(tar, "hard", Regular, "replaced");
        append(tar, "hard", Link, "twice");
        append(tar, "hard", Link, "hard");
        append(tar, "a/b/c/implied", Regular, "x");
    });
    let host = host_with(&[(tar, Gzip)]);
    let layer = &unpacked(&host)[0];
    let read = |path: &str| std::fs::read_to_string(layer.join(path)).unwrap();
    assert_eq!(read("file-then-dir/in"), "new");
    assert_eq!(read("dir-then-file"), "new");
    assert_eq!(std::fs::read_link(layer.join("dir-then-link")).unwrap(), Path::new("elsewhere"));
    assert!(layer.join("link-then-dir").symlink_metadata().unwrap().is_dir());
    assert_eq!(read("link-then-file"), "own");
    assert_eq!(read("twice"), "second");
    assert_eq!(read("dir-twice/kept"), "kept");
    assert_eq!(read("hard"), "second");
    assert_eq!(layer.join("hard").metadata().unwrap().ino(), layer.join("twice").metadata().unwrap().ino());
    let implied = layer.join("a/b").metadata().unwrap();
    assert_eq!((implied.mode() & 0o7777, implied.uid()), (0o755, 0));
    assert_eq!(
        layer.join("dir-twice").metadata().unwrap().mtime(),
        1,
        "a directory keeps its time, whatever is made in it"
    );
}

#[test]
fn entries_go_through_links_inside_the_layer() {
    let tar = tar_with(|tar| {
        append(tar, "usr/lib", Directory, "");
        append(tar, "lib", Symlink, "usr/lib");
        append(tar, "lib/a.so", Regular, "a");
        append(tar, "run", Directory, "");
        append(tar, "var/run", Symlink, "/run");
        append(tar, "var/run/x.pid", Regular, "1");
        append(tar, "dangling", Symlink, "nowhere");
        append(tar, "of-dangling", Link, "dangling");
        append(tar, "absolute", Link, "/usr/lib/a.so");
    });
    let host = host_with(&[(tar, Plain)]);
    let layer = &unpacked(&host)[0];
    assert_eq!(std::fs::read_to_string(layer.join("usr/lib/a.so")).unwrap(), "a");
    assert_eq!(std::fs::read_to_string(layer.join("run/x.pid")).unwrap(), "1");
    assert_eq!(std::fs::read_link(layer.join("of-dangling")).unwrap(), Path::new("nowhere"));
    assert_eq!(std::fs::read_to_string(layer.join("absolute")).unwrap(), "a");
    assert!(!host.path("/run/x.pid").exists());
}

/// The layers of an image, mounted as overlayfs does it, base first.
fn mounted(layers: &[Tar]) -> Host {
    let layers: Vec<_> = layers.iter().map(|tar| (tar.clone(), Gzip)).collect();
    let host = host_with(&layers);
    let document = host.run(&["pull", "oci:/run/oci"]).json();
    let mut paths = layer_paths(&document);
    paths.reverse();
    // overlayfs wants two lower directories when there is no upper one.
    host.sh(&format!(
        "mkdir /run/empty /run/merged && mount -t overlay overlay -o lowerdir={}:/run/empty /run/merged",
        paths.join(":")
    ))
    .ok();
    host.settled()
}

fn base() -> Tar {
    tar_with(|tar| {
        for dir in ["a", "a/sub", "b", "c", "d"] {
            append(tar, dir, Directory, "");
        }
        for file in ["top", "keep", "a/1", "a/2", "a/sub/3", "b/4", "c/5", "d/6", ".hidden"] {
            append(tar, file, Regular, "base");
        }
    })
}

#[test]
fn whiteouts_hide_what_is_below() {
    let upper = tar_with(|tar| {
        append(tar, ".wh.top", Regular, "");
        append(tar, "a/.wh.1", Regular, "");
        append(tar, "a/.wh.sub", Regular, "");
        append(tar, ".wh..hidden", Regular, "");
        append(tar, ".wh.never-was", Regular, "");
        append(tar, ".wh..wh.plnk", Directory, "");
        append(tar, ".wh..wh.aufs", Regular, "");
    });
    let host = mounted(&[base(), upper]);
    host.sh("cd /run/merged && find . | LC_ALL=C sort | tr '\\n' ' '")
        .prints(". ./a ./a/2 ./b ./b/4 ./c ./c/5 ./d ./d/6 ./keep ");
}

#[test]
fn opaque_directories_hide_what_is_below_in_whatever_order_it_is_said() {
    let upper = tar_with(|tar| {
        append(tar, "a", Directory, "");
        append(tar, "a/.wh..wh..opq", Regular, "");
        append(tar, "a/new", Regular, "new");
        // The whiteout and what replaces the directory, in both orders, and with no word of the directory itself.
        append(tar, ".wh.b", Regular, "");
        append(tar, "b", Directory, "");
        append(tar, "b/new", Regular, "new");
        append(tar, "c", Directory, "");
        append(tar, "c/new", Regular, "new");
        append(tar, ".wh.c", Regular, "");
        append(tar, ".wh.d", Regular, "");
        append(tar, "d/new", Regular, "new");
        append(tar, "keep", Regular, "mine");
        append(tar, ".wh.keep", Regular, "");
    });
    let host = mounted(&[base(), upper]);
    host.sh("cd /run/merged && find a b c d | LC_ALL=C sort | tr '\\n' ' '; cat keep")
        .prints("a a/new b b/new c c/new d d/new mine");
}

/// overlayfs merges the roots of all layers, whatever is said of them.
#[test]
fn an_opaque_root_is_refused_above_other_layers() {
    let opaque = tar_with(|tar| {
        append(tar, ".wh..wh..opq", Regular, "");
        append(tar, "only", Regular, "x");
    });
    let host = host_with(&[(opaque.clone(), Gzip)]);
    host.run(&["pull", "oci:/run/oci"]).code(0);
    let host = host_with(&[(base(), Gzip), (opaque, Gzip)]);
    host.run(&["pull", "oci:/run/oci"])
        .code(1)
        .says(": an opaque root above other layers is not supported\n");
    assert_nothing_half_done(&host);
}

#[test]
fn attributes_that_steer_overlayfs_are_not_taken_from_a_layer() {
    let tar = tar_with(|tar| {
        let records = [
            ("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..]),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.own", b"kept"),
        ];
        tar.append_pax_extensions(records).unwrap();
        append(tar, "dir", Directory, "");
    });
    let host = host_with(&[(tar, Gzip)]);
    let found = xattrs(&unpacked(&host)[0].join("dir"));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("trusted.own".to_owned(), b"kept".to_vec())]);
}

#[test]
fn a_layer_need_not_end_as_tar_says() {
    let entries = |tar: &mut tar::Builder<Vec<u8>>| append(tar, "file", Regular, "x");
    let whole = tar_with(entries);
    for tar in
        [whole[..1024].to_vec(), whole[..513].to_vec(), [whole.clone(), vec![7; 70_000]].concat(), Vec::new()]
    {
        let host = host_with(&[(tar.clone(), Gzip)]);
        let layer = &unpacked(&host)[0];
        assert_eq!(layer.join("file").exists(), !tar.is_empty());
    }
}

#[test]
fn the_root_of_a_layer_has_what_the_layer_says() {
    let tar = tar_with(|tar| {
        let mut root = header(b"./", Directory);
        root.set_mode(0o1701);
        root.set_uid(5);
        root.set_cksum();
        tar.append(&root, std::io::empty()).unwrap();
        append(tar, "file", Regular, "x");
    });
    let without = tar_with(|tar| append(tar, "file", Regular, "x"));
    let host = host_with(&[(tar, Gzip), (without, Gzip)]);
    let paths = unpacked(&host);
    let [said, unsaid] = [&paths[0], &paths[1]].map(|path| path.metadata().unwrap());
    assert_eq!((said.mode() & 0o7777, said.uid(), said.mtime()), (0o1701, 5, 1));
    assert_eq!((unsaid.mode() & 0o7777, unsaid.uid()), (0o755, 0));
}

#[test]
fn debian_is_what_gnu_tar_makes_of_it() {
    let host = Host::new();
    let dir = images::layouts().join("python");
    let document = host.run(&["pull", &format!("oci:{}", dir.display())]).json();
    let digest = document["image"]["layers"][0]["digest"].as_str().unwrap();
    host.sh(&format!(
        "mkdir /run/expected && tar --xattrs --xattrs-include='*' --numeric-owner -C /run/expected -xzpf {}/blobs/sha256/{}",
        dir.display(),
        &digest[7..]
    ))
    .ok();
    let found = Tree::of(&host.path(&layer_paths(&document)[0]));
    found.assert_same(&Tree::of(&host.path("/run/expected")));
    assert!(found.len() > 5000);
}
