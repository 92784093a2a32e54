//! The trace as spans, one JSON object on each line, by OpenTelemetry's names: what a collector's file receiver can be
//! taught to read, and jq can without.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stage::Id;

use super::Line;

/// Where the spans belong: a trace of their own, or that of the caller (W3C Trace Context, `TRACEPARENT`).
pub struct Origin {
    trace: String,
    parent: Option<String>,
    span: String,
    began: SystemTime,
}

impl Origin {
    pub fn new() -> Result<Origin> {
        let given = std::env::var("TRACEPARENT").ok();
        let given = given.as_deref().and_then(traceparent);
        let trace = match &given {
            Some((trace, _)) => trace.clone(),
            None => Id::mint()?.as_str()[..32].to_owned(),
        };
        let span = span_id()?;
        Ok(Origin { trace, parent: given.map(|(_, span)| span), span, began: SystemTime::now() })
    }

    /// Adds a span for each line to the file, and one around them all.
    pub fn write(&self, file: &Path, lines: &[Line], whole: Duration) -> Result<()> {
        let mut text = String::new();
        let own = json!({"traceId": self.trace, "spanId": self.span, "parentSpanId": self.parent, "name": "gocker-sh",
            "startTimeUnixNano": self.nanos(Duration::ZERO), "endTimeUnixNano": self.nanos(whole)});
        text += &format!("{own}\n");
        for line in lines {
            text += &format!("{}\n", self.span_of(line)?);
        }
        let open = OpenOptions::new().append(true).create(true).open(file);
        open.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn span_of(&self, line: &Line) -> Result<Value> {
        let section = line.section.as_deref().map(|text| format!("{{{text}}}"));
        let section: Option<Value> = section.as_deref().map(serde_json::from_str).transpose()?;
        Ok(json!({"traceId": self.trace, "spanId": span_id()?, "parentSpanId": self.span, "name": line.tool,
            "startTimeUnixNano": self.nanos(line.from), "endTimeUnixNano": self.nanos(line.to),
            "attributes": {"command": line.command, "exitCode": line.code, "document": section}}))
    }

    /// As OpenTelemetry's JSON has them: text, for they do not fit into a float.
    fn nanos(&self, after: Duration) -> String {
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default() + after;
        since.as_nanos().to_string()
    }
}

fn span_id() -> Result<String> {
    Ok(Id::mint()?.as_str()[..16].to_owned())
}

/// Trace and span of `VERSION-TRACE-SPAN-FLAGS`; what is malformed is as if it were not there, as the standard has it.
fn traceparent(text: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, _flags, ..] = parts[..] else { return None };
    let is_hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
            && text.bytes().any(|c| c != b'0')
    };
    (version.len() == 2 && version != "ff" && is_hex(trace, 32) && is_hex(span, 16))
        .then(|| (trace.to_owned(), span.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_parent_is_none() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let text = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(traceparent(&text), Some((trace.to_owned(), "b7ad6b7169203331".to_owned())));
        for bad in ["", "00-1-2-3", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            assert_eq!(traceparent(bad), None, "{bad}");
        }
        assert_eq!(traceparent(&format!("00-{trace}-{}-01", "0".repeat(16))), None);
    }
}
