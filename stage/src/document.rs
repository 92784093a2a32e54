//! The document that flows down the pipe (stage/README.md, section 1).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use anyhow::{Context, Result, bail};
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{Codes, Explain, Id, signals};

/// The major version of the document that this crate reads and writes.
const VERSION: u64 = 1;
/// The largest document, in bytes, that is read or written.
const MAX_BYTES: usize = 1 << 20;

/// A section's key, and the stage that writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Image,
    Rootfs,
    Network,
    Cgroup,
    Process,
}

impl Section {
    /// The section's key in the document.
    pub fn key(self) -> &'static str {
        match self {
            Section::Image => "image",
            Section::Rootfs => "rootfs",
            Section::Network => "network",
            Section::Cgroup => "cgroup",
            Section::Process => "process",
        }
    }

    /// The tool that writes the section.
    pub fn writer(self) -> &'static str {
        match self {
            Section::Image => "pull",
            Section::Rootfs => "mount-overlay",
            Section::Network => "netns",
            Section::Cgroup => "cgctl",
            Section::Process => "nsrun",
        }
    }
}

/// One document. The value of every key is kept byte for byte (white space outside of strings aside), so
/// what a stage does not know passes through untouched, in its place.
#[derive(Debug)]
pub struct Document {
    entries: Vec<(String, Box<RawValue>)>,
}

impl Document {
    /// A document that holds nothing but its version.
    pub fn new() -> Result<Document> {
        Ok(Document { entries: vec![("gocker".to_owned(), serde_json::value::to_raw_value(&VERSION)?)] })
    }

    /// Whether a stage upstream writes to stdin: it is no character device.
    ///
    /// # Errors
    /// stdin cannot be looked at.
    pub fn is_upstream() -> Result<bool> {
        // Not by the name /dev/stdin, a link that udev makes and small hosts lack.
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("cannot read the document")?;
        let kind = File::from(stdin).metadata().context("cannot read the document")?.file_type();
        Ok(!kind.is_char_device())
    }

    /// The document on stdin.
    ///
    /// A character device (a terminal, `/dev/null`) means that there is no stage upstream: an empty document.
    ///
    /// # Errors
    /// stdin ended at once: code 3, because the stage upstream failed and has said why. What is not a
    /// document of version 1: code 2.
    pub fn from_stdin() -> Result<Document> {
        if !Document::is_upstream()? {
            return Document::new();
        }
        match Document::read(std::io::stdin().lock())? {
            Some(document) => Ok(document),
            None => Err(anyhow::anyhow!("no document on stdin: the stage before this one has said why"))
                .code(Codes::NO_DOCUMENT),
        }
    }

    /// The document that `reader` yields, to its end. `None` if it yields nothing but white space.
    ///
    /// # Errors
    /// Malformed, too large, or of a higher version (code 2); what the reader reports (code 1).
    pub fn read(reader: impl Read) -> Result<Option<Document>> {
        let mut text = Vec::new();
        reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut text).context("cannot read the document")?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        Document::parse(&text).map(Some).context("cannot read the document").code(Codes::USAGE)
    }

    fn parse(text: &[u8]) -> Result<Document> {
        if text.len() > MAX_BYTES {
            bail!("it is larger than {MAX_BYTES} bytes");
        }
        let document: Document = serde_json::from_slice(text)?;
        let Some((_, version)) = document.entries.iter().find(|(key, _)| key == "gocker") else {
            bail!("key \"gocker\" is missing");
        };
        match version.get().parse::<u64>() {
            Ok(VERSION) => Ok(document),
            Ok(other) => bail!("version {other} of the document is not supported, only {VERSION}"),
            Err(_) => bail!("key \"gocker\" is {version}, not a version number"),
        }
    }

    /// The document as it goes down the pipe, on one line.
    pub fn to_line(&self) -> Result<String> {
        let mut line = String::from("{");
        for (key, value) in &self.entries {
            if line.len() > 1 {
                line.push(',');
            }
            line.push_str(&serde_json::to_string(key)?);
            line.push(':');
            line.push_str(value.get());
        }
        line.push_str("}\n");
        if line.len() > MAX_BYTES {
            bail!("cannot write the document: it is larger than {MAX_BYTES} bytes");
        }
        Ok(line)
    }

    /// Hands the document to the next stage. The last thing a stage does: an error, or a signal that came
    /// while the stage worked, must undo what it did.
    pub fn write(&self) -> Result<()> {
        signals::check()?;
        let line = self.to_line()?;
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(line.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write the document: write stdout")
    }

    /// The value of `key`, read as `T`. `None` if it is not there.
    ///
    /// # Errors
    /// It does not have the shape of `T` (code 2).
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some((_, raw)) = self.entries.iter().find(|(name, _)| name == key) else {
            return Ok(None);
        };
        // Not as an Option: what is null is there, and must not be added a second time.
        serde_json::from_str(raw.get())
            .map(Some)
            .with_context(|| format!("cannot read the document: \"{key}\""))
            .code(Codes::USAGE)
    }

    /// A section that this stage cannot do without.
    ///
    /// # Errors
    /// It is missing or malformed (code 2).
    pub fn need<T: DeserializeOwned>(&self, section: Section) -> Result<T> {
        let key = section.key();
        match self.get(key)? {
            Some(value) => Ok(value),
            None => Err(anyhow::anyhow!("cannot read the document: section \"{key}\" is missing"))
                .hint(format!("{} writes it", section.writer()))
                .code(Codes::USAGE),
        }
    }

    /// Checks, before anything is done, that the section this stage will add is not there.
    pub fn vacant(&self, section: Section) -> Result<()> {
        if self.entries.iter().any(|(key, _)| key == section.key()) {
            return Err(anyhow::anyhow!(
                "cannot add to the document: section \"{}\" is already there",
                section.key()
            ))
            .code(Codes::USAGE);
        }
        Ok(())
    }

    /// Adds a section behind what is there.
    pub fn add(&mut self, section: Section, value: &impl Serialize) -> Result<()> {
        self.vacant(section)?;
        self.push(section.key(), value)
    }

    /// The container's id: the document's own, else `wanted`, else a new one; in the document from now on.
    ///
    /// # Errors
    /// The document has another id than `wanted`, or something that is no id (code 2).
    pub fn identify(&mut self, wanted: Option<Id>) -> Result<Id> {
        match (self.get::<Id>("id")?, wanted) {
            (Some(id), None) => Ok(id),
            (Some(id), Some(wanted)) if id == wanted => Ok(id),
            (Some(id), Some(wanted)) => {
                Err(anyhow::anyhow!("cannot use id {wanted}: the document's is {id}")).code(Codes::USAGE)
            }
            (None, wanted) => {
                let id = wanted.map_or_else(Id::mint, Ok)?;
                self.push("id", &id)?;
                Ok(id)
            }
        }
    }

    /// Takes over every key of `other` that is not here yet: how branches of a pipeline that ran side by
    /// side become one document again.
    pub fn merge(&mut self, other: Document) {
        for (key, value) in other.entries {
            if !self.entries.iter().any(|(name, _)| *name == key) {
                self.entries.push((key, value));
            }
        }
    }

    fn push(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        // What another standard's document holds verbatim may have line breaks between its tokens.
        let value = one_line(serde_json::value::to_raw_value(value)?)?;
        self.entries.push((key.to_owned(), value));
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Document;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut entries: Vec<(String, Box<RawValue>)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if entries.iter().any(|(name, _)| *name == key) {
                return Err(A::Error::custom(format!("key \"{key}\" is there twice")));
            }
            let value = one_line(value).map_err(A::Error::custom)?;
            entries.push((key, value));
        }
        Ok(Document { entries })
    }
}

/// The same value without white space between its tokens, so that the document stays on one line.
fn one_line(value: Box<RawValue>) -> serde_json::Result<Box<RawValue>> {
    if !value.get().contains(['\n', '\r', '\t', ' ']) {
        return Ok(value);
    }
    let mut text = String::with_capacity(value.get().len());
    let (mut in_string, mut escaped) = (false, false);
    for c in value.get().chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        text.push(c);
    }
    RawValue::from_string(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document> {
        Document::parse(text.as_bytes())
    }

    #[test]
    fn what_is_not_known_passes_through_byte_for_byte() {
        let text = "{\"gocker\":1,\"x\":{\"a\":1.10,\"b\":18446744073709551616,\"c\":\"\\u00e9 \\\\\\\" \"},\"n\":null}\n";
        assert_eq!(parse(text).unwrap().to_line().unwrap(), text);
    }

    #[test]
    fn an_indented_document_comes_out_on_one_line() {
        let document = parse("{\n  \"gocker\": 1,\n  \"x\": [\n 1,\n \"a b\\\" \" ]\n}\n").unwrap();
        assert_eq!(document.to_line().unwrap(), "{\"gocker\":1,\"x\":[1,\"a b\\\" \"]}\n");
    }

    #[test]
    fn what_is_added_is_on_one_line() {
        let mut document = Document::new().unwrap();
        let verbatim = RawValue::from_string("{\n  \"a\": \"b c\"\n}".to_owned()).unwrap();
        document.add(Section::Image, &verbatim).unwrap();
        assert_eq!(document.to_line().unwrap(), "{\"gocker\":1,\"image\":{\"a\":\"b c\"}}\n");
    }

    #[test]
    fn a_higher_version_is_refused_by_name() {
        let error = parse("{\"gocker\":2}").unwrap_err();
        assert_eq!(error.to_string(), "version 2 of the document is not supported, only 1");
    }

    #[test]
    fn a_key_may_be_there_once() {
        let error = parse("{\"gocker\":1,\"id\":1,\"id\":2}").unwrap_err();
        assert!(error.to_string().starts_with("key \"id\" is there twice"), "{error}");
    }

    #[test]
    fn a_section_is_added_once() {
        let mut document = Document::new().unwrap();
        document.add(Section::Cgroup, &1).unwrap();
        let error = document.add(Section::Cgroup, &2).unwrap_err();
        assert_eq!(error.to_string(), "cannot add to the document: section \"cgroup\" is already there");
    }

    #[test]
    fn what_is_null_is_there() {
        let mut document = parse("{\"gocker\":1,\"id\":null}").unwrap();
        let error = document.identify(None).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot read the document: \"id\": invalid type: null"),
            "{error:#}"
        );
    }

    #[test]
    fn nothing_but_white_space_is_no_document() {
        assert!(Document::read(&b" \n"[..]).unwrap().is_none());
    }

    #[test]
    fn an_id_is_minted_once() {
        let mut document = Document::new().unwrap();
        let id = document.identify(None).unwrap();
        assert_eq!(document.identify(None).unwrap(), id);
        assert!(document.identify(Some(Id::mint().unwrap())).is_err());
    }
}
