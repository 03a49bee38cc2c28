//! Covers secrets before a line lies on the disk: what a source's `redact` hides is not in its spool either. It knows a line's head, and of its text only
//! whether it is a JSON object: parsers and other transforms come when the line is read again, and so does a second, thorough look. No I/O, no clock.

use memchr::memchr;

use super::Lines;
use crate::config::{SourceConfig, SourceKind};
use crate::container::{Piece, cri};
use crate::event::{Event, Value};
use crate::parse::MESSAGE;
use crate::transform::{Context, Pipeline, State};

/// Covers the lines of one source.
#[derive(Debug)]
pub(super) struct Cover {
    pipeline: Pipeline,
    state: State,
    /// Whether lines have a head as the CRI has it, before their text.
    has_head: bool,
    source: String,
}

impl Cover {
    /// What covers this source's lines; nothing if it redacts nothing.
    pub(super) fn new(source: &SourceConfig) -> Option<Self> {
        let pipeline = source.shape.pipeline.provisional();
        if pipeline.is_empty() {
            return None;
        }
        // Nothing here is left to chance.
        let state = pipeline.state(0);
        Some(Self { state, pipeline, has_head: source.kind != SourceKind::Forward, source: source.name.clone() })
    }

    /// Puts what covers secrets in their place. The lines are as many as before.
    pub(super) fn cover(&mut self, lines: &mut Lines) {
        let bytes = std::mem::take(&mut lines.bytes);
        let mut covered = Vec::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(end) = memchr(b'\n', &bytes[at..]).map(|len| at + len) {
            let (path, start) = if self.has_head { head(&bytes[at..end]) } else { ("", 0) };
            let text = at + start;
            if let Some(other) = self.text(&bytes[text..end], path) {
                covered.extend_from_slice(&bytes[copied..text]);
                covered.extend_from_slice(&other);
                copied = end;
            }
            at = end + 1;
        }
        if copied == 0 {
            lines.bytes = bytes;
            return;
        }
        covered.extend_from_slice(&bytes[copied..]);
        lines.bytes = covered;
    }

    /// The text with its secrets covered; nothing if there are none. A private key can go on from line to line of one stream.
    fn text(&mut self, text: &[u8], path: &str) -> Option<Vec<u8>> {
        let text = crate::parse::text(text);
        let at = Context { path, source: &self.source, ..Context::default() };
        let mut event = Event::default();
        let is_object = text.trim_start().starts_with('{') && event.read_json(&text).is_ok();
        if !is_object {
            event = Event::default();
            event.push(MESSAGE, Value::text(&text));
        }
        if !self.pipeline.redact(&mut self.state, &mut event, &at) {
            return None;
        }
        let mut out = Vec::new();
        if is_object {
            event.write_to(&mut out);
        } else {
            // A field that is removed as a whole leaves nothing of its text.
            let left = event.remove(MESSAGE).map(|value| value.as_str().into_owned()).unwrap_or_default();
            // What covers has no newline, and the text had none; a line stays one.
            out.extend(left.bytes().map(|b| if b == b'\n' { b' ' } else { b }));
        }
        Some(out)
    }
}

/// The name of a line's stream, and where its text begins.
fn head(line: &[u8]) -> (&'static str, usize) {
    match cri::parse(line) {
        Some(Piece { stream, at, .. }) => (stream.name(), at.unwrap_or_default()),
        None => ("", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Layers};

    fn cover(kind: &str, redact: &str) -> Option<Cover> {
        let paths = if kind == "fifo" { "paths: [/a/pipe], " } else { "" };
        let text = format!("sources: [{{name: a, type: {kind}, {paths}parse: json, transforms: [{redact}]}}]");
        let file = Some(Document { name: "k.yaml".to_owned(), text });
        let sources = SourceConfig::load_all(&Layers { file, ..Layers::default() }).unwrap();
        Cover::new(&sources[0])
    }

    fn covered(cover: &mut Cover, text: &str) -> String {
        let mut lines = Lines { bytes: text.as_bytes().to_vec(), events: 1 };
        cover.cover(&mut lines);
        String::from_utf8(lines.bytes).unwrap()
    }

    const HEAD: &str = "2026-01-02T03:04:05.000000006Z stdout F ";

    #[test]
    fn secrets_are_covered_and_all_else_stays_as_it_is() {
        let mut cover = cover("fifo", "{drop: 'a == 1'}, {redact: {presets: [email, card], fields: [pin]}}").unwrap();
        for (before, after) in [
            ("by joe@example.com there", "by *** there"),
            (
                r#"{"a" : 1.50,"by":"joe@example.com","card":4111111111111111,"pin":[1]}"#,
                r#"{"a":1.50,"by":"***","card":"***","pin":"***"}"#,
            ),
            (r#" {"a" : 1.50} "#, r#" {"a" : 1.50} "#),
            ("4111111111111111", "***"),
            ("{ joe@example.com", "{ ***"),
            ("", ""),
        ] {
            assert_eq!(covered(&mut cover, &format!("{HEAD}{before}\n")), format!("{HEAD}{after}\n"), "{before}");
        }
        let many = format!("{HEAD}one\n{HEAD}joe@example.com\n{HEAD}three\n{HEAD}a@b.cc\n");
        assert_eq!(covered(&mut cover, &many), format!("{HEAD}one\n{HEAD}***\n{HEAD}three\n{HEAD}***\n"));
    }

    #[test]
    fn a_key_is_covered_to_its_end_and_streams_are_apart() {
        let mut cover = cover("fifo", "{redact: {presets: [private_key]}}").unwrap();
        let other = HEAD.replace("stdout", "stderr");
        let lines = format!(
            "{HEAD}-----BEGIN PRIVATE KEY-----\n{other}abc\n{HEAD}MIIE\n{HEAD}-----END PRIVATE KEY-----\n{HEAD}abc\n"
        );
        assert_eq!(covered(&mut cover, &lines), format!("{HEAD}***\n{other}abc\n{HEAD}***\n{HEAD}***\n{HEAD}abc\n"));
    }

    #[test]
    fn sources_without_secrets_are_left_alone() {
        assert!(cover("fifo", "{remove: [a]}").is_none());
        let mut forward = cover("forward", "{redact: {presets: [email], with: hash, salt: nobody knows}}").unwrap();
        let line = covered(&mut forward, "{\"log\":\"joe@example.com\"}\n");
        assert!(line.starts_with("{\"log\":\"hash:"), "{line}");
        // The second look leaves what the first has put there.
        assert_eq!(covered(&mut forward, &line), line);
    }

    /// What comes out is the same as without the first look, whatever stands in a secret's place.
    #[test]
    fn two_looks_are_as_one() {
        let all = "presets: [aws_keys, bearer, email, card, ip, private_key, tokens, passwords]";
        for with in ["with: mask", "mask: not shown", "mask: ''", "with: remove", "with: hash, salt: nobody knows"] {
            let redact = format!("{{redact: {{{all}, {with}}}}}");
            let mut first = cover("fifo", &redact).unwrap();
            for text in [
                "password= hunter2 and more",
                "Authorization: Bearer abcDEF123456 x",
                "a@b.cc 4111111111111111 ::1",
                "pwd=a&pwd=b",
                "x",
            ] {
                let mut once = Event::default();
                once.push(MESSAGE, Value::text(text));
                let pipeline = source(&redact).shape.pipeline;
                pipeline.redact(&mut pipeline.state(1), &mut once, &Context::default());
                let line = covered(&mut first, &format!("{HEAD}{text}\n"));
                let mut twice = Event::default();
                twice.push(MESSAGE, Value::text(line.strip_prefix(HEAD).unwrap().trim_end_matches('\n')));
                pipeline.redact(&mut pipeline.state(1), &mut twice, &Context::default());
                assert_eq!(
                    twice.get(MESSAGE).unwrap().as_str(),
                    once.get(MESSAGE).unwrap().as_str(),
                    "{with}: {text}: {line}"
                );
            }
        }
    }

    fn source(redact: &str) -> SourceConfig {
        let text = format!("sources: [{{name: a, paths: [/a], transforms: [{redact}]}}]");
        let file = Some(Document { name: "k.yaml".to_owned(), text });
        SourceConfig::load_all(&Layers { file, ..Layers::default() }).unwrap().remove(0)
    }
}
