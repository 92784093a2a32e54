//! `mounts`, and how mounts are passed on.

use serde_json::{Value, json};

use super::Like::{Both, Crun, Neither, Runc};
use super::{Case, and_mounts, compare};

/// Type and options of what is mounted at `/m`, of the mount and of the file system.
const SHOW: &str = "awk '$5 == \"/m\" {n = 7; while ($n != \"-\") n++; print $6, $(n+1), $(n+3)}' /proc/self/mountinfo; ls -ldn /m | awk '{print $1, $3, $4}'";
/// The peer groups there, without their numbers.
const PEERS: &str = "awk '$5 ~ \"^/m\" {printf \"%s\", $5; for (n = 7; $n != \"-\"; n++) {sub(\":.*\", \"\", $n); printf \" %s\", $n}; print \"\"}' /proc/self/mountinfo";

fn tmpfs(options: &str) -> Value {
    let options: Vec<&str> = options.split(',').filter(|word| !word.is_empty()).collect();
    and_mounts(&[json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": options})])
}

fn bind(source: &str, options: &str) -> Value {
    let options: Vec<&str> = options.split(',').filter(|word| !word.is_empty()).collect();
    and_mounts(&[json!({"destination": "/m", "type": "bind", "source": source, "options": options})])
}

#[test]
fn new_file_systems() {
    let one = |destination: &str, typ: &str, options: &str| {
        let options: Vec<&str> = options.split(',').filter(|word| !word.is_empty()).collect();
        and_mounts(&[json!({"destination": destination, "type": typ, "source": typ, "options": options})])
    };
    compare(
        "mkdir -m 1777 /run/rootfs/m; mkdir -m 700 /run/rootfs/full; echo x > /run/rootfs/full/f; chmod 640 /run/rootfs/full/f; \
         mkdir /run/rootfs/full/d; ln -s f /run/rootfs/full/l; chown -R 5:6 /run/rootfs/full; ln -s /etc/dir /run/rootfs/link; ln -s /proc /run/rootfs/plink",
        &[
            Case("tmpfs", tmpfs(""), SHOW, Both),
            Case("tmpfs-size", tmpfs("size=64k"), SHOW, Both),
            Case(
                "tmpfs-mode",
                tmpfs("mode=700"),
                SHOW,
                Crun("the mode that is asked for; runc 1.1 takes the directory's"),
            ),
            Case(
                "tmpfs-owner",
                tmpfs("uid=5,gid=6,mode=750"),
                SHOW,
                Crun("the mode that is asked for; runc 1.1 takes the directory's"),
            ),
            Case("tmpfs-ro", tmpfs("ro"), SHOW, Both),
            Case("tmpfs-ro-rw", tmpfs("ro,rw"), SHOW, Runc("the last word counts")),
            Case("tmpfs-flags", tmpfs("nosuid,nodev,noexec"), SHOW, Both),
            Case("tmpfs-noatime", tmpfs("noatime"), SHOW, Both),
            Case("tmpfs-strictatime", tmpfs("strictatime"), SHOW, Both),
            Case("tmpfs-relatime", tmpfs("relatime"), SHOW, Both),
            Case("tmpfs-nodiratime", tmpfs("nodiratime"), SHOW, Both),
            Case("tmpfs-sync", tmpfs("sync,dirsync"), SHOW, Both),
            Case("tmpfs-nosymfollow", tmpfs("nosymfollow"), SHOW, Runc("crun 1.8 does not know it")),
            Case("tmpfs-inodes", tmpfs("nr_inodes=10"), SHOW, Both),
            Case(
                "tmpfs-defaults",
                tmpfs("defaults,async,exec,suid,dev"),
                SHOW,
                Crun("runc hands the word defaults to the file system"),
            ),
            Case("tmpfs-unknown-option", tmpfs("nil=1"), SHOW, Both),
            Case("tmpfs-private", tmpfs("rprivate"), PEERS, Both),
            Case("tmpfs-shared", tmpfs("shared"), PEERS, Runc("crun loses it")),
            Case("tmpfs-slave", tmpfs("slave"), PEERS, Both),
            Case(
                "tmpfs-copy-up",
                one("/full", "tmpfs", "tmpcopyup"),
                "ls -lnR /full | awk '{print $1, $3, $4, $9}'; cat /full/f",
                Both,
            ),
            Case(
                "tmpfs-copy-up-ro",
                one("/full", "tmpfs", "tmpcopyup,ro"),
                "cat /full/f; touch /full/x 2>&1",
                Both,
            ),
            Case("unknown-type", one("/m", "nil", ""), SHOW, Both),
            Case("no-type", and_mounts(&[json!({"destination": "/m", "source": "x"})]), SHOW, Both),
            Case("type-none-without-bind", one("/m", "none", ""), SHOW, Both),
            Case(
                "destination-made",
                one("/a/b/c", "tmpfs", ""),
                "grep -c ' /a/b/c ' /proc/self/mountinfo",
                Both,
            ),
            Case("destination-relative", one("m", "tmpfs", ""), SHOW, Both),
            Case(
                "destination-link",
                one("/link", "tmpfs", ""),
                "grep -c ' /etc/dir ' /proc/self/mountinfo",
                Both,
            ),
            Case("destination-upwards", one("/etc/../m", "tmpfs", ""), SHOW, Both),
            Case("destination-file", one("/etc/passwd", "tmpfs", ""), SHOW, Both),
            Case("inside-proc", one("/proc/acpi", "tmpfs", ""), "true", Both),
            Case("mqueue", one("/m", "mqueue", "nosuid,nodev"), SHOW, Both),
            Case(
                "devpts",
                one("/m", "devpts", "newinstance,ptmxmode=0600,mode=0600,gid=7"),
                "ls -ln /m/ptmx | cut -c1-10",
                Both,
            ),
            Case(
                "proc-hidepid",
                one("/m", "proc", "hidepid=2"),
                "awk '$5 == \"/m\"' /proc/self/mountinfo | grep -c hidepid",
                Both,
            ),
            Case(
                "sysfs-rw",
                one("/m", "sysfs", "rw"),
                SHOW,
                Runc("a file system that is read-only already stays so"),
            ),
            Case(
                "dev-ro",
                json!({"mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"]}]}),
                "ls /dev | head -n3; touch /dev/x 2>&1",
                Crun("docker has /dev/core, too"),
            ),
            Case(
                "no-dev",
                json!({"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}),
                "ls /dev | head -n3",
                Crun("docker has /dev/core, too"),
            ),
            Case("no-mounts", json!({"mounts": []}), "ls /proc | wc -l", Crun("runc needs /proc inside")),
            Case(
                "cgroup",
                one("/m", "cgroup", "ro,nosuid,nodev,noexec"),
                "ls /m | grep -e ^memory -e ^pids; touch /m/pids/x 2>/dev/null; echo $?",
                Both,
            ),
        ],
    );
}

#[test]
fn binds() {
    compare(
        "mkdir -p /run/made/dir /run/made/below; echo data > /run/made/file; touch /run/made/dir/x; ln -s dir /run/made/link; mkdir /run/made/dir/sub; \
         mount -t tmpfs -o size=64k t /run/made/dir/sub; touch /run/made/dir/sub/f; mkdir /run/rootfs/m; chmod 755 /run/made",
        &[
            Case("bind", bind("/run/made/dir", "bind"), "ls /m /m/sub; touch /m/x && echo written", Both),
            Case("rbind", bind("/run/made/dir", "rbind"), "ls /m /m/sub", Both),
            Case(
                "bind-type-none",
                and_mounts(&[
                    json!({"destination": "/m", "type": "none", "source": "/run/made/dir", "options": ["bind"]}),
                ]),
                "ls /m",
                Both,
            ),
            Case(
                "bind-no-type",
                and_mounts(&[json!({"destination": "/m", "source": "/run/made/dir", "options": ["bind"]})]),
                "ls /m",
                Both,
            ),
            Case("bind-no-option", bind("/run/made/dir", ""), "ls /m", Both),
            Case(
                "bind-ro",
                bind("/run/made/dir", "rbind,ro"),
                "touch /m/x 2>&1; touch /m/sub/x 2>&1; true",
                Both,
            ),
            Case(
                "bind-rro",
                bind("/run/made/dir", "rbind,rro"),
                "touch /m/x 2>&1; touch /m/sub/x 2>&1; true",
                Both,
            ),
            Case(
                "bind-ro-rrw",
                bind("/run/made/dir", "rbind,ro,rrw"),
                "touch /m/x 2>&1; touch /m/sub/x 2>&1; true",
                Crun("what is for the top alone counts there"),
            ),
            Case(
                "bind-flags",
                bind("/run/made/dir", "rbind,nosuid,nodev,noexec"),
                "awk '$5 ~ \"^/m\" {print $5, $6}' /proc/self/mountinfo",
                Both,
            ),
            Case(
                "bind-recursive-flags",
                bind("/run/made/dir", "rbind,rnosuid,rnodev,rnoexec"),
                "awk '$5 ~ \"^/m\" {print $5, $6}' /proc/self/mountinfo",
                Both,
            ),
            Case(
                "bind-noatime",
                bind("/run/made/dir", "bind,noatime"),
                "awk '$5 ~ \"^/m\" {print $5, $6}' /proc/self/mountinfo",
                Both,
            ),
            Case(
                "bind-rnoatime",
                bind("/run/made/dir", "rbind,rnoatime"),
                "awk '$5 ~ \"^/m\" {print $5, $6}' /proc/self/mountinfo",
                Runc("crun 1.8 cannot"),
            ),
            Case(
                "bind-rw-dev",
                bind("/run/made/dir", "bind,rw,dev,exec,suid"),
                "awk '$5 ~ \"^/m\" {print $5, $6}' /proc/self/mountinfo",
                Both,
            ),
            Case(
                "bind-file",
                and_mounts(&[
                    json!({"destination": "/etc/new", "type": "bind", "source": "/run/made/file", "options": ["bind", "ro"]}),
                ]),
                "cat /etc/new; ls -l /etc/new | cut -c1-10; { echo > /etc/new; } 2>&1",
                Both,
            ),
            Case(
                "bind-file-over-file",
                and_mounts(&[
                    json!({"destination": "/etc/passwd", "type": "bind", "source": "/run/made/file", "options": ["bind"]}),
                ]),
                "cat /etc/passwd",
                Both,
            ),
            Case(
                "bind-directory-over-file",
                and_mounts(&[
                    json!({"destination": "/etc/passwd", "type": "bind", "source": "/run/made/dir", "options": ["bind"]}),
                ]),
                "ls /etc/passwd",
                Both,
            ),
            Case("bind-file-over-directory", bind("/run/made/file", "bind"), "cat /m", Both),
            Case("bind-link", bind("/run/made/link", "bind"), "ls /m", Both),
            Case("bind-source-missing", bind("/run/made/nil", "bind"), "ls /m", Both),
            Case(
                "bind-source-empty",
                bind("", "bind"),
                "ls /m",
                Crun("an empty path is no path; runc takes the working directory"),
            ),
            Case(
                "bind-deep",
                and_mounts(&[
                    json!({"destination": "/x/y/z", "type": "bind", "source": "/run/made/dir", "options": ["bind"]}),
                ]),
                "ls /x/y/z; ls -ld /x /x/y | cut -c1-10",
                Runc("crun gives the parents the mode of the source"),
            ),
            Case(
                "bind-unknown-option",
                bind("/run/made/dir", "bind,nil"),
                "ls /m",
                Neither("refused", "both leave it out silently"),
            ),
            Case(
                "bind-over-proc-file",
                and_mounts(&[
                    json!({"destination": "/proc/uptime", "type": "bind", "source": "/run/made/file", "options": ["bind"]}),
                ]),
                "cat /proc/uptime",
                Both,
            ),
            Case(
                "bind-over-another-proc-file",
                and_mounts(&[
                    json!({"destination": "/proc/version", "type": "bind", "source": "/run/made/file", "options": ["bind"]}),
                ]),
                "cat /proc/version",
                Crun("the configuration is the host's; runc has a list"),
            ),
            Case(
                "bind-over-proc-itself",
                and_mounts(&[
                    json!({"destination": "/proc", "type": "bind", "source": "/run/made/dir", "options": ["bind"]}),
                ]),
                "ls /proc",
                Crun("the configuration is the host's"),
            ),
            Case(
                "bind-idmap",
                bind("/run/made/dir", "bind,idmap"),
                "ls /m",
                Crun("runc 1.1 leaves it out silently; there are no ids to map to"),
            ),
        ],
    );
}

#[test]
fn propagation() {
    let all = |word: &str| bind("/run/made/shared", &format!("rbind,{word}"));
    let root = |word: &str| json!({"linux": {"rootfsPropagation": word}});
    const ROOT: &str = "awk '$5 == \"/\" {for (n = 7; $n != \"-\"; n++) {sub(\":.*\", \"\", $n); print $n}}' /proc/self/mountinfo";
    compare(
        "mkdir -p /run/made/shared/sub; mount -t tmpfs t /run/made/shared; mkdir /run/made/shared/sub; mount --make-shared /run/made/shared; \
         mount -t tmpfs t /run/made/shared/sub; mkdir /run/rootfs/m",
        &[
            Case(
                "none",
                bind("/run/made/shared", "rbind"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case(
                "private",
                all("private"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case("rprivate", all("rprivate"), PEERS, Both),
            Case(
                "slave",
                all("slave"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case(
                "rslave",
                all("rslave"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case(
                "shared",
                all("shared"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case(
                "rshared",
                all("rshared"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case(
                "unbindable",
                all("unbindable"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case(
                "runbindable",
                all("runbindable"),
                PEERS,
                Runc("crun makes everything private, and then what was asked for is lost"),
            ),
            Case("root-none", json!({}), ROOT, Both),
            Case("root-private", root("private"), ROOT, Both),
            Case("root-rprivate", root("rprivate"), ROOT, Both),
            Case("root-slave", root("slave"), ROOT, Both),
            Case("root-rslave", root("rslave"), ROOT, Both),
            Case("root-shared", root("shared"), ROOT, Crun("runc 1.1 makes the root private first")),
            Case("root-rshared", root("rshared"), ROOT, Crun("runc 1.1 makes the root private first")),
            Case("root-unbindable", root("unbindable"), ROOT, Crun("runc 1.1 makes the root private first")),
            Case("root-nil", root("nil"), ROOT, Runc("what is not known is refused")),
        ],
    );
}
