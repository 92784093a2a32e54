//! `linux.seccomp`. The shell of the root file system makes directories by mkdir(2), and so on.

use serde_json::{Value, json};

use super::Like::{Both, Crun, Neither, Runc};
use super::{Case, compare};

/// Everything is allowed but what a rule says.
fn rules(rules: Value) -> Value {
    json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}}})
}

fn rule(names: &[&str], action: &str) -> Value {
    rules(json!([{"names": names, "action": action}]))
}

/// chmod(path, mode): a rule on its second argument.
fn mode(op: &str, value: u64, two: Option<u64>) -> Value {
    let mut arg = json!({"index": 1, "value": value, "op": op});
    if let Some(two) = two {
        arg["valueTwo"] = two.into();
    }
    rules(json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [arg]}]))
}

const MKDIR: &str = "mkdir /new 2>&1";
const MODES: &str =
    "touch /f; for m in 0600 0640 0644 0700; do chmod $m /f 2>/dev/null && echo $m; done; true";

#[test]
fn filters() {
    let errno =
        |errno: u64| rules(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]));
    let with = |change: Value| {
        let mut all = rule(&["mkdir"], "SCMP_ACT_ERRNO");
        super::patch(&mut all["linux"]["seccomp"], &change);
        all
    };
    compare(
        "",
        &[
            Case("errno", rule(&["mkdir"], "SCMP_ACT_ERRNO"), MKDIR, Both),
            Case("errno-13", errno(13), MKDIR, Both),
            Case("errno-38", errno(38), MKDIR, Both),
            Case("errno-too-large", errno(70000), MKDIR, Both),
            Case("kill", rule(&["mkdir"], "SCMP_ACT_KILL"), "mkdir /new; echo $?", Both),
            Case("kill-thread", rule(&["mkdir"], "SCMP_ACT_KILL_THREAD"), "mkdir /new; echo $?", Both),
            Case("kill-process", rule(&["mkdir"], "SCMP_ACT_KILL_PROCESS"), "mkdir /new; echo $?", Both),
            Case(
                "kill-with-errno",
                rules(json!([{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5}])),
                "true",
                Crun("the specification: an error for an action without one"),
            ),
            Case("trap", rule(&["mkdir"], "SCMP_ACT_TRAP"), "mkdir /new; echo $?", Both),
            Case("trace", rule(&["mkdir"], "SCMP_ACT_TRACE"), MKDIR, Both),
            Case("log", rule(&["mkdir"], "SCMP_ACT_LOG"), MKDIR, Both),
            Case("allow", rule(&["mkdir"], "SCMP_ACT_ALLOW"), MKDIR, Both),
            Case(
                "notify-nobody",
                rule(&["mkdir"], "SCMP_ACT_NOTIFY"),
                MKDIR,
                Runc("the specification: it needs a listenerPath"),
            ),
            Case("action-unknown", rule(&["mkdir"], "SCMP_ACT_NIL"), MKDIR, Both),
            Case("default-unknown", with(json!({"defaultAction": "SCMP_ACT_NIL"})), MKDIR, Both),
            Case(
                "no-names",
                rules(json!([{"names": [], "action": "SCMP_ACT_ERRNO"}])),
                MKDIR,
                Neither("refused", "the specification: at least one name"),
            ),
            Case(
                "two-names",
                rule(&["mkdir", "rmdir"], "SCMP_ACT_ERRNO"),
                "mkdir /new 2>&1; rmdir /tmp 2>&1",
                Both,
            ),
            Case(
                "name-unknown",
                rule(&["mkdir", "nil"], "SCMP_ACT_ERRNO"),
                MKDIR,
                Neither("refused", "both allow the call that was to be refused"),
            ),
            Case("name-unknown-allowed", rule(&["nil"], "SCMP_ACT_ALLOW"), MKDIR, Both),
            Case("no-rules", rules(json!([])), MKDIR, Both),
            Case("arg-eq", mode("SCMP_CMP_EQ", 0o640, None), MODES, Both),
            Case("arg-ne", mode("SCMP_CMP_NE", 0o640, None), MODES, Both),
            Case("arg-lt", mode("SCMP_CMP_LT", 0o640, None), MODES, Both),
            Case("arg-le", mode("SCMP_CMP_LE", 0o640, None), MODES, Both),
            Case("arg-ge", mode("SCMP_CMP_GE", 0o640, None), MODES, Both),
            Case("arg-gt", mode("SCMP_CMP_GT", 0o640, None), MODES, Both),
            Case("arg-masked", mode("SCMP_CMP_MASKED_EQ", 0o040, Some(0o040)), MODES, Both),
            Case("arg-large", mode("SCMP_CMP_LT", 1 << 40, None), MODES, Both),
            Case("arg-op-unknown", mode("SCMP_CMP_NIL", 1, None), MODES, Both),
            Case(
                "arg-index",
                rules(
                    json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]),
                ),
                MODES,
                Both,
            ),
            Case(
                "args-two",
                rules(json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}]}])),
                "kill -0 1 2>&1; kill -CONT 1 2>&1; true",
                Both,
            ),
            Case(
                "args-of-one-index",
                rules(json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 1, "value": 0o600, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}]}])),
                MODES,
                Both,
            ),
            Case(
                "two-rules",
                rules(
                    json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 0o600, "op": "SCMP_CMP_EQ"}]},
                    {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [{"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}]}]),
                ),
                "touch /f; chmod 600 /f 2>&1; chmod 700 /f 2>&1; chmod 644 /f && echo ok",
                Both,
            ),
            Case(
                "unconditional-wins",
                rules(
                    json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 0o600, "op": "SCMP_CMP_EQ"}]},
                    {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]),
                ),
                "touch /f; chmod 600 /f 2>&1; chmod 700 /f 2>&1; true",
                Both,
            ),
            Case(
                "architectures",
                with(json!({"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]})),
                MKDIR,
                Both,
            ),
            Case("architecture-other", with(json!({"architectures": ["SCMP_ARCH_AARCH64"]})), MKDIR, Both),
            Case("architecture-unknown", with(json!({"architectures": ["SCMP_ARCH_NIL"]})), MKDIR, Both),
            Case(
                "flag-log",
                with(json!({"flags": ["SECCOMP_FILTER_FLAG_LOG"]})),
                MKDIR,
                Crun("runc 1.1 has no flags"),
            ),
            Case(
                "flag-spec-allow",
                with(json!({"flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]})),
                MKDIR,
                Crun("runc 1.1 has no flags"),
            ),
            Case(
                "flag-tsync",
                with(json!({"flags": ["SECCOMP_FILTER_FLAG_TSYNC"]})),
                MKDIR,
                Crun("runc 1.1 has no flags"),
            ),
            Case("flag-unknown", with(json!({"flags": ["SECCOMP_FILTER_FLAG_NIL"]})), MKDIR, Both),
            Case(
                "no-new-privileges",
                json!({"process": {"noNewPrivileges": true}, "linux": rule(&["mkdir"], "SCMP_ACT_ERRNO")["linux"]}),
                MKDIR,
                Both,
            ),
            Case(
                "as-a-user",
                json!({"process": {"user": {"uid": 5, "gid": 5}}, "linux": rule(&["uname"], "SCMP_ACT_ERRNO")["linux"]}),
                "uname 2>&1; grep -e Cap -e Seccomp: /proc/self/status",
                Both,
            ),
            Case(
                "show",
                rule(&["mkdir"], "SCMP_ACT_ERRNO"),
                "grep -e Cap -e Seccomp: /proc/self/status",
                Both,
            ),
            Case("nothing", json!({}), "grep Seccomp: /proc/self/status", Both),
        ],
    );
}
