//! Every limit: refused by its reason, or in the kernel's files and in the document.

use serde_json::{Value, json};
use tests::{Disk, Host, schema};

use super::{TOOL, create, file, is_v1, text, undo};

/// Where a value is: the controller and the file on v1, the file on v2.
type Place<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn check(host: &Host, document: &Value, places: &[Place]) {
    for (controller, v1, expected1, v2, expected2) in places {
        let (controller, name, expected) = match document["cgroup"]["version"].as_i64() {
            Some(1) => (*controller, v1, expected1),
            _ => ("", v2, expected2),
        };
        assert_eq!(file(host, document, controller, name), **expected, "{name}");
    }
}

#[test]
fn flags_and_their_resources_are_the_same_on_both_versions() {
    let host = Host::new();
    let document = create(
        &host,
        &[
            "-m64m",
            "--memory-swap=64m",
            "--memory-reservation=32m",
            "--cpu-quota=20000",
            "--cpu-period=50000",
            "--cpu-burst=1000",
            "-c512",
            "--cpuset-cpus=0",
            "--cpuset-mems=0",
            "--pids-limit=20",
        ],
    );
    schema::check(&document, "cgroup");
    let expected = json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 64 << 20},
        "cpu": {"shares": 512, "quota": 20000, "burst": 1000, "period": 50000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 20}});
    assert_eq!(document["cgroup"]["resources"], expected);
    check(
        &host,
        &document,
        &[
            ("memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
            ("memory", "memory.memsw.limit_in_bytes", "67108864", "memory.swap.max", "0"),
            ("memory", "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"),
            ("cpu", "cpu.cfs_quota_us", "20000", "cpu.max", "20000 50000"),
            ("cpu", "cpu.cfs_burst_us", "1000", "cpu.max.burst", "1000"),
            ("cpu", "cpu.shares", "512", "cpu.weight", "59"),
            ("cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
            ("pids", "pids.max", "20", "pids.max", "20"),
        ],
    );
    // Each of them can be changed.
    let id = text(&document, "/id");
    let words = ["set", id, "-m128m", "--memory-swap=-1", "--cpus=1.5", "--cpuset-cpus=0", "--pids-limit=30"];
    host.run(&[&[TOOL], &words[..]].concat()).prints("");
    check(
        &host,
        &document,
        &[
            ("memory", "memory.limit_in_bytes", "134217728", "memory.max", "134217728"),
            ("memory", "memory.memsw.limit_in_bytes", "9223372036854771712", "memory.swap.max", "max"),
            ("cpu", "cpu.cfs_quota_us", "150000", "cpu.max", "150000 100000"),
            ("pids", "pids.max", "30", "pids.max", "30"),
        ],
    );
    undo(&host, &document);
    host.assert_clean();
}

#[test]
fn a_period_and_a_quota_are_changed_one_at_a_time() {
    let host = Host::new();
    let document = create(&host, &["--cpu-quota=20000", "--cpu-period=50000"]);
    let id = text(&document, "/id");
    let now = |quota: &str, period: &str| {
        let both = format!("{quota} {period}");
        check(
            &host,
            &document,
            &[
                ("cpu", "cpu.cfs_quota_us", quota, "cpu.max", &both),
                ("cpu", "cpu.cfs_period_us", period, "cpu.max", &both),
            ],
        );
    };
    host.run(&[TOOL, "set", id, "--cpu-period=100000"]).prints("");
    now("20000", "100000");
    host.run(&[TOOL, "set", id, "--cpu-quota=30000"]).prints("");
    now("30000", "100000");
    undo(&host, &document);
}

#[test]
fn an_idle_group_keeps_the_shares_that_it_had() {
    let host = Host::new();
    let document = create(&host, &["--cpu-idle", "-c2048"]);
    assert_eq!(document["cgroup"]["resources"]["cpu"], json!({"shares": 2048, "idle": 1}));
    check(&host, &document, &[("cpu", "cpu.idle", "1", "cpu.idle", "1")]);
    undo(&host, &document);
}

#[test]
fn what_one_version_lacks_is_refused_there() {
    let host = Host::new();
    let v1 = is_v1(&host);
    let on_v1 = [
        (
            &["--memory-high=64m"][..],
            "cgctl: cannot limit a raw value to 67108864: the kernel has no memory.high\n",
        ),
        (&["--oom-group"], "cgctl: cannot limit a raw value to 1: the kernel has no memory.oom.group\n"),
        (
            &["--set=memory.nosuch=1"],
            "cgctl: cannot limit a raw value to 1: the kernel has no memory.nosuch\n",
        ),
    ];
    let on_v2 = [
        (&["--memory-swappiness=10"][..], "cgctl: cannot set swappiness: cgroup v2 has none: "),
        (&["--oom-kill-disable", "-m64m"], "cgctl: cannot set the OOM killer off: cgroup v2 has none: "),
        (
            &["--set=memory.nosuch=1"],
            "cgctl: cannot limit a raw value to 1: the kernel has no memory.nosuch\n",
        ),
    ];
    for (words, said) in if v1 { &on_v1[..] } else { &on_v2[..] } {
        host.run(&[&[TOOL], *words].concat()).code(1).says(said);
        host.assert_clean();
    }
    let hugetlb = tests::snapshot::cgroup_roots().iter().any(|root| root.ends_with("/hugetlb"));
    if v1 && !hugetlb {
        host.run(&[TOOL, "--hugetlb=2MB=0"])
            .code(1)
            .says("cgctl: cannot limit huge pages: cgroup v1: there is no hugetlb controller\n");
    }
    let bfq = std::path::Path::new("/sys/fs/cgroup/blkio/blkio.bfq.io_service_bytes").exists();
    if v1 && !bfq {
        host.run(&[TOOL, "--blkio-weight=500"]).code(1).says(
            ": the kernel has no blkio.bfq.weight\n  hint: weights need the io scheduler bfq: modprobe bfq\n",
        );
    }
    let (words, places): (&[&str], &[Place]) = if v1 {
        (
            &["--memory-swappiness=10", "--oom-kill-disable", "-m64m", "--set=memory.soft_limit_in_bytes=1M"],
            &[
                ("memory", "memory.swappiness", "10", "", ""),
                ("memory", "memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0", "", ""),
                ("memory", "memory.soft_limit_in_bytes", "1048576", "", ""),
            ],
        )
    } else {
        (
            &["--memory-high=64m", "--oom-group", "--set=memory.min=1M"],
            &[
                ("", "", "", "memory.high", "67108864"),
                ("", "", "", "memory.oom.group", "1"),
                ("", "", "", "memory.min", "1048576"),
            ],
        )
    };
    let document = create(&host, words);
    check(&host, &document, places);
    undo(&host, &document);
}

#[test]
fn a_limit_that_the_group_has_no_controller_for_cannot_be_set_later() {
    let host = Host::new();
    if !is_v1(&host) {
        tests::skip!("on cgroup v2 every group may get every controller later");
    }
    let document = create(&host, &[]);
    host.run(&[TOOL, "set", text(&document, "/id"), "--cpuset-cpus=0"])
        .code(1)
        .says(" was made without the cpuset controller\n  hint: make the group with that limit, ");
    undo(&host, &document);
}

#[test]
fn only_the_devices_of_a_container_and_those_named_can_be_opened() {
    let host = Host::new();
    devices(&host);
    host.assert_clean();
}

/// On a hybrid host the v2 hierarchy can decide about devices, too: by a program, as it has no files for them.
#[test]
fn where_only_cgroup2_is_mounted_a_program_decides_about_devices() {
    let host = Host::new();
    if host.sh("grep -q ' - cgroup2 ' /proc/self/mountinfo").code != 0 {
        tests::skip!("there is no cgroup v2 hierarchy");
    }
    host.sh("for m in $(findmnt -n -l -t cgroup -o TARGET); do umount $m; done").ok();
    let host = host.settled();
    devices(&host);
    host.assert_clean();
}

fn devices(host: &Host) {
    host.sh("mknod /run/kmsg c 1 11; mknod /run/zero c 1 5; mknod /run/tun c 10 200").ok();
    let tries = "for device in null kmsg zero; do
            [ $device = null ] && path=/dev/null || path=/run/$device
            (true < $path) 2> /dev/null && echo read $device
            (true > $path) 2> /dev/null && echo write $device
        done; mknod /run/new b 7 0 && echo made && rm /run/new; true";
    let document = create(host, &["--default-devices"]);
    schema::check(&document, "cgroup");
    let id = text(&document, "/id").to_owned();
    let inside = || host.run(&[TOOL, "exec", &id, "--", "sh", "-c", tries]);
    inside().prints("read null\nwrite null\nread zero\nwrite zero\nmade");
    host.run(&[TOOL, "set", &id, "--device-cgroup-rule=c 1:11 r"]).prints("");
    inside().prints("read null\nwrite null\nread kmsg\nread zero\nwrite zero\nmade");
    let all = r#"{"devices":[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":5,"access":"w"}]}"#;
    host.feed(&[TOOL, "set", &id, "--resources=-"], all).prints("");
    inside().prints("read null\nwrite null\nread kmsg\nwrite kmsg\nread zero\nmade");
    host.feed(&[TOOL, "set", &id, "--resources=-"], r#"{"devices":[{"allow":false}]}"#).prints("");
    inside().prints("read null\nwrite null\nread zero\nwrite zero\nmade");
    host.run(&[TOOL, "undo", &id]).ok();
    host.sh("rm /run/kmsg /run/zero /run/tun").ok();
}

#[test]
fn io_is_limited_by_the_paths_of_devices() {
    let host = Host::new();
    if is_v1(&host) && !std::path::Path::new("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device").exists() {
        tests::skip!("there is no blkio controller");
    }
    let Some(disk) = Disk::new(&host) else { tests::skip!("there is no loop device") };
    let (device, number) = (&disk.path, &disk.number);
    let words = [
        format!("--device-read-bps={device}:1m"),
        format!("--device-write-bps={device}:2m"),
        format!("--device-read-iops={device}:30"),
    ];
    let document = create(&host, &words.each_ref().map(String::as_str));
    schema::check(&document, "cgroup");
    let rate = document["cgroup"]["resources"]["blockIO"]["throttleWriteBpsDevice"][0]["rate"].as_i64();
    assert_eq!(rate, Some(2 << 20), "{document}");
    let all = format!("{number} rbps=1048576 wbps=2097152 riops=30 wiops=max");
    check(
        &host,
        &document,
        &[
            ("blkio", "blkio.throttle.read_bps_device", &format!("{number} 1048576"), "io.max", &all),
            ("blkio", "blkio.throttle.read_iops_device", &format!("{number} 30"), "io.max", &all),
        ],
    );
    host.run(&[TOOL, "set", text(&document, "/id"), &format!("--device-read-bps={device}:0")]).prints("");
    let all = all.replace("rbps=1048576", "rbps=max");
    check(&host, &document, &[("blkio", "blkio.throttle.read_bps_device", "", "io.max", &all)]);
    undo(&host, &document);
    host.run(&[TOOL, "--device-read-bps=/dev/null:1m"])
        .fails(1, "cgctl: cannot limit io of /dev/null: it is no block device\n");
    host.run(&[TOOL, "--device-read-bps=/dev/nosuch:1m"])
        .fails(1, "cgctl: cannot limit io of /dev/nosuch: No such file or directory (os error 2)\n");
}
