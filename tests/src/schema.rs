//! Checks a section of the document against its JSON Schema, with python3-jsonschema.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bins;

const CHECK: &str = "\
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator(schema).validate(json.load(sys.stdin))
";

/// Fails unless `document` has the section and it is as `stage/schema/SECTION.json` says.
#[track_caller]
pub fn check(document: &Value, section: &str) {
    let schema = bins::workspace().join(format!("stage/schema/{section}.json"));
    // Debian's own: another python3 in PATH would not have Debian's module.
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", CHECK])
        .arg(schema)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let value = document.get(section).unwrap_or_else(|| panic!("no section {section}: {document}"));
    serde_json::to_writer(child.stdin.take().unwrap(), value).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{value}\n{}", String::from_utf8_lossy(&output.stderr));
}
