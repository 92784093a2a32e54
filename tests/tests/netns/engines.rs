//! Engines that use netns as their CNI plugin.

use tests::{Host, images, skip};

use crate::netns::container::quiet_host;

/// podman with its CNI backend, whose `bridge` and `portmap` are ours; the rest of its chain is Debian's.
const PODMAN: &str = r#"
set -e
umount /sys/fs/cgroup/unified 2> /dev/null || true
mkdir -p /run/plugins /run/cni-conf /run/store /run/run /run/tmp
cp -s /usr/lib/cni/* /run/plugins
for name in bridge portmap; do ln -sf "$(command -v netns)" /run/plugins/$name; done
cat > /run/containers.conf << 'END'
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["/run/plugins"]
network_config_dir = "/run/cni-conf"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
END
cat > /run/podman << 'END'
#!/bin/sh
CONTAINERS_CONF=/run/containers.conf exec podman --root /run/store --runroot /run/run --tmpdir /run/tmp \
    --storage-driver vfs "$@"
END
chmod +x /run/podman
tar -C "$ROOTFS" -c . | /run/podman import -q - localhost/busybox > /dev/null
"#;

fn has(host: &Host, program: &str) -> bool {
    host.sh(&format!("command -v {program}")).code == 0
}

#[test]
fn podmans_containers_have_their_network_from_us() {
    let host = quiet_host();
    if !has(&host, "podman") || host.sh("test -x /usr/lib/cni/firewall").code != 0 {
        skip!("podman or containernetworking-plugins is not installed");
    }
    let rootfs = std::env::temp_dir().join(format!("gocker-podman-{}", std::process::id()));
    images::busybox_rootfs(&rootfs);
    let prepared = host.run(&["env", &format!("ROOTFS={}", rootfs.display()), "sh", "-c", PODMAN]);
    host.run(&["rm", "-r", rootfs.to_str().unwrap()]).ok();
    prepared.ok();
    let run = "/run/podman run --rm --network podman localhost/busybox";
    let shown = host.sh(&format!("{run} ip -o -4 address show eth0")).ok();
    assert!(shown.contains(" 10.88."), "{shown}");
    host.sh(&format!("{run} ping -c1 -W5 10.88.0.1")).ok();
    host.sh("netns ls").prints("[]");
    // A published port, and the listing of who has it.
    host.sh("/run/podman run -d --name web -p 8080:80 localhost/busybox nc -ll -p 80 -e echo hello").ok();
    host.sh("pid=$(/run/podman inspect -f '{{.State.Pid}}' web)
        until grep -qs ':0050 ' /proc/$pid/net/tcp /proc/$pid/net/tcp6; do :; done
        busybox nc -w 5 127.0.0.1 8080 < /dev/null
        netns ls | jq -c '.[] | [.network, .portMappings[0].hostPort]'")
        .prints("hello\n[\"podman\",8080]");
    host.sh("/run/podman rm -f -t 0 web").ok();
    host.sh("netns ls").prints("[]");
    // What podman and Debian's plugins leave is not ours.
    std::mem::forget(host.settled());
}
