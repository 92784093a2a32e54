//! The other commands on containers, images and volumes.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::Value;
use tests::{Host, Output};

fn gocker(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["gocker-sh"], words].concat())
}

/// A detached container that stays.
fn stay(host: &Host, options: &[&str]) {
    gocker(host, &[&["run", "-d"], options, &["busybox", "sleep", "1000"]].concat()).ok();
}

fn end(host: &Host, name: &str) {
    gocker(host, &["stop", "-t0", name]).ok();
    gocker(host, &["rm", name]).ok();
}

#[test]
fn inspect_has_dockers_shape() {
    let host = Host::with_images();
    stay(
        &host,
        &["--name", "web", "-m", "64m", "-l", "a=b", "-e", "X=y", "-v", "/tmp:/host:ro", "--stop-timeout=3"],
    );
    let whole = gocker(&host, &["inspect", "web"]).json();
    let one = &whole[0];
    for (path, expected) in [
        ("/Name", Value::from("/web")),
        ("/Path", "sleep".into()),
        ("/State/Status", "running".into()),
        ("/State/Running", true.into()),
        ("/HostConfig/Memory", (64 << 20).into()),
        ("/HostConfig/Binds/0", "/tmp:/host:ro".into()),
        ("/HostConfig/NetworkMode", "bridge".into()),
        ("/Config/Labels/a", "b".into()),
        ("/Config/Env/0", "X=y".into()),
        ("/Config/StopTimeout", 3.into()),
        ("/Mounts/0/RW", false.into()),
    ] {
        assert_eq!(one.pointer(path), Some(&expected), "{path}: {whole:#}");
    }
    let address = gocker(&host, &["exec", "web", "hostname", "-i"]).ok();
    gocker(&host, &["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]).prints(address.trim());
    let pid = one["State"]["Pid"].as_u64().unwrap();
    host.sh(&format!("tr '\\0' ' ' < /proc/{pid}/cmdline")).prints("sleep 1000 ");
    gocker(&host, &["inspect", "--format", "{{json .Config.Image}}", "web"]).prints("\"busybox\"");
    end(&host, "web");
}

#[test]
fn inspect_shows_images_and_says_what_is_missing() {
    let host = Host::with_images();
    gocker(&host, &["inspect", "-f", "{{index .RepoTags 0}} {{.Os}} {{.RootFS.Type}}", "busybox"])
        .prints("busybox:latest linux layers");
    gocker(&host, &["image", "inspect", "-f", "{{.Architecture}}", "busybox"]).prints("amd64");
    let output = gocker(&host, &["inspect", "nobody"]).code(1).says("gocker-sh: No such object: nobody");
    assert_eq!(output.stdout, "[]\n");
    gocker(&host, &["container", "inspect", "busybox"]).code(1).says("No such container: busybox");
    gocker(&host, &["inspect", "--type=image", "nobody"]).code(1).says("No such image: nobody");
}

#[test]
fn files_are_copied_both_ways() {
    let host = Host::with_images();
    stay(&host, &["--name", "web"]);
    host.sh("mkdir -p /run/t/dir/sub; echo one > /run/t/file; echo two > /run/t/dir/sub/two; chmod 640 /run/t/file; ln -s two /run/t/dir/sub/link").ok();
    let copy = |from: &str, to: &str| gocker(&host, &["cp", from, to]);
    let inside = |command: &str| gocker(&host, &["exec", "web", "sh", "-c", command]);
    copy("/run/t/file", "web:/no-such/").code(1);
    copy("/run/t/file", "web:/new").prints("");
    inside("cat /new; stat -c %a /new").prints("one\n640");
    copy("/run/t/dir", "web:/there").ok();
    inside("cat /there/sub/two; readlink /there/sub/link").prints("two\ntwo");
    copy("/run/t/dir", "web:/there").ok();
    inside("cat /there/dir/sub/two").prints("two");
    copy("/run/t/dir/.", "web:/there").ok();
    copy("web:/there/sub", "/run/t/out").ok();
    host.sh("cat /run/t/out/two; readlink /run/t/out/link").prints("two\ntwo");
    copy("web:/new", "/run/t/dir").ok();
    host.sh("cat /run/t/dir/new").prints("one");
    copy("web:/nothing", "/run/t/x").code(1).says("Could not find the file /nothing");
    copy("web:/a", "web:/b").code(1).says("copying between containers is not supported");
    // Stopped, it is mounted for the moment.
    gocker(&host, &["stop", "-t0", "web"]).ok();
    copy("web:/new", "/run/t/again").ok();
    copy("/run/t/file", "web:/later").ok();
    host.sh("cat /run/t/again; rm -r /run/t").prints("one");
    gocker(&host, &["diff", "web"]).code(0);
    assert!(gocker(&host, &["diff", "web"]).ok().contains("A /later\n"));
    gocker(&host, &["rm", "web"]).ok();
}

#[test]
fn no_link_leads_a_copy_out_of_the_container() {
    let host = Host::with_images();
    host.sh("mkdir -p /run/t/secret; echo host > /run/t/secret/file; echo new > /run/t/new").ok();
    stay(&host, &["--name", "web"]);
    let hostile = "mkdir -p /real; ln -s /run/t/secret /abs; ln -s ../../../../run/t/secret /rel; ln -s /run/t/secret/file /file";
    gocker(&host, &["exec", "web", "sh", "-c", hostile]).ok();
    for target in ["web:/abs/file", "web:/rel/file", "web:/abs/new"] {
        gocker(&host, &["cp", "/run/t/new", target]).code(1);
    }
    // What is a link is replaced, not followed.
    gocker(&host, &["cp", "/run/t/new", "web:/file"]).ok();
    gocker(&host, &["exec", "web", "cat", "/file"]).prints("new");
    host.sh("cat /run/t/secret/*").prints("host");
    for source in ["web:/abs/file", "web:/rel/file"] {
        gocker(&host, &["cp", "-L", source, "/run/t/out"]).code(1);
    }
    host.sh("test ! -e /run/t/out && rm -r /run/t").ok();
    end(&host, "web");
}

#[test]
fn diff_knows_what_was_added_changed_and_deleted() {
    let host = Host::with_images();
    gocker(
        &host,
        &["run", "--name", "web", "busybox", "sh", "-c", "echo > /new; echo x >> /etc/passwd; rm /bin/awk"],
    )
    .ok();
    let lines = gocker(&host, &["diff", "web"]).ok();
    for line in ["A /new", "C /etc", "C /etc/passwd", "C /bin", "D /bin/awk"] {
        assert!(lines.lines().any(|found| found == line), "{line}\n{lines}");
    }
    let names = host.sh("gocker-sh export web | tar t").ok();
    assert!(names.contains("./new\n") && !names.contains("./bin/awk\n"), "{names}");
    host.sh("gocker-sh export -o /run/web.tar web && tar xOf /run/web.tar ./etc/passwd | tail -1; rm /run/web.tar").prints("x");
    gocker(&host, &["rm", "web"]).ok();
}

#[test]
fn processes_and_what_they_use() {
    let host = Host::with_images();
    stay(&host, &["--name", "web", "-m", "64m"]);
    gocker(&host, &["exec", "-d", "web", "sleep", "999"]).prints("");
    host.sh("until gocker-sh top web | grep -q 999; do sleep 0.01; done").ok();
    let listed = gocker(&host, &["top", "web", "-o", "pid,args"]).ok();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let used =
        gocker(&host, &["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", "web"]).ok();
    assert!(used.starts_with("web 2 ") && used.ends_with(" / 64MiB\n"), "{used}");
    let table = gocker(&host, &["stats", "--no-stream"]).ok();
    assert!(table.starts_with("CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT"), "{table}");
    gocker(&host, &["port", "web"]).prints("");
    end(&host, "web");
    gocker(&host, &["top", "web"]).code(1).says("No such container: web");
}

#[test]
fn paused_it_does_nothing_until_it_is_unpaused() {
    let host = Host::with_images();
    gocker(
        &host,
        &["run", "-d", "--name", "web", "busybox", "sh", "-c", "while :; do date +%N > /now; done"],
    )
    .ok();
    gocker(&host, &["pause", "web"]).prints("web");
    gocker(&host, &["pause", "web"]).code(1).says("is already paused");
    assert!(gocker(&host, &["ps", "--format", "{{.Status}}"]).ok().contains("(Paused)"));
    gocker(&host, &["inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "web"]).prints("paused true");
    gocker(&host, &["unpause", "web"]).prints("web");
    gocker(&host, &["unpause", "web"]).code(1).says("is not paused");
    // Frozen, it can be stopped all the same.
    gocker(&host, &["pause", "web"]).prints("web");
    end(&host, "web");
}

#[test]
fn limits_can_be_changed() {
    let host = Host::with_images();
    stay(&host, &["--name", "web", "-m", "64m"]);
    gocker(&host, &["update", "--pids-limit", "7", "web"]).prints("web");
    gocker(&host, &["stats", "--no-stream", "--format", "{{.MemUsage}}"]).says("");
    gocker(&host, &["exec", "web", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done"])
        .says("Resource temporarily unavailable");
    gocker(&host, &["update", "web"]).code(1).says("You must provide one or more flags");
    end(&host, "web");
}

#[test]
fn volumes_outlive_containers_and_begin_as_the_image_has_them() {
    let host = Host::with_images();
    gocker(&host, &["run", "--rm", "-v", "data:/etc", "busybox", "sh", "-c", "echo kept > /etc/mine"]).ok();
    gocker(
        &host,
        &[
            "run",
            "--rm",
            "--mount",
            "type=volume,src=data,dst=/mnt,ro",
            "busybox",
            "sh",
            "-c",
            "cat /mnt/mine; grep -c root /mnt/passwd; touch /mnt/x 2> /dev/null || echo read-only",
        ],
    )
    .prints("kept\n1\nread-only");
    gocker(&host, &["run", "--rm", "-v", "bare:/etc:nocopy", "busybox", "ls", "/etc/passwd"]).code(1);
    gocker(&host, &["volume", "ls", "-q"]).prints("bare\ndata");
    gocker(&host, &["volume", "create", "--label", "a=b", "more"]).prints("more");
    gocker(&host, &["volume", "ls", "-q", "-f", "label=a"]).prints("more");
    gocker(&host, &["volume", "inspect", "-f", "{{.Labels.a}} {{.Driver}}", "more"]).prints("b local");
    stay(&host, &["--name", "web", "-v", "more:/more"]);
    gocker(&host, &["volume", "rm", "more"]).code(1).says("remove more: volume is in use - [");
    gocker(&host, &["volume", "ls", "-q", "-f", "dangling=true"]).prints("bare\ndata");
    end(&host, "web");
    gocker(&host, &["volume", "rm", "more", "none"]).code(1).says("get none: no such volume");
    gocker(&host, &["volume", "prune", "-af"]).prints("Deleted Volumes:\nbare\ndata");
    gocker(&host, &["run", "--rm", "-v", "no!:/x", "busybox"])
        .code(125)
        .says("includes invalid characters for a local volume name");
    host.sh("rmdir /var/lib/gocker/gocker-sh-volumes").ok();
}

#[test]
fn a_published_port_leads_into_the_container() {
    let host = Host::with_images();
    let serve = [
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "8080:80",
        "busybox",
        "sh",
        "-c",
        "echo hello > /index.html; exec httpd -f -p 80 -h /",
    ];
    gocker(&host, &serve).ok();
    let address = gocker(&host, &["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]).ok();
    host.sh(&format!("until busybox wget -qO- http://{}/ | grep hello; do sleep 0.02; done", address.trim()))
        .prints("hello");
    let ports = gocker(&host, &["port", "web"]).ok();
    assert!(ports.contains("80/tcp -> 0.0.0.0:8080\n"), "{ports}");
    assert!(gocker(&host, &["port", "web", "80"]).ok().contains("0.0.0.0:8080\n"));
    gocker(&host, &["port", "web", "81"]).code(1).says("no public port '81/tcp' published for web");
    assert!(gocker(&host, &["ps", "--format", "{{.Ports}}"]).ok().contains("0.0.0.0:8080->80/tcp"));
    end(&host, "web");
}

#[test]
fn what_is_not_used_can_be_pruned() {
    let host = Host::with_images();
    gocker(&host, &["run", "--name", "old", "busybox", "true"]).ok();
    stay(&host, &["--name", "web"]);
    host.feed(&["gocker-sh", "container", "prune"], "n\n").code(0);
    let pruned = gocker(&host, &["container", "prune", "-f"]).ok();
    assert!(pruned.starts_with("Deleted Containers:\n"), "{pruned}");
    gocker(&host, &["container", "ls", "--format", "{{.Names}}"]).prints("web");
    end(&host, "web");
}

#[test]
fn doctor_and_the_glass_box() {
    let host = Host::with_images();
    let findings = gocker(&host, &["doctor", "--json"]).json();
    assert!(
        findings.as_array().unwrap().iter().any(|one| one["id"] == "overlay" && one["verdict"] == "ok"),
        "{findings}"
    );
    host.run(&["setpriv", "--reuid=65534", "--clear-groups", "gocker-sh", "doctor"]).code(1);
    stay(&host, &["--name", "web"]);
    let why = gocker(&host, &["why", "web"]).json();
    let pid = why["processes"]["first"].as_u64().unwrap();
    host.sh(&format!("readlink /proc/{pid}/ns/net")).prints(why["namespaces"]["net"].as_str().unwrap());
    for file in why["files"].as_array().unwrap() {
        host.run(&["stat", file.as_str().unwrap()]).ok();
    }
    // Every command that is named to look with works.
    let text = gocker(&host, &["explain", "web"]).ok();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("     $ ")).collect();
    assert!(commands.len() > 8, "{text}");
    for command in commands {
        host.sh(&format!("{command} < /dev/null > /dev/null")).ok();
    }
    end(&host, "web");
}

#[test]
fn a_shell_completes_commands_options_and_names() {
    let host = Host::with_images();
    gocker(&host, &["create", "--name", "web", "busybox"]).ok();
    let complete = |words: &str| {
        let script = format!(
            "source <(gocker-sh completion bash); COMP_WORDS=(gocker-sh {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _gocker_sh; echo \"${{COMPREPLY[@]}}\""
        );
        host.run(&["bash", "-c", &script]).ok().trim_end().to_owned()
    };
    assert_eq!(complete("unp"), "unpause");
    assert_eq!(complete("stop ''"), "web");
    assert_eq!(complete("logs --ti"), "--timestamps");
    assert_eq!(complete("run bus"), "busybox:latest");
    gocker(&host, &["completion", "bash"]).ok();
    host.sh("gocker-sh completion bash | shellcheck --shell=bash --severity=warning -").ok();
    gocker(&host, &["rm", "web"]).ok();
}

#[test]
fn fish_completes_commands_options_and_names() {
    let host = Host::with_images();
    gocker(&host, &["create", "--name", "web", "busybox"]).ok();
    for (line, expected) in
        [("unp", "unpause"), ("stop ", "web"), ("logs --ti", "--timestamps"), ("run bus", "busybox:latest")]
    {
        let script = format!("gocker-sh completion fish | source; complete -C 'gocker-sh {line}'");
        let shown = host.run(&["fish", "--no-config", "-c", &script]).ok();
        assert!(shown.lines().any(|one| one.split('\t').next() == Some(expected)), "{line}: {shown}");
    }
    gocker(&host, &["rm", "web"]).ok();
}

#[test]
fn zsh_completes_commands_options_and_names() {
    let host = Host::with_images();
    gocker(&host, &["create", "--name", "web", "busybox"]).ok();
    // Its line editor needs a terminal. What the line has become is printed instead of run.
    let pty = nix::pty::openpty(None, None).unwrap();
    let side = || std::process::Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = host.command(&["setsid", "--ctty", "--wait", "env", "TERM=xterm", "zsh", "-f", "-i"]);
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    let mut master = std::fs::File::from(pty.master);
    let mut at = |text: &str, awaited: &str| {
        master.write_all(text.as_bytes()).unwrap();
        let (mut seen, mut bytes) = (String::new(), [0; 1024]);
        while !seen.contains(awaited) {
            let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            assert!(poll(&mut fds, 20_000u16).unwrap() > 0, "{awaited:?} did not come: {seen:?}");
            let length = master.read(&mut bytes).unwrap();
            seen += &String::from_utf8_lossy(&bytes[..length]);
        }
    };
    let begin =
        "autoload -U compinit && compinit -u -D && source <(gocker-sh completion zsh) && print $((41+1))";
    at(&format!("{begin}\n"), "\n42\r");
    for (line, expected) in
        [("unp", "unpause"), ("stop ", "web"), ("logs --ti", "--timestamps"), ("run bus", "busybox:latest")]
    {
        let verb = line.rsplit_once(' ').map_or(String::new(), |(verb, _)| format!("{verb} "));
        at(&format!("gocker-sh {line}\t\x01print -- @ \n"), &format!("\n@ gocker-sh {verb}{expected}\r"));
    }
    master.write_all(b"exit\n").unwrap();
    child.wait().unwrap();
    gocker(&host, &["rm", "web"]).ok();
}
