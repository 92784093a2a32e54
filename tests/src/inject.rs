//! Makes system calls fail, one after the other, with strace(1), until the tool gets through.

use crate::host::Host;
use crate::output::Output;

/// What strace makes of the chosen call.
#[derive(Clone, Copy)]
pub enum Fault {
    Error(&'static str),
    Kill,
}

/// Runs `argv` with the `when`-th use of `call` failing. `None` when there is no such use: the tool got through.
#[expect(clippy::too_many_arguments, reason = "each says one thing of the fault")]
pub fn once(
    host: &Host,
    argv: &[&str],
    stdin: Option<&str>,
    call: &str,
    fault: Fault,
    when: u32,
) -> Option<Output> {
    let inject = match fault {
        Fault::Error(errno) => format!("inject={call}:error={errno}:when={when}"),
        Fault::Kill => format!("inject={call}:signal=KILL:when={when}"),
    };
    let log = "/run/strace.log";
    let mut words = vec!["strace", "-f", "-qq", "-o", log, "-e", "trace=all", "-e", inject.as_str()];
    words.extend(argv);
    let output = match stdin {
        Some(text) => host.feed(&words, text),
        None => host.run(&words),
    };
    let log = host.path(log);
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    let hit = match fault {
        Fault::Error(_) => text.contains("(INJECTED)"),
        Fault::Kill => text.contains("killed by SIGKILL"),
    };
    hit.then_some(output)
}

/// Fails each use of each of `calls` in turn. A stage that fails must have left the host as it was, said one
/// error, and printed nothing; one that gets through all the same (there is another way to do it) must be
/// undone by `undo`.
///
/// Returns how many faults were met.
#[track_caller]
pub fn every_error(host: &Host, argv: &[&str], stdin: Option<&str>, calls: &[&str], undo: &[&str]) -> u32 {
    let before = host.snapshot();
    let failed = if ["nsrun", "gocker-sh"].contains(&argv[0]) { 125 } else { 1 };
    let mut met = 0;
    for call in calls {
        for when in 1.. {
            let Some(output) = once(host, argv, stdin, call, Fault::Error("EPERM"), when) else {
                // It got through: the next call starts from the same host.
                host.run(undo).ok();
                break;
            };
            met += 1;
            let what = format!("{call} number {when} failing\n{output}");
            if output.code == 0 {
                host.run(undo).ok();
            } else {
                assert_eq!(output.code, failed, "{what}");
                assert_eq!(output.stdout, "", "{what}");
                let tool = format!("{}: ", argv[0]);
                assert_eq!(output.stderr.lines().filter(|line| line.starts_with(&tool)).count(), 1, "{what}");
            }
            if let Err(difference) = before.wait_for_exactly(host) {
                panic!("{what}\nleft on the host:\n{difference}");
            }
        }
    }
    met
}

/// Kills the stage at each use of each of `calls` in turn; after `undo` the host must be as it was.
///
/// Returns how many times it was killed.
#[track_caller]
pub fn every_kill(host: &Host, argv: &[&str], stdin: Option<&str>, calls: &[&str], undo: &[&[&str]]) -> u32 {
    let before = host.snapshot();
    let mut met = 0;
    for call in calls {
        for when in 1.. {
            let killed = once(host, argv, stdin, call, Fault::Kill, when);
            for command in undo {
                host.run(command).ok();
            }
            // Else it got through: the next call starts from the same host.
            let Some(output) = killed else { break };
            met += 1;
            if let Err(difference) = before.wait_for(host) {
                panic!("killed at {call} number {when}\n{output}\nleft on the host:\n{difference}");
            }
        }
    }
    met
}
