//! podman, docker and containerd with nsrun as their runtime, each with roots of its own on a throwaway host.
//!
//! Whatever becomes of a test, its engine ends with the host: daemons, monitors and containers are processes of that.

use tests::{Host, Output, bins, images, skip};

use super::{ROOTFS, host};

/// An engine whose command line is `/run/engine`, with the image localhost/busybox.
struct Engine {
    host: Host,
    /// How its daemon ends.
    stop: String,
}

impl Engine {
    /// `None`: a program that it takes is not installed.
    fn start(programs: &[&str], prepare: &str, stop: String) -> Option<Engine> {
        let host = host();
        if programs.iter().any(|program| host.run(&["which", program]).code != 0) {
            return None;
        }
        let words = [
            format!("NSRUN={}", bins::dir().join("nsrun").display()),
            format!("ROOTFS={ROOTFS}"),
            format!("LAYOUT={}", images::layouts().join("busybox").display()),
            format!("PARENT={}", host.cgroup_parent()),
            "HOME=/run/home".to_owned(),
        ];
        let mut line = vec!["env"];
        line.extend(words.iter().map(String::as_str));
        line.extend(["sh", "-ec", prepare]);
        host.run(&line).ok();
        Some(Engine { host, stop })
    }

    /// Its command line; `PARENT` in it is the cgroup that the host's containers live below.
    fn run(&self, line: &str) -> Output {
        self.host
            .sh(&format!("timeout 100 /run/engine {}", line.replace("PARENT", &self.host.cgroup_parent())))
    }

    /// Nothing of nsrun's is left; then the engine goes, with what is its own: interfaces and cgroups that it makes above
    /// those of its containers.
    fn end(self) {
        self.host.sh("ls /run/gocker/nsrun /run/records/default 2> /dev/null | grep -v :; true").prints("");
        let parent = self.host.cgroup_parent();
        self.host.sh(&self.stop).ok();
        self.host.sh(&format!(
            "find /sys/fs/cgroup -depth -path '*{parent}/*' -type d -exec rmdir {{}} + 2> /dev/null; true"
        ));
    }
}

const PODMAN: &str = r#"
mkdir -p /run/home /run/store /run/run /run/tmp
cat > /run/containers.conf << 'END'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
cat > /run/engine << END
#!/bin/sh
export HOME=/run/home TMPDIR=/run/tmp CONTAINERS_CONF=/run/containers.conf
exec podman --root /run/store --runroot /run/run --tmpdir /run/tmp --storage-driver vfs --runtime $NSRUN "\$@"
END
chmod +x /run/engine
tar -C "$ROOTFS" -c . | /run/engine import -q - localhost/busybox > /dev/null
"#;

#[test]
fn podman() {
    let Some(engine) =
        Engine::start(&["podman", "conmon"], PODMAN, "umount -R /run/store/* 2> /dev/null; true".to_owned())
    else {
        skip!("podman is not installed");
    };
    let run = |line: &str| engine.run(line);
    let new = "--network none --cgroup-parent PARENT";
    let hello = run(&format!("run --rm {new} localhost/busybox sh -c 'echo hello; exit 4'")).code(4);
    assert_eq!(hello.stdout, "hello\n");
    run(&format!("run --rm {new} localhost/busybox nil"))
        .code(127)
        .says("executable file not found in $PATH");
    run(&format!("run --rm {new} localhost/busybox /etc/passwd")).code(126).says("permission denied");
    run(&format!("run --rm {new} localhost/busybox /bin/nil")).code(127).says("No such file or directory");
    run(&format!("run -d -t -m 64m --name box {new} localhost/busybox sh -c 'echo up; exec sleep 1000'"))
        .ok();
    run("logs box").prints("up\r");
    run("exec box cat /proc/1/comm").prints("sleep");
    run("exec -u 1000 -w /tmp -e A=b box sh -c 'id -u; pwd; echo $A; exit 9'").code(9);
    run("exec -t box sh -c 'test -t 0 && echo terminal'").prints("terminal\r");
    run("exec box nil").code(127);
    run("pause box").ok();
    run("ps -a --format '{{.State}}'").prints("Paused");
    run("unpause box").ok();
    run("stats --no-stream --format '{{.PIDs}}' box").prints("1");
    run("top box comm").prints("COMMAND\nsleep");
    run("kill -s KILL box").ok();
    run("wait box").prints("137");
    run("start box").ok();
    run("stop -t 0 box").ok();
    run("rm -f box").ok();
    engine.end();
}

/// Its daemon, with nothing outside of /run.
const CONTAINERD: &str = r#"
mkdir -p /run/home /run/c
cat > /run/c.toml << 'END'
version = 2
root = "/run/c/root"
state = "/run/c/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/c/sock"
END
containerd -c /run/c.toml > /run/c/log 2>&1 < /dev/null &
echo $! > /run/c/pid
until ctr -a /run/c/sock version > /dev/null 2>&1; do kill -0 $(cat /run/c/pid) || { cat /run/c/log; exit 1; }; done
"#;

const CTR: &str = r#"
cat > /run/engine << END
#!/bin/sh
case \$1 in
    run) shift; exec ctr -a /run/c/sock run --snapshotter native --runc-binary $NSRUN --runc-root /run/records --cgroup "\$@" ;;
    *) exec ctr -a /run/c/sock "\$@" ;;
esac
END
chmod +x /run/engine
tar -C "$LAYOUT" -c . > /run/c/image.tar
/run/engine images import --snapshotter native --base-name localhost/busybox /run/c/image.tar > /dev/null
"#;

/// Ends the daemon whose pid is in this file.
fn ending(pid: &str) -> String {
    format!("kill $(cat {pid}); tail --pid=$(cat {pid}) -f /dev/null\n")
}

#[test]
fn containerd() {
    let prepare = [CONTAINERD, CTR].concat();
    let Some(engine) = Engine::start(&["containerd", "ctr"], &prepare, ending("/run/c/pid")) else {
        skip!("containerd is not installed");
    };
    let run = |line: &str| engine.run(line);
    let image = "localhost/busybox:latest";
    let hello = run(&format!("run PARENT/one --rm {image} one sh -c 'echo hello; exit 4'")).code(4);
    assert_eq!(hello.stdout, "hello\n");
    run(&format!("run PARENT/nil --rm {image} nil nil")).code(1).says("executable file not found in $PATH");
    run(&format!("run PARENT/two -d {image} two sleep 1000")).ok();
    run("tasks exec --exec-id e two echo in").prints("in");
    run("tasks exec --exec-id f two sh -c 'exit 5'").code(5);
    run("tasks pause two").ok();
    assert!(run("tasks ls").ok().contains("PAUSED"));
    run("tasks resume two").ok();
    assert!(run("tasks ls").ok().contains("RUNNING"));
    assert_eq!(run("tasks ps two").ok().lines().count(), 2);
    run("tasks metrics two").ok();
    run("tasks kill -s KILL two").ok();
    run("tasks rm -f two").ok();
    run("containers rm two").ok();
    engine.end();
}

const DOCKER: &str = r#"
mkdir -p /run/d
mount -t tmpfs none /etc/docker
dockerd --data-root /run/d/data --exec-root /run/d/exec --pidfile /run/d/pid -H unix:///run/d/sock --containerd /run/c/sock \
    --storage-driver vfs --iptables=false --ip-masq=false --userland-proxy=false --ip-forward=false --cgroup-parent "$PARENT" \
    --exec-opt native.cgroupdriver=cgroupfs --add-runtime nsrun=$NSRUN > /run/d/log 2>&1 < /dev/null &
echo $! > /run/d/first
cat > /run/engine << 'END'
#!/bin/sh
export HOME=/run/home
exec docker -H unix:///run/d/sock "$@"
END
chmod +x /run/engine
until /run/engine version > /dev/null 2>&1; do kill -0 $(cat /run/d/first) || { cat /run/d/log; exit 1; }; done
tar -C "$ROOTFS" -c . | /run/engine import - localhost/busybox > /dev/null
"#;

#[test]
fn docker() {
    let ends = [ending("/run/d/first"), ending("/run/c/pid")].concat();
    let stop = ends + "umount /etc/docker; ip link del docker0";
    let prepare = [CONTAINERD, DOCKER].concat();
    let Some(engine) = Engine::start(&["dockerd", "docker", "containerd"], &prepare, stop) else {
        skip!("docker.io is not installed");
    };
    let run = |line: &str| engine.run(line);
    let new = "--runtime nsrun";
    let hello = run(&format!("run --rm {new} localhost/busybox sh -c 'echo hello; exit 4'")).code(4);
    assert_eq!(hello.stdout, "hello\n");
    run(&format!("run --rm {new} localhost/busybox nil"))
        .code(127)
        .says("executable file not found in $PATH");
    run(&format!("run --rm {new} localhost/busybox /etc/passwd")).code(126).says("permission denied");
    run(&format!("run --rm {new} localhost/busybox /bin/nil")).code(127).says("no such file or directory");
    run(&format!("run -d -t -m 64m --name box {new} localhost/busybox sh -c 'echo up; exec sleep 1000'"))
        .ok();
    run("exec box cat /proc/1/comm").prints("sleep");
    // Its network has come by a prestart hook.
    run("exec box grep -c eth0: /proc/net/dev").prints("1");
    run("logs box").prints("up\r");
    run("exec -u 1000 -w /tmp -e A=b box sh -c 'id -u; pwd; echo $A; exit 9'").code(9);
    run("exec -t box sh -c 'test -t 0 && echo terminal'").prints("terminal\r");
    // As with runc.
    run("exec box nil").code(126);
    run("pause box").ok();
    run("inspect -f '{{.State.Status}}' box").prints("paused");
    run("unpause box").ok();
    run("update --memory 32m --memory-swap 64m box").ok();
    let stats = run("stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' box").ok();
    assert!(
        stats.starts_with("1 ")
            && stats.ends_with(
                " / 32MiB
"
            ),
        "{stats}"
    );
    assert!(run("top box -o pid,comm").ok().ends_with("sleep\n"));
    run("kill box").ok();
    run("wait box").prints("137");
    run("start box").ok();
    run("stop -t 0 box").ok();
    run("rm -f box").ok();
    engine.end();
}
