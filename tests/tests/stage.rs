//! The contract that every stage keeps: numbers cite the sentences of stage/README.md.
//!
//! pull reads no document and nsrun ends the pipe; the three in the middle keep all of it.

use serde_json::{Value, json};
use tests::{Host, Output, new_id};

/// A stage of the middle: its command line, the section it adds, what it needs.
struct Stage {
    argv: &'static [&'static str],
    section: &'static str,
}

const STAGES: [Stage; 3] = [
    Stage { argv: &["mount-overlay", "--lower=/etc"], section: "rootfs" },
    Stage { argv: &["netns"], section: "network" },
    Stage { argv: &["cgctl"], section: "cgroup" },
];
const TOOLS: [&str; 5] = ["pull", "mount-overlay", "netns", "cgctl", "nsrun"];

impl Stage {
    fn tool(&self) -> &'static str {
        self.argv[0]
    }

    /// Runs it, its options being behind a `--id`.
    fn feed(&self, host: &Host, document: &str) -> Output {
        host.feed(self.argv, document)
    }

    fn undo(&self, host: &Host, document: &Value) {
        host.run(&[self.tool(), "undo", document["id"].as_str().unwrap()]).ok();
    }
}

/// The text of a key's value, as it stands in the document.
fn raw<'a>(document: &'a str, key: &str) -> &'a str {
    let start = document.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key}: {document}"))
        + key.len()
        + 3;
    &document[start..]
}

#[test]
fn d1_d4_d6_one_object_on_one_line_with_the_version_first_and_one_section_more() {
    let host = Host::new();
    for stage in &STAGES {
        let text = stage.feed(&host, "{\"gocker\":1}").ok();
        assert!(
            text.starts_with("{\"gocker\":1,") && text.ends_with("}\n") && text.lines().count() == 1,
            "{text}"
        );
        let document: Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = ["gocker", "id", stage.section];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        tests::schema::check(&document, stage.section);
        stage.undo(&host, &document);
    }
}

#[test]
fn d2_another_version_is_refused_by_name() {
    let host = Host::new();
    for stage in &STAGES {
        stage.feed(&host, "{\"gocker\":2}").fails(
            2,
            &format!(
                "{}: cannot read the document: version 2 of the document is not supported, only 1\n",
                stage.tool()
            ),
        );
    }
    host.sh("echo '{\"gocker\":2}' | nsrun -- true")
        .code(125)
        .says("version 2 of the document is not supported, only 1");
}

#[test]
fn d3_what_a_stage_does_not_know_passes_through_byte_for_byte() {
    let host = Host::new();
    let odd = r#"{"b":1.10,"a":[18446744073709551616,"\u00e9\/"],"a ":null}"#;
    for stage in &STAGES {
        let text = stage.feed(&host, &format!("{{\"gocker\":1,\"x-mine\":{odd},\"process\":{odd}}}")).ok();
        for key in ["x-mine", "process"] {
            assert!(raw(&text, key).starts_with(odd), "{text}");
        }
        stage.undo(&host, &serde_json::from_str(&text).unwrap());
    }
}

#[test]
fn d5_a_section_that_is_there_already_or_missing_stops_a_stage_before_it_does_anything() {
    let host = Host::new();
    for stage in &STAGES {
        let document = json!({"gocker": 1, stage.section: {}});
        stage.feed(&host, &document.to_string()).fails(
            2,
            &format!(
                "{}: cannot add to the document: section \"{}\" is already there\n",
                stage.tool(),
                stage.section
            ),
        );
        host.assert_clean();
    }
    host.feed(&["mount-overlay"], "{\"gocker\":1}").fails(
        2,
        "mount-overlay: cannot read the document: section \"image\" is missing\n  hint: pull writes it\n",
    );
    host.assert_clean();
}

#[test]
fn d6_nothing_larger_than_a_mebibyte_is_read() {
    let host = Host::new();
    let document = json!({"gocker": 1, "x": "y".repeat(1 << 20)}).to_string();
    for stage in &STAGES {
        stage.feed(&host, &document).fails(
            2,
            &format!("{}: cannot read the document: it is larger than 1048576 bytes\n", stage.tool()),
        );
    }
}

#[test]
fn d7_a_document_that_cannot_be_written_undoes_the_work() {
    let host = Host::new();
    // What stays by design, such as the bridge, is there already.
    for stage in &STAGES {
        let document = stage.feed(&host, "{\"gocker\":1}").json();
        stage.undo(&host, &document);
    }
    for stage in &STAGES {
        let line = stage.argv.join(" ");
        let output = host.sh(&format!("{line} > /dev/full")).code(1);
        assert_eq!(
            output.stderr,
            format!(
                "{}: cannot write the document: write stdout: No space left on device (os error 28)\n",
                stage.tool()
            )
        );
        host.assert_clean();
    }
}

#[test]
fn d9_malformed_documents_are_refused() {
    let host = Host::new();
    for stage in &STAGES {
        for text in [
            "{",
            "[]",
            "1",
            "{\"gocker\":1,\"x\":1,\"x\":2}",
            "{\"gocker\":\"1\"}",
            "{\"x\":1}",
            "{\"gocker\":1} {}",
        ] {
            let output = stage.feed(&host, text).code(2);
            assert!(
                output.stderr.starts_with(&format!("{}: cannot read the document: ", stage.tool())),
                "{output}"
            );
            assert_eq!((output.stderr.lines().count(), output.stdout.as_str()), (1, ""), "{output}");
        }
        for id in ["\"abc\"", "7", "null"] {
            stage.feed(&host, &format!("{{\"gocker\":1,\"id\":{id}}}")).code(2);
        }
    }
    host.assert_clean();
}

#[test]
fn i2_a_character_device_on_stdin_is_no_upstream() {
    let host = Host::new();
    for stage in &STAGES {
        let document = host.run(stage.argv).json();
        stage.undo(&host, &document);
    }
}

#[test]
fn i2_also_on_a_host_without_dev_stdin() {
    let host = Host::new();
    host.sh("mkdir /run/dev && mount -t tmpfs dev /run/dev && mknod /run/dev/null c 1 3 && mount --move /run/dev /dev").ok();
    let host = host.settled();
    for stage in &STAGES {
        let document = host.run(stage.argv).json();
        stage.undo(&host, &document);
        let document = host.sh(&format!("{} <&-", stage.argv.join(" "))).json();
        stage.undo(&host, &document);
    }
}

#[test]
fn i3_an_empty_stdin_is_a_failed_stage() {
    let host = Host::new();
    for stage in &STAGES {
        for nothing in ["", " \n\t"] {
            let output = stage.feed(&host, nothing).code(3);
            assert_eq!((output.stderr.lines().count(), output.stdout.as_str()), (1, ""), "{output}");
        }
        host.assert_clean();
    }
}

#[test]
fn i4_pull_does_not_read_stdin() {
    let host = Host::with_images();
    let output = host
        .feed(&["sh", "-c", "pull --pull=never busybox > /run/document; cat; rm /run/document"], "for cat");
    output.prints("for cat");
}

#[test]
fn i5_without_doc_the_payloads_stdin_is_null() {
    let host = Host::with_images();
    let id = new_id();
    let line = format!(
        "pull busybox | mount-overlay --id={id} | cgctl | nsrun --network=none -- sh -c 'cat; echo end'"
    );
    host.sh(&line).prints("end");
    host.sh(&format!("mount-overlay undo {id}; cgctl undo {id}; nsrun undo {id}")).ok();
}

#[test]
fn e1_a_wrong_command_line_is_2_and_125_for_runners() {
    let host = Host::new();
    for tool in TOOLS {
        let code = if tool == "nsrun" { 125 } else { 2 };
        host.run(&[tool, "--no-such-option"]).code(code);
        host.run(&[tool, "undo"]).code(code);
    }
}

#[test]
fn v1_ls_is_an_array_of_things_with_ids() {
    let host = Host::new();
    for tool in TOOLS {
        assert_eq!(host.run(&[tool, "ls"]).json(), json!([]), "{tool}");
    }
    for stage in &STAGES {
        let document = stage.feed(&host, "{\"gocker\":1}").json();
        let listed = host.run(&[stage.tool(), "ls"]).json();
        assert_eq!(listed[0]["id"], document["id"], "{listed}");
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        stage.undo(&host, &document);
        assert_eq!(host.run(&[stage.tool(), "ls"]).json(), json!([]));
    }
}

#[test]
fn v2_undo_needs_only_the_id_and_may_be_called_twice_or_for_nothing() {
    let host = Host::new();
    for tool in ["mount-overlay", "netns", "cgctl", "nsrun"] {
        let output = host.run(&[tool, "undo", &new_id()]).code(0);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{output}");
    }
    for stage in &STAGES {
        let document = stage.feed(&host, "{\"gocker\":1}").json();
        stage.undo(&host, &document);
        stage.undo(&host, &document);
        host.assert_clean();
        host.run(&[stage.tool(), "undo", "not-an-id"]).code(2);
    }
}

#[test]
fn v5_verbose_shows_effects_as_shell_commands() {
    let host = Host::new();
    for stage in &STAGES {
        for flag in ["-v", "--verbose"] {
            let argv = [stage.argv, &[flag]].concat();
            let output = host.feed(&argv, "{\"gocker\":1}").code(0);
            let effects = output.stderr.lines().filter(|line| line.starts_with("+ ")).count();
            assert!(effects > 0 && effects == output.stderr.lines().count(), "{output}");
            stage.undo(&host, &serde_json::from_str(&output.stdout).unwrap());
        }
    }
}

#[test]
fn s1_a_tool_writes_only_below_its_own_directories() {
    let host = Host::new();
    host.sh("mkdir /run/roots").ok();
    let roots = ["--root=/run/roots/kept", "--run-root=/run/roots/run"];
    for stage in &STAGES {
        let has_root = host.run(&[stage.tool(), "--help"]).ok().contains("--root ");
        let roots = if has_root { &roots[..] } else { &roots[1..] };
        let document = host.run(&[stage.argv, roots].concat()).json();
        let found = host
            .sh("ls /run/roots/kept /run/roots/run 2> /dev/null | grep -v : | sort -u; find /run/gocker /var/lib/gocker -mindepth 1")
            .stdout;
        assert_eq!(found.trim(), stage.tool());
        host.run(&[&[stage.tool(), "undo", document["id"].as_str().unwrap()], roots].concat()).ok();
        host.sh("rm -r /run/roots/*").code(0);
    }
    host.sh("rm -r /run/roots").ok();
}
