//! `features`: it has the shape of runc's, and what it lists is so.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::Host;

use super::bundle::{self, config, nsrun};
use super::host;

fn features(host: &Host) -> Value {
    nsrun(host, &["features"]).json()
}

fn set(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// The path and the kind of each value in it.
fn shape(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| shape(value, &format!("{at}/{key}"), found));
            "object"
        }
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "another",
    };
    found.insert(format!("{at} {kind}"));
}

#[test]
fn it_has_the_shape_of_runcs_and_the_lists_of_what_both_know() {
    let host = host();
    if host.run(&["which", "runc"]).code != 0 {
        tests::skip!("runc is not installed");
    }
    let (ours, mut runcs) = (features(&host), host.run(&["runc", "features"]).json());
    runcs["annotations"] = json!({});
    let (mut our_shape, mut runcs_shape) = (BTreeSet::new(), BTreeSet::new());
    shape(&ours, "", &mut our_shape);
    shape(&runcs, "", &mut runcs_shape);
    let missing: Vec<_> = runcs_shape.difference(&our_shape).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for same in ["/hooks", "/linux/capabilities", "/linux/seccomp/actions", "/linux/seccomp/operators"] {
        assert_eq!(set(ours.pointer(same).unwrap()), set(runcs.pointer(same).unwrap()), "{same}");
    }
    // nsrun refuses remount.
    let missing: Vec<_> =
        set(&runcs["mountOptions"]).difference(&set(&ours["mountOptions"])).copied().collect();
    assert_eq!(missing, ["remount"]);
    assert!(set(&ours["linux"]["namespaces"]).is_superset(&set(&runcs["linux"]["namespaces"])));
    assert!(set(&ours["linux"]["seccomp"]["archs"]).is_subset(&set(&runcs["linux"]["seccomp"]["archs"])));
}

#[test]
fn every_seccomp_action_does_what_it_says() {
    let host = host();
    // What becomes of `mkdir`, by its exit code: done, an error, killed by SIGSYS.
    let ends = |action: &str| match action {
        "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => "0",
        // Without a tracer the kernel answers ENOSYS.
        "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => "1",
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_PROCESS" | "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_TRAP" => "159",
        other => panic!("{other} is not known here"),
    };
    let features = features(&host);
    // The one that asks has a test of its own.
    let actions = set(&features["linux"]["seccomp"]["actions"])
        .into_iter()
        .filter(|action| *action != "SCMP_ACT_NOTIFY");
    for action in actions {
        let mut config = config(&host, "box", "mkdir /tmp/made 2> /dev/null; echo $?; rm -rf /tmp/made");
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": features["linux"]["seccomp"]["archs"],
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action}]});
        bundle::write(&host, "box", &config);
        let ran = nsrun(&host, &["run", "--bundle=/run/box", "box"]);
        assert_eq!((ran.code, ran.stdout.trim()), (0, ends(action)), "{action}\n{ran}");
    }
    for flag in set(&features["linux"]["seccomp"]["supportedFlags"]) {
        // It is about the waiting for an answer.
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            continue;
        }
        let mut config = config(&host, "box", "echo ran");
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag]});
        bundle::write(&host, "box", &config);
        nsrun(&host, &["run", "--bundle=/run/box", "box"]).prints("ran");
    }
}

#[test]
fn every_mount_option_is_one() {
    let host = host();
    host.sh("mkdir -p /run/source").ok();
    let features = features(&host);
    // These take a user namespace.
    let words = set(&features["mountOptions"]).into_iter().filter(|word| !word.ends_with("idmap"));
    let mut config =
        config(&host, "box", "awk '$5 ~ /^\\/mnt\\// {print substr($5, 6)}' /proc/self/mountinfo | sort -u");
    let mut names = Vec::new();
    for word in words {
        // What is recursive changes what is there already.
        let bind =
            word.ends_with("bind") || word.starts_with('r') && !["ro", "rw", "relatime"].contains(&word);
        let (typ, source) = if bind { ("bind", "/run/source") } else { ("tmpfs", "none") };
        let options = if bind && !word.ends_with("bind") { vec!["rbind", word] } else { vec![word] };
        let mount =
            json!({"destination": format!("/mnt/{word}"), "type": typ, "source": source, "options": options});
        config["mounts"].as_array_mut().unwrap().push(mount);
        names.push(word);
    }
    bundle::write(&host, "box", &config);
    nsrun(&host, &["run", "--bundle=/run/box", "box"]).prints(&names.join("\n"));
    host.sh("rmdir /run/source").ok();
}
