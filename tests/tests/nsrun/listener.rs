//! SCMP_ACT_NOTIFY: a system call that somebody else decides about.

use serde_json::{Value, json};

use super::bundle::{self, config, create, delete, nsrun};
use super::host;

/// Takes the notify descriptor of one container process after the other; says what came with it; answers each `mkdir`
/// by its path: an errno, a value as if it were done, or that it may go on.
const AGENT: &str = r#"
import array, ctypes, fcntl, json, os, socket, struct, sys, threading

RECV, SEND = 0xc0502100, 0xc0182101  # linux/seccomp.h: struct seccomp_notif has 80 bytes, seccomp_notif_resp 24

def answer(notify):
    while True:
        request = bytearray(80)
        try:
            fcntl.ioctl(notify, RECV, request)
        except OSError:
            return
        number, pid = struct.unpack_from("QI", request)
        path_at, = struct.unpack_from("Q", request, 32)
        with open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(path_at)
            path = memory.read(16).split(b"\0")[0]
        error, flags = {b"/tmp/denied": (-13, 0), b"/tmp/nothing": (0, 0)}.get(path, (0, 1))
        fcntl.ioctl(notify, SEND, struct.pack("QqiI", number, 0, error, flags))

server = socket.socket(socket.AF_UNIX)
server.bind("/run/agent")
server.listen()
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    text, rights, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
    fd, = array.array("i", rights[0][2])
    print(json.dumps(json.loads(text)), flush=True)
    threading.Thread(target=answer, args=[fd], daemon=True).start()
"#;

/// `mkdir` of three directories: denied, said to be done, done.
const SCRIPT: &str = "mkdir /tmp/denied 2>&1; mkdir /tmp/nothing && ls -d /tmp/nothing 2>&1; mkdir /tmp/real && ls -d /tmp/real; rmdir /tmp/real";
const SHOWN: &str = "mkdir: can't create directory '/tmp/denied': Permission denied\nls: /tmp/nothing: No such file or directory\n/tmp/real";

fn line(running: &mut tests::host::Running) -> Value {
    let stdout = running.child.stdout.as_mut().unwrap();
    let (mut text, mut byte) = (Vec::new(), [0u8]);
    while !text.ends_with(b"\n") && std::io::Read::read(stdout, &mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_listener_is_asked_and_its_answer_holds() {
    let host = host();
    let mut agent = host.start(&["python3", "-c", AGENT]);
    agent.wait_for_line("ready");
    let mut config = config(&host, "box", SCRIPT);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "listenerMetadata": "for you",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let flags = nsrun(&host, &["features"]).json()["linux"]["seccomp"]["supportedFlags"].clone();
    if flags.as_array().unwrap().contains(&json!("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")) {
        config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    }
    bundle::write(&host, "box", &config);
    nsrun(&host, &["run", "--bundle=/run/box", "box"]).prints(SHOWN);
    // The container process state (config-linux.md).
    let told = line(&mut agent);
    assert_eq!((&told["fds"], &told["metadata"]), (&json!(["seccompFd"]), &json!("for you")), "{told}");
    assert_eq!(
        (&told["state"]["id"], &told["state"]["bundle"]),
        (&json!("box"), &json!("/run/box")),
        "{told}"
    );
    assert!(told["pid"].as_i64().unwrap() > 1 && told["pid"] == told["state"]["pid"], "{told}");

    // From start on; and who enters is asked about, too, by the host's path of the listener.
    config["process"]["args"] = json!(["sleep", "1000"]);
    bundle::write(&host, "box", &config);
    create(&host, "box").prints("");
    nsrun(&host, &["start", "box"]).prints("");
    let pid: Value = std::fs::read_to_string(host.path("/run/box.pid")).unwrap().parse().unwrap();
    assert_eq!(line(&mut agent)["pid"], pid);
    nsrun(&host, &["exec", "box", "sh", "-c", SCRIPT]).prints(SHOWN);
    let told = line(&mut agent);
    assert_eq!(
        (&told["state"]["id"], &told["state"]["bundle"]),
        (&json!("box"), &json!("/run/box")),
        "{told}"
    );
    assert_ne!(told["pid"], pid);
    delete(&host, "box");
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    agent.end();
    nsrun(&host, &["run", "--bundle=/run/box", "box"])
        .fails(125, "nsrun: cannot use linux.seccomp.listenerPath /run/agent: connect: Connection refused (os error 111)\n");
}
