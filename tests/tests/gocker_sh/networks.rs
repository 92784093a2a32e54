//! Networks by docker's commands, and the volumes that go with a container.

use serde_json::Value;
use tests::{Host, Output};

fn gocker(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["gocker-sh"], words].concat())
}

#[test]
fn containers_of_a_network_find_each_other_by_name() {
    let host = Host::with_images();
    let id = gocker(&host, &["network", "create", "--subnet", "10.99.0.0/24", "inside"]).ok();
    assert_eq!(id.trim().len(), 64, "{id}");
    gocker(&host, &["run", "-d", "--name", "db", "--network", "inside", "busybox", "sleep", "1000"]).ok();
    for name in ["db", "alias"] {
        let run = [
            "run",
            "--rm",
            "--network",
            "inside",
            "--network-alias=other",
            "busybox",
            "ping",
            "-c1",
            "-w5",
            name,
        ];
        let expected = if name == "db" { 0 } else { 1 };
        gocker(&host, &run).code(expected);
    }
    gocker(
        &host,
        &["inspect", "-f", "{{.HostConfig.NetworkMode}} {{.NetworkSettings.Networks.inside.Gateway}}", "db"],
    )
    .prints("inside 10.99.0.1");
    gocker(&host, &["ps", "--format", "{{.Networks}}"]).prints("inside");
    let whole: Value = gocker(&host, &["network", "inspect", "inside"]).json();
    assert_eq!(whole[0]["IPAM"]["Config"][0]["Subnet"], "10.99.0.0/24", "{whole:#}");
    assert_eq!(whole[0]["IPAM"]["Config"][0]["Gateway"], "10.99.0.1", "{whole:#}");
    let members = whole[0]["Containers"].as_object().unwrap();
    assert_eq!(members.values().next().unwrap()["Name"], "db", "{whole:#}");
    gocker(&host, &["network", "rm", "inside"]).code(1).says("has active endpoints");
    gocker(&host, &["rename", "db", "store"]).ok();
    gocker(&host, &["restart", "-t0", "store"]).ok();
    gocker(&host, &["run", "--rm", "--network", "inside", "busybox", "ping", "-c1", "-w5", "store"]).code(0);
    gocker(&host, &["rm", "-f", "store"]).ok();
    gocker(&host, &["network", "rm", "inside"]).prints("inside");
    gocker(&host, &["run", "--rm", "--network", "inside", "busybox", "true"]).code(125);
}

#[test]
fn a_container_can_be_on_the_hosts_own_network() {
    let host = Host::with_images();
    host.sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
        ip link add lan0 type veth peer name lan1
        ip address add 192.168.50.1/24 dev lan1; ip link set lan0 up; ip link set lan1 up")
        .ok();
    let host = host.settled();
    let create = ["network", "create", "-d", "macvlan", "-o", "parent=lan0", "--subnet=192.168.50.0/24"];
    gocker(&host, &[&create[..], &["--ip-range=192.168.50.64/30", "lan"]].concat()).ok();
    gocker(&host, &["network", "ls", "-f", "driver=macvlan", "--format", "{{.Name}} {{.Driver}}"])
        .prints("lan macvlan");
    let lan = &gocker(&host, &["network", "inspect", "lan"]).json()[0];
    assert_eq!(
        (&lan["IPAM"]["Config"][0]["IPRange"], &lan["Options"]["parent"]),
        (&"192.168.50.64/30".into(), &"lan0".into())
    );
    gocker(
        &host,
        &["run", "-d", "--name", "box", "--network", "lan", "--ip=192.168.50.66", "busybox", "sleep", "1000"],
    )
    .ok();
    gocker(&host, &["inspect", "-f", "{{.NetworkSettings.Networks.lan.IPAddress}}", "box"])
        .prints("192.168.50.66");
    gocker(&host, &["exec", "box", "ping", "-qc1", "-w5", "192.168.50.1"]).ok();
    gocker(&host, &["rm", "-f", "box"]).ok();
    gocker(&host, &["network", "rm", "lan"]).prints("lan");
    gocker(&host, &["network", "create", "-d", "macvlan", "z"])
        .code(1)
        .says("a macvlan needs --opt parent=INTERFACE");
    gocker(&host, &["network", "create", "-o", "x=y", "z"]).code(1).says("cannot use option x=y");
}

#[test]
fn networks_are_listed_as_docker_lists_them() {
    let host = Host::with_images();
    gocker(&host, &["network", "create", "--internal", "web"]).ok();
    gocker(&host, &["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"])
        .prints("bridge bridge local\nhost host local\nnone null local\nweb bridge local");
    let table = gocker(&host, &["network", "ls"]).ok();
    assert!(table.starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"), "{table}");
    gocker(&host, &["network", "ls", "-f", "type=custom", "--format", "{{.Name}} {{.Internal}}"])
        .prints("web true");
    let id = gocker(&host, &["network", "ls", "-q", "-f", "name=web"]).ok();
    assert_eq!(id.trim().len(), 12, "{id}");
    gocker(&host, &["network", "inspect", "-f", "{{.Name}} {{.Internal}}", id.trim()]).prints("web true");
    gocker(&host, &["network", "create", "web"]).code(1).says("network with name web already exists");
    gocker(&host, &["network", "create", "-d", "nosuch", "x"]).code(1).says("could not find plugin nosuch");
    gocker(&host, &["network", "create", "a/b"]).code(1);
    gocker(&host, &["network", "rm", "bridge"])
        .code(1)
        .says("bridge is a pre-defined network and cannot be removed");
    gocker(&host, &["network", "rm", "nobody"]).code(1).says("network nobody not found");
    gocker(&host, &["network", "rm", "-f", "nobody"]).code(0);
    let missing = gocker(&host, &["network", "inspect", "nobody"]).code(1);
    assert_eq!(missing.stdout, "[]\n");
    gocker(&host, &["network", "prune", "-f"]).prints("Deleted Networks:\nweb");
    gocker(&host, &["network", "prune", "-f"]).prints("");
}

#[test]
fn a_container_can_share_the_network_of_another() {
    let host = Host::with_images();
    gocker(&host, &["run", "-d", "--name", "web", "busybox", "sleep", "1000"]).ok();
    let address = gocker(&host, &["exec", "web", "hostname", "-i"]).ok();
    let shared = ["run", "--rm", "--network", "container:web", "busybox", "sh", "-c"];
    let look =
        gocker(&host, &[&shared[..], &["ip -4 -o addr show eth0 | awk '{print $4}' | cut -d/ -f1"]].concat());
    look.prints(address.trim());
    for (words, what) in [
        (&["-p", "80"][..], "port publishing and the container type network mode"),
        (&["--hostname", "x"], "hostname and the network mode"),
        (&["--dns", "9.9.9.9"], "dns and the network mode"),
        (&["--add-host", "a:1.2.3.4"], "custom host-to-IP mapping and the network mode"),
    ] {
        gocker(&host, &[&["run", "--network=container:web"], words, &["busybox", "true"]].concat())
            .code(125)
            .says(&format!("conflicting options: {what}"));
    }
    gocker(&host, &["stop", "-t0", "web"]).ok();
    gocker(&host, &["run", "--rm", "--network=container:web", "busybox", "true"])
        .code(125)
        .says("cannot join network of a non running container");
    gocker(&host, &["run", "--rm", "--network=container:nobody", "busybox", "true"])
        .code(125)
        .says("No such container: nobody");
    gocker(&host, &["rm", "web"]).ok();
}

#[test]
fn exposed_ports_are_published_on_free_ones() {
    let host = Host::with_images();
    gocker(&host, &["run", "--name", "old", "--network=none", "busybox", "true"]).ok();
    gocker(&host, &["commit", "-c", "EXPOSE 80 53/udp", "old", "exposing"]).ok();
    gocker(&host, &["run", "-d", "-P", "--expose", "90", "--name", "web", "exposing", "sleep", "1000"]).ok();
    gocker(&host, &["inspect", "-f", "{{len .NetworkSettings.Ports}}", "web"]).prints("3");
    let ports = gocker(&host, &["port", "web"]).ok();
    for port in ["80/tcp -> 0.0.0.0:", "53/udp -> 0.0.0.0:", "90/tcp -> 0.0.0.0:"] {
        assert!(ports.contains(port), "{ports}");
    }
    gocker(&host, &["rm", "-f", "web", "old"]).ok();
    gocker(&host, &["rmi", "exposing"]).ok();
}

/// The names of all volumes.
fn volumes(host: &Host) -> Vec<String> {
    gocker(host, &["volume", "ls", "-q"]).ok().lines().map(str::to_owned).collect()
}

#[test]
fn volumes_without_a_name_go_with_their_container() {
    let host = Host::with_images();
    gocker(
        &host,
        &[
            "run",
            "--rm",
            "-v",
            "/etc",
            "--network=none",
            "busybox",
            "sh",
            "-c",
            "test -s /etc/passwd; touch /etc/x",
        ],
    )
    .code(0);
    assert!(volumes(&host).is_empty());
    // Kept with what was written, until rm -v.
    let options =
        ["run", "--name", "old", "--network=none", "-v", "/data", "--mount", "type=volume,dst=/more"];
    gocker(
        &host,
        &[&options[..], &["busybox", "sh", "-c", "cat /data/x; date > /data/x; df /more >/dev/null"]]
            .concat(),
    )
    .code(0);
    assert_eq!(volumes(&host).len(), 2);
    let again = gocker(&host, &["start", "-a", "old"]).ok();
    assert!(again.lines().count() == 1, "{again}");
    gocker(
        &host,
        &["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}};{{end}}{{.HostConfig.Binds}}", "old"],
    )
    .prints("volume /data;volume /more;[]");
    gocker(&host, &["rm", "-v", "old"]).ok();
    assert!(volumes(&host).is_empty());
    // Without -v they stay, and prune finds them; those with a name it leaves.
    gocker(
        &host,
        &["run", "--name", "old", "--network=none", "-v", "/data", "-v", "named:/n", "busybox", "true"],
    )
    .ok();
    gocker(&host, &["rm", "old"]).ok();
    let left = volumes(&host);
    assert_eq!(left.len(), 2);
    gocker(&host, &["volume", "prune", "-f"]).ok();
    assert_eq!(volumes(&host), ["named"]);
    gocker(&host, &["volume", "rm", "named"]).ok();
}

#[test]
fn what_an_image_declares_as_a_volume_is_one() {
    let host = Host::with_images();
    gocker(
        &host,
        &[
            "run",
            "--name",
            "old",
            "--network=none",
            "busybox",
            "sh",
            "-c",
            "mkdir /data; echo of the image > /data/file",
        ],
    )
    .ok();
    gocker(&host, &["commit", "-c", "VOLUME /data", "old", "keeping"]).ok();
    gocker(&host, &["rm", "old"]).ok();
    let run = |options: &[&str], command: &str| {
        gocker(&host, &[&["run", "--network=none"], options, &["keeping", "sh", "-c", command]].concat())
    };
    run(&["--rm"], "cat /data/file; grep -c ' /data ' /proc/mounts").prints("of the image\n1");
    assert!(volumes(&host).is_empty());
    // What somebody mounts there takes its place.
    run(&["--rm", "-v", "mine:/data/"], "echo mine > /data/file").code(0);
    assert_eq!(volumes(&host), ["mine"]);
    run(&["--rm", "--tmpfs", "/data"], "ls /data").prints("");
    // Detached, and once more: the same volume.
    run(&["-d", "--name", "web"], "echo more >> /data/file; sleep 1000").ok();
    host.sh("until gocker-sh exec web grep -q more /data/file; do :; done; gocker-sh restart -t0 web").ok();
    host.sh("until [ $(gocker-sh exec web grep -c more /data/file) = 2 ]; do :; done").ok();
    assert_eq!(volumes(&host).len(), 2);
    gocker(&host, &["rm", "-fv", "web"]).ok();
    assert_eq!(volumes(&host), ["mine"]);
    gocker(&host, &["volume", "rm", "mine"]).ok();
    gocker(&host, &["rmi", "keeping"]).ok();
}
