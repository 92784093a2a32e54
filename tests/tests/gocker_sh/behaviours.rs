//! What docker's documentation says of its commands, one line each: the command, its exit code, and what it prints.
//! Those that need more than a line are tests of their own beside this file.

use tests::Host;

/// `gocker-sh` and these words, in a shell: the exit code, stdout to its last newline, a part of stderr.
type Behaviour = (&'static str, i32, &'static str, &'static str);

/// docker run: exit status, command, entrypoint, environment, user, directory, names, network, mounts, limits.
const RUN: [Behaviour; 62] = [
    ("run --rm busybox true", 0, "", ""),
    ("run --rm busybox false", 1, "", ""),
    ("run --rm busybox sh -c 'exit 42'", 42, "", ""),
    ("run --rm --foo busybox", 125, "", "unexpected argument '--foo'"),
    ("run --rm busybox /etc", 126, "", ""),
    ("run --rm busybox foo", 127, "", "foo"),
    ("run --rm busybox echo a b", 0, "a b", ""),
    ("run --rm busybox echo 'a b'", 0, "a b", ""),
    ("run --rm busybox sh -c 'echo err >&2'", 0, "", "err"),
    ("run --rm --entrypoint echo busybox x", 0, "x", ""),
    ("run --rm --entrypoint /bin/echo busybox", 0, "", ""),
    ("run --rm -e A=b busybox sh -c 'echo $A'", 0, "b", ""),
    ("run --rm --env A=b=c busybox sh -c 'echo $A'", 0, "b=c", ""),
    ("run --rm -e A=1 -e A=2 busybox sh -c 'echo $A'", 0, "2", ""),
    ("run --rm -e HOME busybox sh -c 'echo $HOME'", 0, "/root", ""),
    ("run --rm -e NOT_SET_HERE busybox sh -c 'echo ${NOT_SET_HERE-unset}'", 0, "unset", ""),
    ("run --rm busybox sh -c 'echo $HOME'", 0, "/root", ""),
    ("run --rm busybox sh -c 'echo ${GOCKER_CGROUP_PARENT-unset}'", 0, "unset", ""),
    ("run --rm busybox sh -c 'echo ${TERM-unset}'", 0, "unset", ""),
    ("run --rm -w /x/y busybox pwd", 0, "/x/y", ""),
    ("run --rm --workdir=/tmp busybox pwd", 0, "/tmp", ""),
    ("run --rm -u 1000 busybox id -u", 0, "1000", ""),
    ("run --rm -u 1000:100 busybox id -g", 0, "100", ""),
    ("run --rm -u nobody-here busybox id", 125, "", "nobody-here"),
    ("run --rm -h box busybox hostname", 0, "box", ""),
    ("run --rm --hostname box busybox cat /etc/hostname", 0, "box", ""),
    ("run --rm --name a busybox true", 125, "", "Invalid container name (a)"),
    ("run --rm --name=-x busybox true", 125, "", "Invalid container name"),
    ("run --rm --network none busybox ls /sys/class/net", 0, "lo", ""),
    ("run --rm --net none busybox ls /sys/class/net", 0, "lo", ""),
    ("run --rm busybox sh -c 'ls /sys/class/net | tr \"\\n\" \" \"'", 0, "eth0 lo ", ""),
    ("run --rm busybox sh -c 'ip route | head -1 | cut -d\" \" -f1-3'", 0, "default via 172.29.0.1", ""),
    ("run --rm --add-host db:10.1.2.3 busybox grep db /etc/hosts", 0, "10.1.2.3\tdb", ""),
    ("run --rm --dns 9.9.9.9 busybox grep nameserver /etc/resolv.conf", 0, "nameserver 9.9.9.9", ""),
    ("run --rm --dns-search example.org busybox grep search /etc/resolv.conf", 0, "search example.org", ""),
    ("run --rm --read-only busybox touch /x", 1, "", "Read-only file system"),
    ("run --rm --read-only --tmpfs /run busybox touch /run/x", 0, "", ""),
    ("run --rm --tmpfs /scratch busybox sh -c 'grep -c \" /scratch tmpfs \" /proc/mounts'", 0, "1", ""),
    ("run --rm --shm-size 1m busybox sh -c 'df -k /dev/shm | tail -1 | awk \"{print \\$2}\"'", 0, "1024", ""),
    ("run --rm -v /etc:/host:ro busybox sh -c 'touch /host/x'", 1, "", "Read-only file system"),
    (
        "run --rm --mount type=bind,src=/etc,dst=/host,ro busybox sh -c 'touch /host/x'",
        1,
        "",
        "Read-only file system",
    ),
    ("run --rm --mount type=bind,src=/no/such,dst=/host busybox true", 125, "", "/no/such"),
    ("run --rm -v relative busybox true", 125, "", "relative"),
    ("run --rm busybox sh -c 'grep CapEff /proc/self/status'", 0, "CapEff:\t00000000a80425fb", ""),
    (
        "run --rm --cap-drop ALL busybox sh -c 'grep CapEff /proc/self/status'",
        0,
        "CapEff:\t0000000000000000",
        "",
    ),
    (
        "run --rm --cap-drop ALL --cap-add CHOWN busybox sh -c 'grep CapEff /proc/self/status'",
        0,
        "CapEff:\t0000000000000001",
        "",
    ),
    ("run --rm --cap-add FROB busybox true", 125, "", "FROB"),
    (
        "run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status",
        0,
        "NoNewPrivs:\t1",
        "",
    ),
    ("run --rm busybox sh -c 'echo > /proc/sys/kernel/domainname'", 1, "", "Read-only file system"),
    ("run --rm --ulimit nofile=64:64 busybox sh -c 'ulimit -n'", 0, "64", ""),
    ("run --rm --sysctl net.ipv4.ip_forward=1 busybox cat /proc/sys/net/ipv4/ip_forward", 0, "1", ""),
    ("run --rm busybox sh -c 'echo $$'", 0, "1", ""),
    ("run --rm --init busybox sh -c 'test $$ -gt 1'", 0, "", ""),
    (
        "run --rm --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'",
        2,
        "",
        "can't fork",
    ),
    ("run --rm -m 1 busybox true", 125, "", "cgctl"),
    ("run --rm --memory-swap 1g busybox true", 125, "", "always set the Memory limit"),
    ("run --rm --pull never absent true", 125, "", "absent"),
    ("run --rm busybox cat", 0, "", ""),
    ("run -i --rm busybox cat < /etc/hostname > /dev/null", 0, "", ""),
    ("run --rm -it busybox true", 125, "", "stdin is not a terminal"),
    ("run --restart always busybox true", 125, "", "systemd"),
    ("run", 125, "", "image is needed"),
];

/// The other commands, on nothing and on one container `web` that runs and one `old` that has ended with 3.
const OTHERS: [Behaviour; 66] = [
    ("ps --format '{{.Names}}'", 0, "web", ""),
    ("ps -a --format '{{.Names}}'", 0, "old\nweb", ""),
    ("ps -aq --filter name=old | wc -c", 0, "13", ""),
    ("ps -aq --no-trunc --filter name=old | wc -c", 0, "65", ""),
    ("ps -l --format '{{.Names}}'", 0, "old", ""),
    ("ps -n 1 --format '{{.Names}}'", 0, "old", ""),
    ("ps --filter status=exited --format '{{.Names}}'", 0, "old", ""),
    ("ps -a --filter exited=3 --format '{{.Names}}'", 0, "old", ""),
    ("ps -a --filter exited=0 --format '{{.Names}}'", 0, "", ""),
    ("ps -a --filter label=tier=front --format '{{.Names}}'", 0, "web", ""),
    ("ps -a --filter ancestor=busybox --format '{{.Names}}'", 0, "old\nweb", ""),
    ("ps -a --filter before=old --format '{{.Names}}'", 0, "web", ""),
    ("ps -a --filter since=web --format '{{.Names}}'", 0, "old", ""),
    ("ps -a --filter network=none --format '{{.Names}}'", 0, "", ""),
    ("ps --filter frob=x", 1, "", "invalid filter 'frob'"),
    (
        "ps -a --format '{{.Image}} {{.Command}} {{.State}}'",
        0,
        "busybox \"sh -c 'exit 3'\" exited\nbusybox \"sleep 1000\" running",
        "",
    ),
    ("ps --format json | jq -r .Names", 0, "web", ""),
    ("ps -a --json | jq -r '.[].name'", 0, "old\nweb", ""),
    ("ps --format 'table {{.Names}}'", 0, "NAMES\nweb", ""),
    ("ps --format '{{.Label \"tier\"}}'", 0, "front", ""),
    ("container ls --format '{{.Names}}'", 0, "web", ""),
    ("inspect -f '{{.State.ExitCode}}' old", 0, "3", ""),
    ("inspect -f '{{.State.Status}}' web", 0, "running", ""),
    ("inspect -f '{{.Name}}' web", 0, "/web", ""),
    ("inspect -f '{{json .Config.Cmd}}' web", 0, "[\"sleep\",\"1000\"]", ""),
    ("inspect -f '{{.HostConfig.NetworkMode}}' web", 0, "bridge", ""),
    ("inspect -f '{{range .Config.Env}}{{.}};{{end}}' web | cut -d';' -f1", 0, "A=b", ""),
    ("inspect -f '{{.Frob}}' web", 1, "", "no field .Frob"),
    ("inspect nobody | tr -d '\\n'", 0, "[]", "No such object: nobody"),
    ("inspect nobody", 1, "[]", "No such object: nobody"),
    ("logs web", 0, "", ""),
    ("logs nobody", 1, "", "No such container: nobody"),
    ("logs old", 1, "", "foreground"),
    ("exec web echo in", 0, "in", ""),
    ("exec web sh -c 'exit 5'", 5, "", ""),
    ("exec web no-such", 127, "", "no-such"),
    ("exec web /etc", 126, "", ""),
    ("exec -e X=y web sh -c 'echo $A$X'", 0, "by", ""),
    ("exec -w /tmp web pwd", 0, "/tmp", ""),
    ("exec -u 7 web id -u", 0, "7", ""),
    ("exec old true", 125, "", "is not running"),
    ("exec nobody true", 125, "", "No such container: nobody"),
    ("exec web", 125, "", ""),
    ("top web -o pid,args | tail -1 | grep -o sleep.*", 0, "sleep 1000", ""),
    ("top old", 1, "", "is not running"),
    ("port web", 0, "", ""),
    ("port web 80", 1, "", "no public port '80/tcp' published for web"),
    ("diff web | grep -cv '^[ACD] /'", 1, "0", ""),
    ("cp web:/etc/passwd /dev/null/x", 1, "", "/dev/null"),
    ("rm web", 1, "", "container is running: stop the container before removing or force remove"),
    ("rm nobody", 1, "", "No such container: nobody"),
    ("rm -f nobody", 0, "", "No such container: nobody"),
    ("rename old web", 1, "", "The container name \"/web\" is already in use by container"),
    ("kill old", 1, "", "is not running"),
    ("kill -s FROB web", 1, "", "Invalid signal: FROB"),
    ("stop nobody", 1, "", "No such container: nobody"),
    ("stop old", 0, "old", ""),
    ("start web", 0, "web", ""),
    ("wait old", 0, "3", ""),
    ("unpause web", 1, "", "is not paused"),
    ("attach old", 1, "", "You cannot attach to a stopped container"),
    ("stats --no-stream --format '{{.Name}}'", 0, "web", ""),
    (
        "run --name web busybox true",
        125,
        "",
        "You have to remove (or rename) that container to be able to reuse that name.",
    ),
    (
        "rmi busybox",
        1,
        "",
        "conflict: unable to remove repository reference \"busybox\" (must force) - container",
    ),
    ("build .", 1, "", "buildah"),
    ("frob", 1, "", "'frob' is not a gocker-sh command."),
];

fn check(host: &Host, behaviours: &[Behaviour]) {
    let mut wrong = Vec::new();
    for (words, code, stdout, stderr) in behaviours {
        let output = host.sh(&format!("gocker-sh {words}"));
        let same = output.code == *code
            && output.stdout.trim_end_matches('\n') == *stdout
            && output.stderr.contains(stderr);
        if !same {
            wrong.push(format!("expected {code} {stdout:?} {stderr:?}\n{output}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), behaviours.len(), wrong.join("\n"));
}

#[test]
fn run_behaves_as_dockers() {
    let host = Host::with_images();
    check(&host, &RUN);
}

#[test]
fn the_other_commands_behave_as_dockers() {
    let host = Host::with_images();
    host.sh("gocker-sh run -d --name web -l tier=front -e A=b busybox sleep 1000").ok();
    host.sh("gocker-sh run --name old busybox sh -c 'exit 3'").code(3);
    check(&host, &OTHERS);
    host.sh("gocker-sh rm -f web old").ok();
}
