//! docker and podman that keep images, and run nothing: all that they write is on the throwaway host.

use crate::{Host, Output};

/// Their stores, and tmpfs where they would write to the machine.
const PREPARE: &str = "
    mkdir -p /run/engines/home
    for dir in /etc/docker /var/tmp /var/lib/containers; do
        test ! -d $dir || mount -t tmpfs tmpfs $dir
    done";

const START_DOCKER: &str = "
    cd /run/engines
    dockerd --bridge none --iptables=false --ip-forward=false --storage-driver overlay2 --data-root $PWD/docker \\
        --exec-root $PWD/exec --pidfile $PWD/pid -H unix://$PWD/sock > log 2>&1 < /dev/null &
    until docker -H unix://$PWD/sock version > /dev/null 2>&1; do kill -0 $! || { cat log >&2; exit 1; }; done";

const END: &str = "
    pid=$(cat /run/engines/pid 2> /dev/null) && kill $pid && tail --pid=$pid -f /dev/null
    for dir in /etc/docker /var/tmp /var/lib/containers; do umount $dir; done 2> /dev/null
    umount -R /run/engines/podman/overlay 2> /dev/null
    ip link del docker0 2> /dev/null; true";

/// An engine on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// With a daemon, which [`Engines::start`] starts.
    Docker,
    Podman,
}

impl Engine {
    /// The beginning of its command line, for a shell.
    pub fn words(self) -> &'static str {
        match self {
            Engine::Docker => "HOME=/run/engines/home docker -H unix:///run/engines/sock",
            Engine::Podman => {
                "HOME=/run/engines/home podman --root /run/engines/podman --runroot /run/engines/run --tmpdir /run/engines/tmp \
                 --storage-driver overlay --events-backend file"
            }
        }
    }
}

/// Those that are installed, until it is dropped.
pub struct Engines<'a> {
    host: &'a Host,
    pub there: Vec<Engine>,
}

impl Engines<'_> {
    pub fn start(host: &Host) -> Engines<'_> {
        host.sh(PREPARE).ok();
        let is_there = |program: &str| host.run(&["which", program]).code == 0;
        let mut there = Vec::new();
        if is_there("dockerd") && is_there("docker") {
            host.sh(START_DOCKER).ok();
            there.push(Engine::Docker);
        }
        if is_there("podman") {
            there.push(Engine::Podman);
        }
        Engines { host, there }
    }

    /// Runs a command of an engine's.
    pub fn run(&self, engine: Engine, line: &str) -> Output {
        self.host.sh(&format!("{} {line}", engine.words()))
    }
}

impl Drop for Engines<'_> {
    fn drop(&mut self) {
        self.host.sh(END);
    }
}
