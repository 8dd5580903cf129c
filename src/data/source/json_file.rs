//! A file of records: JSON lines, one JSON list, or a single record over several lines. It is scanned once for where its records stand, and never held as a whole.

use super::picture::{Part, Picture};
use super::{Form, Source};
use crate::data::parse::{Kind, parse};
use crate::data::record::Record;
use crate::models::config::standard_json;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct JsonFile {
    path: Arc<Path>,
    /// Folder of the pictures.
    pictures: PathBuf,
    kind: Kind,
    text_key: Option<String>,
    /// "line" or "item".
    unit: &'static str,
    spans: Vec<Span>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u64,
    len: u64,
    /// Its line or place in the list, from 1.
    number: u64,
}

/// The most bytes of a file that is tried as a single record.
const ONE_RECORD: u64 = 64 << 20;

/// Whether a file is one object whose first line is not an object by itself.
fn is_one_record(path: &Path) -> std::io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    skip_mark(&mut file)?;
    let mut first = Vec::new();
    while first.trim_ascii().is_empty() && file.by_ref().take(ONE_RECORD).read_until(b'\n', &mut first)? > 0 {}
    let object = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(&standard_json(bytes)).is_ok();
    if object(&first) || std::fs::metadata(path)?.len() > ONE_RECORD {
        return Ok(false);
    }
    file.read_to_end(&mut first)?;
    Ok(object(&first))
}

/// The whole file.
fn one(path: &Path, start: u64) -> std::io::Result<Vec<Span>> {
    let len = std::fs::metadata(path)?.len() - start;
    Ok(vec![Span { start, len, number: 1 }])
}

impl JsonFile {
    pub fn open(path: &Path, form: Form) -> Result<JsonFile> {
        let error = |e| Error::file(path, e);
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(error)?);
        let start = skip_mark(&mut reader).map_err(error)?;
        let is_json = path.extension().is_some_and(|e| e == "json");
        let is_list = is_json && first_sign(path).map_err(error)? == Some(b'[');
        let (unit, spans) = match is_list {
            true => ("item", items(&mut reader, start)),
            false if is_json && is_one_record(path).map_err(error)? => ("item", one(path, start)),
            false => ("line", lines(&mut reader, start)),
        };
        let beside = || path.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(JsonFile {
            path: path.into(),
            pictures: form.pictures.map_or_else(beside, Path::to_path_buf),
            kind: form.kind,
            text_key: form.text_key.map(str::to_string),
            unit,
            spans: spans.map_err(error)?,
        })
    }

    fn span(&self, n: u64) -> Result<Span> {
        let span = usize::try_from(n).ok().and_then(|n| self.spans.get(n).copied());
        span.ok_or_else(|| Error::file(&self.path, format!("has no record {n}")))
    }
}

impl Source for JsonFile {
    fn len(&self) -> u64 {
        self.spans.len() as u64
    }

    fn place(&self, n: u64) -> String {
        let number = self.span(n).map_or(n + 1, |span| span.number);
        format!("{}, {} {number}", self.path.display(), self.unit)
    }

    fn record(&self, n: u64) -> Result<Record<Picture>> {
        let Span { start, len, .. } = self.span(n)?;
        let bytes = Part { file: self.path.clone(), name: self.unit.into(), start, len }.read()?;
        let value = serde_json::from_slice(&standard_json(&bytes));
        let value = value.map_err(|e| Error::Input(format!("is not JSON: {e}")))?;
        let record = parse(self.kind, &value, self.text_key.as_deref())?;
        Ok(record.try_map(|name| Ok(Picture::File(self.pictures.join(name))))?.0)
    }
}

/// Skips a byte order mark; returns its length.
fn skip_mark(reader: &mut impl BufRead) -> std::io::Result<u64> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if !reader.fill_buf()?.starts_with(MARK) {
        return Ok(0);
    }
    reader.consume(MARK.len());
    Ok(MARK.len() as u64)
}

/// The first byte that is neither white space nor part of a byte order mark.
fn first_sign(path: &Path) -> std::io::Result<Option<u8>> {
    let mut reader = BufReader::new(File::open(path)?);
    skip_mark(&mut reader)?;
    reader.bytes().find(|byte| !byte.as_ref().is_ok_and(u8::is_ascii_whitespace)).transpose()
}

/// Lines that are not blank.
fn lines(reader: &mut impl BufRead, mut start: u64) -> std::io::Result<Vec<Span>> {
    let (mut spans, mut line) = (Vec::new(), Vec::new());
    for number in 1.. {
        line.clear();
        let len = reader.read_until(b'\n', &mut line)? as u64;
        if len == 0 {
            break;
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            spans.push(Span { start, len, number });
        }
        start += len;
    }
    Ok(spans)
}

/// What stands between the commas of a list. A list that ends too early gives its last item as far as it goes.
fn items(reader: &mut impl BufRead, start: u64) -> std::io::Result<Vec<Span>> {
    let mut scan = Scan { spans: Vec::new(), begun: None, depth: 0, quoted: false, escaped: false };
    let mut at = start;
    loop {
        let bytes = reader.fill_buf()?;
        let len = bytes.len();
        if len == 0 {
            break;
        }
        bytes.iter().for_each(|&byte| {
            scan.byte(at, byte);
            at += 1;
        });
        reader.consume(len);
    }
    scan.end(at);
    Ok(scan.spans)
}

/// The state of a walk over a list.
struct Scan {
    spans: Vec<Span>,
    /// Start of the item, once something of it has been seen.
    begun: Option<u64>,
    depth: u32,
    quoted: bool,
    escaped: bool,
}

impl Scan {
    fn byte(&mut self, at: u64, byte: u8) {
        let outside = self.depth == 1 && !self.quoted;
        match byte {
            b'"' if !self.escaped => self.quoted ^= true,
            b'[' | b'{' if !self.quoted => self.depth += 1,
            b']' | b'}' if !self.quoted => self.depth = self.depth.saturating_sub(1),
            _ => (),
        }
        self.escaped = self.quoted && byte == b'\\' && !self.escaped;
        if outside && (byte == b',' || byte == b']') {
            self.end(at);
        } else if self.begun.is_none() && (self.depth > 1 || outside && !byte.is_ascii_whitespace()) {
            self.begun = Some(at);
        }
    }

    fn end(&mut self, at: u64) {
        if let Some(start) = self.begun.take() {
            self.spans.push(Span { start, len: at - start, number: self.spans.len() as u64 + 1 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Vec<String> {
        let spans = items(&mut json.as_bytes(), 0).unwrap();
        spans.iter().map(|s| json[s.start as usize..(s.start + s.len) as usize].trim().to_string()).collect()
    }

    #[test]
    fn items_of_a_list_are_found() {
        let json = r#" [ {"a": "],[\"\\"} , [1,2], 7, "x\\\"," ,{"b":{"c":[]}} ] "#;
        assert_eq!(texts(json), [r#"{"a": "],[\"\\"}"#, "[1,2]", "7", r#""x\\\",""#, r#"{"b":{"c":[]}}"#]);
        assert!(texts("[]").is_empty() && texts(" [ \n ] ").is_empty());
        assert_eq!(texts(r#"[{"a":1},{"b":"#), [r#"{"a":1}"#, r#"{"b":"#]);
        assert_eq!(texts(r#"[{"a":1},{"b":2]"#).len(), 2);
    }

    #[test]
    fn blank_lines_do_not_count_but_number() {
        let spans = lines(&mut "{}\n\n  \r\n{\"a\":1}".as_bytes(), 0).unwrap();
        let found: Vec<_> = spans.iter().map(|s| (s.start, s.len, s.number)).collect();
        assert_eq!(found, [(0, 3, 1), (8, 7, 4)]);
    }
}
