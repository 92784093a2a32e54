//! Exit codes and messages.

use nix::sys::signal::Signal;
use tests::Host;

use super::{run, start};

#[test]
fn the_commands_own_code_comes_out() {
    let host = Host::with_images();
    for code in [0, 1, 2, 3, 42, 125, 126, 127, 255] {
        let output = run(&host, &["busybox", "sh", "-c", &format!("exit {code}")]).code(code);
        assert_eq!(output.stderr, "", "{output}");
    }
}

#[test]
fn a_death_by_signal_is_128_and_its_number() {
    let host = Host::with_images();
    // PID 1 is safe from the signals of its own namespace: with --init the shell is not PID 1.
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("ABRT", 134), ("USR1", 138)] {
        run(&host, &["--init", "busybox", "sh", "-c", &format!("kill -{signal} $$")]).code(code);
    }
}

#[test]
fn what_cannot_be_executed_is_126_and_what_is_not_there_127() {
    let host = Host::with_images();
    for (command, code) in [("/etc/passwd", 126), ("/etc", 126), ("/no/such", 127), ("no-such", 127)] {
        let output = run(&host, &["busybox", command]).code(code);
        assert_eq!(output.stderr.lines().filter(|line| !line.starts_with("  ")).count(), 1, "{output}");
        assert!(output.stderr.contains(command), "{output}");
    }
}

#[test]
fn what_fails_before_the_command_runs_is_125_and_said_once() {
    let host = Host::with_images();
    for (options, said) in [
        (
            &["--name", "a", "busybox", "true"][..],
            "gocker-sh: Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (
            &["--memory-swap", "1g", "busybox", "true"],
            "gocker-sh: You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            &["-it", "busybox", "true"],
            "gocker-sh: cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
        ),
        (&[], "gocker-sh: an image is needed: gocker-sh run [OPTIONS] IMAGE [COMMAND] [ARG...]"),
    ] {
        run(&host, options).fails(125, &format!("{said}\n"));
    }
    // These are said by a stage, in its own words.
    for (options, tool) in [
        (&["--memory", "1k", "busybox", "true"][..], "cgctl"),
        (&["--cpus", "many", "busybox", "true"], "cgctl"),
        (&["--pull", "never", "absent", "true"], "pull"),
        (&["Not/A/Name", "true"], "pull"),
        (&["--ip", "10.0.0.1", "busybox", "true"], "netns"),
        (&["-u", "nobody-knows", "busybox", "true"], "nsrun"),
        (&["--rootfs", "/no/such/directory", "true"], "mount-overlay"),
    ] {
        let output = run(&host, options).code(125);
        let first = output.stderr.lines().filter(|line| !line.starts_with("  ")).collect::<Vec<_>>();
        assert!(first.len() == 1 && first[0].starts_with(&format!("{tool}: ")), "{output}");
        host.assert_clean();
    }
}

#[test]
fn a_wrong_command_line_is_125() {
    let host = Host::new();
    host.run(&["gocker-sh", "run", "--frob", "x"])
        .fails(125, "gocker-sh: unexpected argument '--frob' found\n  hint: see gocker-sh --help\n");
    for words in [&["run", "--frob", "x"][..], &["--frob"], &["exec"], &["ps", "extra"], &["run", "--memory"]]
    {
        host.run(&[&["gocker-sh"], words].concat()).code(125);
    }
}

#[test]
fn commands_of_docker_that_are_not_here_say_what_to_use() {
    let host = Host::new();
    host.run(&["gocker-sh", "push"])
        .fails(1, "gocker-sh: there is no push: copy the image to the registry with skopeo or crane\n");
    host.run(&["gocker-sh", "network", "connect", "net", "web"]).fails(
        1,
        "gocker-sh: there is no network connect: say at run or create which network it is in: --network NAME\n",
    );
    host.run(&["gocker-sh", "network", "disconnect", "-f", "net", "web"]).code(1).says("--network none");
    host.run(&["gocker-sh", "network", "frob"])
        .fails(1, "gocker-sh: 'network frob' is not a gocker-sh command.\nSee 'gocker-sh network --help'\n");
    host.run(&["gocker-sh", "frob"])
        .fails(1, "gocker-sh: 'frob' is not a gocker-sh command.\nSee 'gocker-sh --help'\n");
}

#[test]
fn only_root_may() {
    let host = Host::new();
    for (words, code) in
        [(&["run", "busybox"][..], 125), (&["exec", "x", "y"], 125), (&["rm", "x"], 1), (&["gc"], 1)]
    {
        let command = [&["setpriv", "--reuid=65534", "--clear-groups", "gocker-sh"], words].concat();
        host.run(&command).fails(
            code,
            "gocker-sh: cannot change the host: not root\n  hint: run it as root, or with sudo\n",
        );
    }
}

#[test]
fn signals_are_passed_on_to_the_command() {
    let host = Host::with_images();
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
    ] {
        let script = format!("trap 'echo got it; exit 7' {name}; echo up; while :; do sleep 0.01; done");
        let mut running = host.start(&["gocker-sh", "run", "--rm", "busybox", "sh", "-c", &script]);
        running.wait_for_line("up");
        running.signal(signal);
        let output = running.end();
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "got it\n", ""));
    }
}

#[test]
fn exec_has_the_codes_of_run() {
    let host = Host::with_images();
    let running = start(&host, &["--rm", "--name", "web"]);
    for (command, code) in [
        (&["sh", "-c", "exit 5"][..], 5),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["/etc/passwd"], 126),
        (&["no-such"], 127),
    ] {
        host.run(&[&["gocker-sh", "exec", "web"], command].concat()).code(code);
    }
    host.run(&["gocker-sh", "exec", "nobody", "true"]).fails(125, "gocker-sh: No such container: nobody\n");
    assert_eq!(running.end().code, 0);
}

#[test]
fn exec_into_what_has_ended_is_refused() {
    let host = Host::with_images();
    host.run(&["gocker-sh", "run", "--name", "web", "--cidfile", "/run/cid", "busybox", "true"]).ok();
    let id = host.sh("cat /run/cid").ok();
    host.run(&["gocker-sh", "exec", "web", "true"])
        .fails(125, &format!("gocker-sh: container {id} is not running\n"));
    host.run(&["gocker-sh", "rm", "web"]).prints("web");
}

#[test]
fn the_kernels_kill_at_the_memory_limit_is_137_and_said() {
    let host = Host::with_images();
    let eat = "x = bytearray(80 << 20)";
    let options = ["run", "--name", "eater", "--mem=32", "--swap=0", "python", "python3", "-c", eat];
    let output = host.run(&[&["gocker-sh"], &options[..]].concat()).code(137);
    assert_eq!(
        output.stderr,
        "gocker-sh: out of memory: the kernel killed a process at the container's memory limit of 32 MiB\n"
    );
    let listed = host.run(&["gocker-sh", "ps", "-a", "--json"]).json();
    assert_eq!((&listed[0]["oomKilled"], &listed[0]["exitCode"]), (&true.into(), &137.into()), "{listed}");
    let state = "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}";
    host.run(&["gocker-sh", "inspect", "-f", state, "eater"]).prints("true 137 exited");
    // A detached one's watcher sees it, too; and who only leaves with 137 was not killed for memory.
    host.run(&[&["gocker-sh", "run", "-d", "--name", "away"], &options[3..]].concat()).ok();
    host.run(&["gocker-sh", "wait", "away"]).prints("137");
    host.run(&["gocker-sh", "inspect", "-f", state, "away"]).prints("true 137 exited");
    host.run(&["gocker-sh", "run", "--name", "calm", "--mem=32", "busybox", "sh", "-c", "exit 137"])
        .code(137);
    host.run(&["gocker-sh", "inspect", "-f", state, "calm"]).prints("false 137 exited");
    host.run(&["gocker-sh", "rm", "eater", "away", "calm"]).prints("eater\naway\ncalm");
}
