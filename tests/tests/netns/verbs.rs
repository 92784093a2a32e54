//! `undo`, `ls`, `exec`.

use serde_json::json;
use tests::{Host, new_id};

use crate::netns::container::{Container, host_with_ip_netns};

#[test]
fn undo_is_idempotent_and_needs_nothing_but_the_id() {
    let host = host_with_ip_netns();
    let one = Container::new(&host, &[]);
    one.undo(&host);
    one.undo(&host);
    host.run(&["netns", "undo", &new_id()]).prints("");
    host.assert_clean();
    // Remains of every kind.
    let id = new_id();
    let short = &id[..12];
    for remains in [
        format!("touch /run/gocker/netns/{id}"),
        format!("touch /run/netns/gocker-{short}"),
        format!("ip netns add gocker-{short}"),
        format!(
            "ip netns add gocker-{short}; umount /run/netns/gocker-{short}; touch /run/gocker/netns/{id}"
        ),
    ] {
        host.sh(&remains).ok();
        host.run(&["netns", "undo", &id]).prints("");
        host.assert_clean();
    }
}

#[test]
fn undo_shows_what_it_does() {
    let host = Host::new();
    let one = Container::new(&host, &["--network=none"]);
    let output = host.run(&["netns", "undo", "-v", &one.id]);
    assert_eq!(output.stderr, format!("+ ip netns delete {}\n", one.name()));
    output.ok();
}

#[test]
fn ls_lists_what_is_there() {
    let host = Host::new();
    host.run(&["netns", "ls"]).prints("[]");
    let one = Container::new(&host, &[]);
    let none = Container::new(&host, &["--network=none"]);
    let broken = new_id();
    host.sh(&format!("touch /run/gocker/netns/{broken}; touch /run/gocker/netns/nonsense")).ok();
    let mut expected = vec![
        json!({
            "id": one.id,
            "netns": format!("/run/netns/{}", one.name()),
            "network": "bridge",
            "interface": one.interface(),
            "address": one.address(),
        }),
        json!({"id": none.id, "netns": format!("/run/netns/{}", none.name())}),
        json!({"id": broken}),
    ];
    expected.sort_by_key(|entry| entry["id"].as_str().unwrap().to_owned());
    assert_eq!(host.run(&["netns", "ls"]).json(), json!(expected));
    host.sh(&format!("rm /run/gocker/netns/nonsense; netns undo {broken}")).ok();
    one.undo(&host);
    none.undo(&host);
}

#[test]
fn two_run_roots_do_not_list_each_others() {
    let host = Host::new();
    let one = Container::new(&host, &["--run-root=/run/other"]);
    host.run(&["netns", "ls"]).prints("[]");
    let listed = host.run(&["netns", "--run-root=/run/other", "ls"]).json();
    assert_eq!(listed[0]["id"], one.id);
    host.run(&["netns", "undo", "--run-root=/run/other", &one.id]).prints("");
}

#[test]
fn exec_runs_a_program_in_there() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let address = |namespace: &str| {
        host.run(&["netns", "exec", namespace, "--", "ip", "-o", "-4", "address", "show", "eth0"]).ok()
    };
    let shown = address(&one.id);
    assert!(shown.contains(&format!(" {}/16 ", one.address())), "{shown}");
    assert_eq!(address(&one.id[..12]), shown);
    assert_eq!(address(&one.name()), shown);
    host.run(&["netns", "exec", &one.id, "--", "sh", "-c", "exit 7"]).code(7);
    host.run(&["netns", "exec", &one.id, "--", "nonsense"])
        .fails(127, "netns: cannot execute nonsense: execve: No such file or directory (os error 2)\n");
    host.run(&["netns", "exec", &one.id, "--", "/etc/passwd"])
        .fails(126, "netns: cannot execute /etc/passwd: execve: Permission denied (os error 13)\n");
    host.run(&["netns", "exec", "nonsense", "--", "true"]).fails(
        1,
        "netns: cannot open /run/netns/nonsense: No such file or directory (os error 2)\n  \
         hint: netns ls and ip netns list show what there is\n",
    );
    host.run(&["netns", "exec", &one.id]).code(2);
    one.undo(&host);
}

#[test]
fn exec_puts_the_files_of_etc_netns_in_the_place_of_etcs() {
    let host = Host::new();
    let one = Container::new(&host, &["--network=none"]);
    // The machine's own /etc is not to be written to.
    host.sh(&format!(
        "set -e
        mkdir -p /run/upper /run/work
        mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work overlay /etc
        mkdir -p /etc/netns/{0}
        echo 'nameserver 192.0.2.53' > /etc/netns/{0}/resolv.conf",
        one.name()
    ))
    .ok();
    let outside = host.sh("cat /etc/resolv.conf").ok();
    for name in [&one.id, &one.name()] {
        host.run(&["netns", "exec", name, "--", "cat", "/etc/resolv.conf"]).prints("nameserver 192.0.2.53");
    }
    host.run(&["ip", "netns", "exec", &one.name(), "cat", "/etc/resolv.conf"])
        .prints("nameserver 192.0.2.53");
    assert_eq!(host.sh("cat /etc/resolv.conf").ok(), outside);
    host.sh(&format!("echo x > /etc/netns/{}/nonsense", one.name())).ok();
    host.run(&["netns", "exec", &one.id, "--", "true"]).fails(
        1,
        &format!(
            "netns: cannot bind /etc/netns/{}/nonsense to /etc/nonsense: mount: ENOENT: No such file or directory\n",
            one.name()
        ),
    );
    host.sh("umount /etc; rm -r /run/upper /run/work").ok();
    one.undo(&host);
}

#[test]
fn a_namespace_in_use_lives_on_without_its_name() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let mut running =
        host.start(&["netns", "exec", &one.id, "--", "sh", "-c", "echo ready; read -r end; true"]);
    running.wait_for_line("ready");
    one.undo(&host);
    // Its address is still its own.
    let error = host.run(&["netns", "--ip", one.address()]);
    error.fails(1, &format!("netns: cannot lease address {}: {} has it\n", one.address(), one.interface()));
    running.end().ok();
    host.assert_clean();
    Container::new(&host, &["--ip", one.address()]).undo(&host);
}
