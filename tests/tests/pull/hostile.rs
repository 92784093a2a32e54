//! Layers made to break out, to mislead or to use up the machine.

use tar::EntryType::{self, Char, Directory, Fifo, Link, Regular, Symlink, XGlobalHeader, XHeader};
use tests::images::Compression::{None as Plain, Zstd};
use tests::images::Tar;

use super::{append, assert_nothing_half_done, header, host_with, tar_with, unpacked};

/// Pulls an image of this layer, which must fail with this in its error; nothing of it may be anywhere.
#[track_caller]
fn refused(tar: Tar, why: &str) {
    let host = host_with(&[(tar, Plain)]);
    host.sh("mkdir -p /run/outside; echo safe > /run/outside/file").ok();
    let before = host.sh("find /run/outside /run/cwd /etc -xdev | sort | sha256sum").ok();
    let output = host.run(&["pull", "oci:/run/oci"]).code(1);
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.lines().filter(|line| line.starts_with("pull: ")).count(), 1, "{output}");
    assert!(output.stderr.contains(why), "{why:?} is not in\n{output}");
    assert_eq!(host.sh("find /run/outside /run/cwd /etc -xdev | sort | sha256sum").ok(), before);
    host.sh("cat /run/outside/file; ls -A /var/lib/gocker/pull/layers/sha256 /var/lib/gocker/pull/images")
        .prints("safe\n/var/lib/gocker/pull/images:\n\n/var/lib/gocker/pull/layers/sha256:");
    assert_nothing_half_done(&host);
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../evil", "a/../../evil", "/../evil", "..", "a/.."] {
        refused(tar_with(|tar| append(tar, name, Regular, "x")), "its name has an element \"..\"");
        refused(tar_with(|tar| append(tar, name, Directory, "")), "its name has an element \"..\"");
    }
    refused(
        tar_with(|tar| append(tar, "link", Link, "../../../../etc/passwd")),
        "cannot unpack link: its name has an element \"..\"",
    );
    refused(
        tar_with(|tar| append(tar, "link", Link, "etc/shadow")),
        "cannot unpack link: hard link to etc/shadow: No such file",
    );
    refused(tar_with(|tar| append(tar, "link", Link, "/")), "cannot unpack link: a hard link to the root");
    refused(tar_with(|tar| append(tar, ".", Regular, "x")), "the root of a layer is a directory");
    refused(tar_with(|tar| append(tar, "/", Symlink, "/etc")), "the root of a layer is a directory");
}

#[test]
fn nothing_is_made_through_a_link_that_leads_out() {
    for target in ["/run/outside", "../../../../../../../../run/outside", "/proc/self/root/run/outside"] {
        let tar = tar_with(|tar| {
            append(tar, "link", Symlink, target);
            append(tar, "link/file", Regular, "evil");
        });
        // The target is looked for inside the layer, where it is not.
        refused(tar, "cannot unpack link/file: open link: No such file or directory");
    }
    let through_a_hard_link = tar_with(|tar| {
        append(tar, "link", Symlink, "/run/outside/file");
        append(tar, "hard", Link, "link");
        append(tar, "hard", Regular, "evil");
        append(tar, "link", Regular, "evil");
    });
    let host = host_with(&[(through_a_hard_link, Plain)]);
    host.sh("mkdir /run/outside; echo safe > /run/outside/file").ok();
    let layer = &unpacked(&host)[0];
    assert_eq!(std::fs::read_to_string(layer.join("hard")).unwrap(), "evil");
    host.sh("cat /run/outside/file").prints("safe");
}

#[test]
fn an_absolute_link_ends_inside() {
    let tar = tar_with(|tar| {
        append(tar, "run/outside", Directory, "");
        append(tar, "link", Symlink, "/run/outside");
        append(tar, "link/file", Regular, "inside");
        append(tar, "up", Symlink, "../../../../run/outside");
        append(tar, "up/file2", Regular, "inside");
    });
    let host = host_with(&[(tar, Plain)]);
    host.sh("mkdir /run/outside; echo safe > /run/outside/file").ok();
    let layer = &unpacked(&host)[0];
    assert!(layer.join("run/outside/file").exists() && layer.join("run/outside/file2").exists());
    host.sh("ls /run/outside; cat /run/outside/file").prints("file\nsafe");
}

#[test]
fn a_mode_or_an_owner_is_not_changed_through_a_link() {
    let tar = tar_with(|tar| {
        append(tar, "link", Symlink, "/run/outside");
        let mut dir = header(b"link", Directory);
        dir.set_mode(0o777);
        dir.set_uid(1000);
        dir.set_cksum();
        tar.append(&dir, std::io::empty()).unwrap();
    });
    let host = host_with(&[(tar, Plain)]);
    host.sh("mkdir -m 755 /run/outside").ok();
    let layer = &unpacked(&host)[0];
    assert!(layer.join("link").symlink_metadata().unwrap().is_dir());
    host.sh("stat -c '%a %u' /run/outside").prints("755 0");
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        refused(tar_with(|tar| append(tar, name, Regular, "")), "a whiteout of");
    }
}

#[test]
fn a_tar_that_lies_about_itself_is_refused() {
    let pax = |records: &[(&str, &str)], name: &str, content: &str| {
        tar_with(|tar| {
            tar.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes()))).unwrap();
            append(tar, name, Regular, content);
        })
    };
    refused(pax(&[("path", "../evil")], "a", "x"), "its name has an element \"..\"");
    refused(pax(&[("path", "a\0b")], "a", "x"), "a name with a zero byte");
    refused(pax(&[("size", "99999999")], "a", "x"), "it ends inside an entry");
    refused(
        pax(&[("size", "18446744073709551615")], "a", "x"),
        "a file of 18446744073709551615 bytes\n  hint: --max-size",
    );
    refused(pax(&[("size", "-1")], "a", "x"), "PAX size");
    refused(pax(&[("uid", "4294967295")], "a", "x"), "malformed tar: uid 4294967295");
    refused(pax(&[("mtime", "yesterday")], "a", "x"), "PAX mtime");
    refused(pax(&[("SCHILY.xattr.nonsense", "x")], "a", "x"), "cannot unpack a: setxattr nonsense");
    refused(
        pax(&[("GNU.sparse.map", "0,1,0,1"), ("GNU.sparse.size", "5")], "a", "xy"),
        "malformed sparse map",
    );
    refused(
        pax(
            &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")],
            "a",
            "99999999999\n",
        ),
        "malformed sparse map",
    );
    let raw = |kind: EntryType, content: &str| tar_with(|tar| append(tar, "x", kind, content));
    refused(raw(XHeader, "9999 path=x\n"), "malformed tar: PAX header");
    refused(raw(XHeader, "12 path=abcd\n"), "PAX header");
    refused(raw(XGlobalHeader, "15 path=global\n"), "global PAX header with \"path\" is not supported");
    refused(raw(EntryType::new(b'M'), ""), "entries of type 'M' are not supported");
    refused(raw(EntryType::GNUSparse, "x"), "malformed");
    refused(
        tar_with(|tar| {
            append(tar, "././@LongLink", EntryType::GNULongName, "one");
            tar.append_pax_extensions([("path", &b"two"[..])]).unwrap();
            append(tar, "three", Regular, "");
        }),
        "two names for one entry",
    );
    refused(
        tar_with(|tar| {
            append(tar, "././@LongLink", EntryType::GNULongName, "one");
            append(tar, "././@LongLink", EntryType::GNULongName, "two");
            append(tar, "three", Regular, "");
        }),
        "two of long name for one entry",
    );
    let mut broken = raw(Regular, "content");
    broken[3] ^= 1;
    refused(broken, "header checksum mismatch");
    let mut huge = header(b"dev", Char);
    huge.set_device_major(0o7777).unwrap();
    huge.set_device_minor(0o3777777).unwrap();
    huge.set_cksum();
    // The largest numbers there are: these are right, and only what is larger is refused.
    let host = host_with(&[(tar_with(|tar| tar.append(&huge, std::io::empty()).unwrap()), Plain)]);
    unpacked(&host);
}

#[test]
fn names_have_a_limit() {
    let long = |length: usize| {
        tar_with(|tar| {
            append(tar, "././@LongLink", EntryType::GNULongName, &"d/".repeat(length / 2));
            append(tar, "x", Regular, "");
        })
    };
    unpacked(&host_with(&[(long(4_096), Plain)]));
    refused(long(4_098), "a header of 4098 bytes");
    refused(long(10_000_000), "a header of 10000000 bytes");
    let element = tar_with(|tar| {
        tar.append_pax_extensions([("path", "n".repeat(256).as_bytes())]).unwrap();
        append(tar, "x", Regular, "");
    });
    refused(element, "an element of 256 bytes");
    let records = tar_with(|tar| append(tar, "x", XHeader, &"x".repeat(2 << 20)));
    refused(records, "a header of 2097152 bytes");
}

/// A header may announce terabytes; what is not there is not allocated.
#[test]
fn what_is_only_announced_costs_nothing() {
    let malformed =
        [XHeader, EntryType::GNULongName, EntryType::GNULongLink].map(|kind| (kind, "malformed tar: "));
    for (kind, said) in malformed.into_iter().chain([(Regular, "a file of 1099511627776 bytes")]) {
        let tar = tar_with(|tar| {
            let mut lying = header(b"x", kind);
            lying.set_size(1 << 40);
            lying.set_cksum();
            tar.get_mut().extend_from_slice(lying.as_bytes());
        });
        let host = host_with(&[(tar, Plain)]);
        host.sh("ulimit -v 300000; exec pull oci:/run/oci").code(1).says(said);
    }
}

#[test]
fn an_entry_behind_another_kind_of_thing_is_refused() {
    for kind in [Regular, Fifo, Char] {
        let tar = tar_with(|tar| {
            append(tar, "thing", kind, "");
            append(tar, "thing/below", Regular, "x");
        });
        let expected = if kind == Char { "" } else { "cannot unpack thing/below: " };
        if expected.is_empty() {
            // 0:0 is a whiteout, and the directory is new.
            unpacked(&host_with(&[(tar, Plain)]));
        } else {
            refused(tar, expected);
        }
    }
}

#[test]
fn a_stream_that_is_not_what_it_begins_as_is_refused() {
    let host = host_with(&[(b"\x1f\x8bnot gzip at all".to_vec(), Plain)]);
    host.run(&["pull", "oci:/run/oci"]).code(1).says("cannot decompress: ");
    let host = host_with(&[(b"\x28\xb5\x2f\xfdnot zstd".to_vec(), Plain)]);
    host.run(&["pull", "oci:/run/oci"]).code(1).says("cannot decompress: ");
    let host = host_with(&[(b"neither tar nor compressed".to_vec(), Zstd)]);
    host.run(&["pull", "oci:/run/oci"]).code(1).says("malformed tar: it ends inside a header");
}

#[test]
fn a_zstd_stream_cannot_ask_for_more_memory_than_is_right() {
    let host = tests::Host::new();
    host.sh("head -c 3000000 /dev/zero | zstd -q --long=31 --ultra -22 --no-check -c > /run/long.zst").ok();
    // The window that the frame's header asks for (2 GiB at --long=31, were the content as large).
    host.sh("mkdir /run/tree; truncate -s 1G /run/tree/f; tar -cf - -C /run/tree . | zstd -q --long=31 -c > /run/long.zst").ok();
    host.sh("ulimit -v 400000; exec pull rootfs:/run/long.zst").code(1).says("cannot decompress: ");
}
