//! Walking JSON that is known to be JSON: the members of an object, the elements of an array, where a name leads. It builds no tree and checks
//! nothing; of text that is no JSON after all, it finds less, and never panics.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

use crate::route::MAX_PARTS;

/// A member of an object. Places are bytes of the object's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member<'j> {
    /// The name as it is written, without its quotes.
    pub(super) name: &'j str,
    /// The value.
    pub(super) value: &'j str,
    /// Where the name's first quote stands.
    pub(super) start: usize,
    /// Where the value begins.
    pub(super) value_start: usize,
}

impl<'j> Member<'j> {
    /// The byte after the value.
    pub(super) fn end(&self) -> usize {
        self.value_start + self.value.len()
    }

    /// The name that it stands for.
    pub(super) fn plain_name(&self) -> Cow<'j, str> {
        unescaped(self.name)
    }
}

/// What a string stands for that stands between quotes. Half of a surrogate pair stays as it is written.
pub(super) fn unescaped(inner: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(&format!("\"{inner}\"")).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// The members of an object; none of anything else.
pub(super) fn members(json: &str) -> Members<'_> {
    let at = skip_space(json.as_bytes(), 0);
    let is_object = json.as_bytes().get(at) == Some(&b'{');
    Members { json, at: if is_object { at + 1 } else { json.len() } }
}

/// The members of an object, in their order.
#[derive(Debug)]
pub(super) struct Members<'j> {
    json: &'j str,
    at: usize,
}

impl<'j> Iterator for Members<'j> {
    type Item = Member<'j>;

    fn next(&mut self) -> Option<Member<'j>> {
        let bytes = self.json.as_bytes();
        let start = next_item(bytes, self.at)?;
        if bytes[start] != b'"' {
            return None;
        }
        let name_end = value_end(bytes, start);
        let colon = skip_space(bytes, name_end);
        if bytes.get(colon) != Some(&b':') {
            return None;
        }
        let value_start = skip_space(bytes, colon + 1);
        let end = value_end(bytes, value_start);
        self.at = end;
        let name = self.json.get(start + 1..name_end.checked_sub(1)?)?;
        let value = self.json.get(value_start..end).filter(|value| !value.is_empty())?;
        Some(Member { name, value, start, value_start })
    }
}

/// The elements of an array; none of anything else.
pub(super) fn elements(json: &str) -> impl Iterator<Item = &str> {
    let bytes = json.as_bytes();
    let first = skip_space(bytes, 0);
    let mut at = if bytes.get(first) == Some(&b'[') { first + 1 } else { bytes.len() };
    std::iter::from_fn(move || {
        let start = next_item(bytes, at)?;
        at = value_end(bytes, start);
        json.get(start..at).filter(|value| !value.is_empty())
    })
}

/// Where the next member or element begins, if there is one.
fn next_item(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = skip_space(bytes, at);
    if bytes.get(at) == Some(&b',') {
        at = skip_space(bytes, at + 1);
    }
    let is_over = matches!(bytes.get(at), None | Some(b'}' | b']' | b','));
    (!is_over).then_some(at)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The byte after the value that begins here.
pub(super) fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => string_end(bytes, start),
        Some(b'{' | b'[') => group_end(bytes, start),
        _ => {
            let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let rest = bytes.get(start..).unwrap_or_default();
            start + rest.iter().position(ends).unwrap_or(rest.len())
        }
    }
}

/// The byte after the quote that closes a string.
pub(super) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(rest) = bytes.get(at..) {
        match memchr2(b'"', b'\\', rest) {
            Some(found) if rest[found] == b'"' => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    bytes.len()
}

/// The byte after the bracket that closes an object or array. It counts, so that no depth is too deep.
fn group_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Whether the text begins as an object does.
pub(super) fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

/// Where something lies in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// The object that it is a member of.
    pub(super) object: Range<usize>,
    /// Its value.
    pub(super) value: Range<usize>,
    /// How many bytes of the path, from its end, are the member's name.
    pub(super) name_len: usize,
}

/// Where a path leads in an object: the longest name first, and of names that are there twice the last.
pub(super) fn locate(json: &str, path: &str) -> Option<Spot> {
    locate_from(json, 0, path)
}

fn locate_from(json: &str, offset: usize, path: &str) -> Option<Spot> {
    let mut found: [Option<(Member<'_>, &str)>; MAX_PARTS] = [None; MAX_PARTS];
    for member in members(json) {
        let name = member.plain_name();
        let Some(rest) = path.strip_prefix(&*name) else { continue };
        let dots = name.matches('.').count();
        let rest = if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') };
        if let (Some(rest), Some(slot)) = (rest, found.get_mut(dots)) {
            *slot = Some((member, rest));
        }
    }
    found.iter().rev().flatten().find_map(|(member, rest)| {
        let start = offset + member.value_start;
        if rest.is_empty() {
            let value = start..start + member.value.len();
            return Some(Spot { object: offset..offset + json.len(), value, name_len: path.len() });
        }
        if is_object(member.value) { locate_from(member.value, start, rest) } else { None }
    })
}

/// The text without the members of a name in the object at a place.
pub(super) fn without(json: &str, object: &Range<usize>, name: &str) -> String {
    let inner = json.get(object.clone()).unwrap_or_default();
    let mut out = String::with_capacity(json.len());
    out.push_str(json.get(..object.start).unwrap_or_default());
    out.push('{');
    let mut is_first = true;
    for member in members(inner).filter(|member| member.plain_name() != name) {
        if !is_first {
            out.push(',');
        }
        is_first = false;
        out.push_str(inner.get(member.start..member.end()).unwrap_or_default());
    }
    out.push('}');
    out.push_str(json.get(object.end..).unwrap_or_default());
    out
}

/// The text with another value at a place.
pub(super) fn replaced(json: &str, place: &Range<usize>, value: &str) -> String {
    let mut out = String::with_capacity(json.len() + value.len());
    out.push_str(json.get(..place.start).unwrap_or_default());
    out.push_str(value);
    out.push_str(json.get(place.end..).unwrap_or_default());
    out
}

/// The text with one more member in the object at a place. The object has none of that name.
pub(super) fn extended(json: &str, object: &Range<usize>, name: &str, value: &str) -> String {
    let inner = json.get(object.clone()).unwrap_or_default().trim_ascii();
    let mut member = String::with_capacity(name.len() + value.len() + 8);
    if members(inner).next().is_some() {
        member.push(',');
    }
    push_text(name, &mut member);
    member.push(':');
    member.push_str(value);
    let end = object.start + json.get(object.clone()).unwrap_or_default().trim_ascii_end().len();
    let end = end.saturating_sub(1);
    replaced(json, &(end..end), &member)
}

/// Appends a JSON string.
pub(super) fn push_text(text: &str, out: &mut String) {
    let is_plain = text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\');
    out.push('"');
    if is_plain {
        out.push_str(text);
        return out.push('"');
    }
    let quoted = serde_json::to_string(text).unwrap_or_default();
    out.push_str(quoted.strip_prefix('"').unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_as_they_are_written() {
        let json = r#" { "a" : 1 , "b\"":{"x":"}"},"c":[1,{"}":"]"}], "d":"\\" ,"e":null }"#;
        let all: Vec<(String, &str)> = members(json).map(|m| (m.plain_name().into_owned(), m.value)).collect();
        let expected =
            [("a", "1"), ("b\"", r#"{"x":"}"}"#), ("c", r#"[1,{"}":"]"}]"#), ("d", r#""\\""#), ("e", "null")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(members("[1]").count() + members("{}").count() + members("").count(), 0);
        assert_eq!(elements(r#" [ 1 , "a,]" ,[2,3], {} ] "#).collect::<Vec<_>>(), ["1", "\"a,]\"", "[2,3]", "{}"]);
        assert_eq!(elements("{}").count() + elements("[]").count(), 0);
    }

    #[test]
    fn paths_lead_to_places_that_can_be_changed() {
        let json = r#"{"a":{"b.c":1,"b":{"c":2,"d":3}},"a.b":{"c":4}}"#;
        let value = |path| locate(json, path).and_then(|spot| json.get(spot.value));
        assert_eq!(value("a.b.c"), Some("4"));
        assert_eq!(value("a.b.d"), Some("3"));
        assert_eq!(value("a.x"), None);
        let spot = locate(json, "a.b.d").unwrap();
        assert_eq!(without(json, &spot.object, "d"), r#"{"a":{"b.c":1,"b":{"c":2}},"a.b":{"c":4}}"#);
        assert_eq!(replaced(json, &spot.value, "[]"), r#"{"a":{"b.c":1,"b":{"c":2,"d":[]}},"a.b":{"c":4}}"#);
        assert_eq!(extended("{ }", &(0..3), "x\"", "1"), r#"{ "x\"":1}"#);
        assert_eq!(extended(r#"{"a":1} "#, &(0..8), "b", "2"), r#"{"a":1,"b":2} "#);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(json in r#"[{}\[\]":,\\ a1é]{0,40}"#, path in "[a.1]{1,4}") {
            members(&json).for_each(drop);
            elements(&json).for_each(drop);
            if let Some(spot) = locate(&json, &path) {
                without(&json, &spot.object, "a");
                extended(&json, &spot.object, "a", "1");
                prop_assert!(json.get(spot.value).is_some());
            }
        }
    }
}
