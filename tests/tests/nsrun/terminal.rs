//! `-t`: a terminal of the container's own, seen through a real one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::pty::{Winsize, openpty};
use tests::Host;

use super::{Sleeper, host, words};

/// A command at a terminal of 33 rows and 101 columns, which is its controlling one.
struct AtTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: String,
}

impl AtTerminal {
    fn start(host: &Host, line: &[&str]) -> AtTerminal {
        let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let before = settings(&pty.slave);
        let line = [&["setsid", "--ctty", "--wait"], line].concat();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = host.command(&line).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        AtTerminal { child, master: File::from(pty.master), slave: pty.slave, before }
    }

    fn type_(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until this has appeared.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        let mut bytes = [0u8; 1024];
        loop {
            let shown = String::from_utf8_lossy(&seen).into_owned();
            if shown.contains(text) {
                return shown;
            }
            let mut fds = [nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(&self.master),
                nix::poll::PollFlags::POLLIN,
            )];
            assert!(nix::poll::poll(&mut fds, 20_000u16).unwrap() > 0, "{text:?} did not come: {shown:?}");
            let length = self.master.read(&mut bytes).unwrap();
            assert!(length > 0, "{text:?} did not come: {shown:?}");
            seen.extend_from_slice(&bytes[..length]);
        }
    }

    /// The exit code; the terminal must be as it was.
    #[track_caller]
    fn end(mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().unwrap();
        assert_eq!(settings(&self.slave), self.before);
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

fn settings(slave: &OwnedFd) -> String {
    let path = format!("/proc/{}/fd/{}", std::process::id(), slave.as_raw_fd());
    let output = Command::new("stty").args(["-F", &path, "-g"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn size_name_and_controlling_terminal() {
    let host = host();
    let script = "stty size; tty; echo $TERM; ls -l /dev/console | cut -c1; stty size < /dev/tty; test -t 0 -a -t 1 -a -t 2 && echo all";
    let mut at = AtTerminal::start(&host, &words(&["-it", "--", "sh", "-c", script]));
    let shown = at.wait_for("all\r\n");
    assert_eq!(shown, "33 101\r\n/dev/pts/0\r\nxterm\r\nc\r\n33 101\r\nall\r\n");
    assert_eq!(at.end(), 0);
}

#[test]
fn job_control_interrupts_and_end_of_input() {
    let host = host();
    let mut at = AtTerminal::start(&host, &words(&["-it", "-e", "PS1=PROMPT ", "--", "sh"]));
    let shown = at.wait_for("PROMPT ");
    assert!(!shown.contains("job control") && !shown.contains("can't access"), "{shown}");
    at.type_("sh -c 'echo $((40 + 2)); exec sleep 1000'\r");
    at.wait_for("\r\n42\r\n");
    // The interrupt is the inner terminal's: the outer is raw. It ends the command, not the shell.
    at.type_("\u{3}");
    at.wait_for("PROMPT ");
    at.type_("echo $? $((6 * 7))\r");
    at.wait_for("130 42\r\n");
    at.type_("exit 4\r");
    assert_eq!(at.end(), 4);
    let mut at = AtTerminal::start(&host, &words(&["-it", "--", "cat"]));
    at.type_("line\r");
    at.wait_for("line\r\nline\r\n");
    at.type_("\u{4}");
    assert_eq!(at.end(), 0);
}

#[test]
fn a_new_size_arrives() {
    let host = host();
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done";
    let mut at = AtTerminal::start(&host, &words(&["-it", "--", "sh", "-c", script]));
    at.wait_for("ready");
    let path = format!("/proc/{}/fd/{}", std::process::id(), at.slave.as_raw_fd());
    assert!(Command::new("stty").args(["-F", &path, "rows", "44", "cols", "55"]).status().unwrap().success());
    at.wait_for("44 55");
    // The trap of PID 1 is not for the shell's default action: end it by its own.
    host.sh("nsrun undo $(nsrun ls | jq -r .[].id)").ok();
    let before = at.before.clone();
    assert_eq!(at.child.wait().unwrap().code(), Some(137));
    assert_eq!(settings(&at.slave), before);
}

#[test]
fn the_terminal_is_put_back_when_nsrun_is_asked_to_end() {
    let host = host();
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut at = AtTerminal::start(&host, &words(&["-it", "--", "sh", "-c", script]));
    at.wait_for("ready");
    assert_ne!(settings(&at.slave), at.before, "it is raw meanwhile");
    host.sh(
        "for p in $(pgrep -x nsrun); do grep -q ^NSpid.*[[:space:]]1$ /proc/$p/status || kill -TERM $p; done",
    )
    .ok();
    assert_eq!(at.end(), 3);
    // Also when the command does not start.
    let at = AtTerminal::start(&host, &words(&["-it", "--", "nil"]));
    assert_eq!(at.end(), 127);
}

#[test]
fn much_goes_both_ways() {
    let host = host();
    let mut at = AtTerminal::start(
        &host,
        &words(&["-it", "--", "sh", "-c", "stty raw -echo; echo ready; head -c 200000 | wc -c"]),
    );
    at.wait_for("ready");
    let mut master = at.master.try_clone().unwrap();
    let writer = std::thread::spawn(move || master.write_all(&[b'x'; 200_000]).unwrap());
    at.wait_for("200000");
    writer.join().unwrap();
    assert_eq!(at.end(), 0);
    let mut at = AtTerminal::start(
        &host,
        &words(&["-t", "--", "sh", "-c", "yes | head -c 1000000 | tr y x; echo; echo done"]),
    );
    let shown = at.wait_for("done\r\n");
    assert_eq!(shown.matches('x').count(), 500_000);
    assert_eq!(at.end(), 0);
}

#[test]
fn without_interactive_nothing_is_read_and_nothing_is_raw() {
    let host = host();
    let mut at = AtTerminal::start(&host, &words(&["-t", "--", "sh", "-c", "tty; echo ready"]));
    at.wait_for("/dev/pts/0\r\n");
    assert_eq!(at.end(), 0);
    // stdout may be a pipe.
    super::run(&host, &["-t", "--", "tty"]).prints("/dev/pts/0\r");
}

#[test]
fn after_a_document_on_stdin_the_terminal_is_reopened() {
    let host = host();
    let line = format!(
        "echo '{{\"gocker\":1}}' | nsrun --rootfs {} -it -- sh -c 'stty size; read x; echo got $x'",
        super::ROOTFS
    );
    let mut at = AtTerminal::start(&host, &["sh", "-c", &line]);
    at.wait_for("33 101\r\n");
    at.type_("word\r");
    at.wait_for("got word\r\n");
    assert_eq!(at.end(), 0);
    let line = format!(
        "echo '{{\"gocker\":1}}' | nsrun --rootfs {} -i -- sh -c 'read x; echo got $x'",
        super::ROOTFS
    );
    let mut at = AtTerminal::start(&host, &["sh", "-c", &line]);
    at.type_("word\r");
    at.wait_for("got word\r\n");
    assert_eq!(at.end(), 0);
}

#[test]
fn exec_has_terminals_too() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    let mut at = AtTerminal::start(
        &host,
        &[
            "nsrun",
            "exec",
            "-it",
            "-u",
            "app",
            &sleeper.id,
            "sh",
            "-c",
            "stty size; tty; echo > /dev/tty; stat -c %U $(tty); sleep 1000",
        ],
    );
    let shown = at.wait_for("app\r\n");
    assert_eq!(shown, "33 101\r\n/dev/pts/0\r\n\r\napp\r\n");
    at.type_("\u{3}");
    assert_eq!(at.end(), 130);
    sleeper.end();
}

#[test]
fn a_terminals_signals_come_once() {
    let host = host();
    let script = "trap 'echo int' INT; echo ready; while :; do sleep 0.01; done";
    let mut at = AtTerminal::start(&host, &words(&["-i", "--", "sh", "-c", script]));
    at.wait_for("ready");
    at.type_("\u{3}");
    at.wait_for("int\r\n");
    at.type_("\u{3}");
    let shown = at.wait_for("int\r\n");
    assert_eq!(shown.matches("int").count(), 1);
    host.sh("nsrun undo $(nsrun ls | jq -r .[].id)").ok();
    assert_eq!(at.end(), 137);
}
