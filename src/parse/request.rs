//! The first line of an HTTP request, as access logs quote it, and its three parts.

use memchr::{memchr, memrchr};

use super::sink::{Sink, name};
use crate::event::Value;

/// The longest name of a method; the registered ones have up to 17 letters.
const MAX_METHOD: usize = 32;

/// Appends `method`, `path` and `protocol`, which with a space between them are the line; HTTP/0.9 has no protocol. What a scanner sent that is no
/// request stays in one piece, as `request`. Both would be a fifth of an access log's events, for nothing that the parts do not say.
pub(super) fn push<'a>(line: &'a str, event: &mut impl Sink<'a>) {
    let Some((method, path, protocol)) = parts(line) else { return event.put_text(name!("request"), line) };
    event.put(name!("method"), Value::text(method));
    event.put(name!("path"), Value::text(path));
    if let Some(protocol) = protocol {
        event.put(name!("protocol"), Value::text(protocol));
    }
}

/// Method, path and protocol. A path may have spaces.
fn parts(line: &str) -> Option<(&str, &str, Option<&str>)> {
    let (method, rest) = line.split_at_checked(memchr(b' ', line.as_bytes())?)?;
    let target = rest.get(1..)?;
    if method.is_empty() || method.len() > MAX_METHOD || !method.bytes().all(is_of_method) {
        return None;
    }
    let last = memrchr(b' ', target.as_bytes()).and_then(|at| target.split_at_checked(at));
    match last {
        Some((path, protocol)) if protocol.starts_with(" HTTP/") => Some((method, path, protocol.get(1..))),
        _ if target.starts_with('/') => Some((method, target, None)),
        _ => None,
    }
}

fn is_of_method(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_three_parts_or_none() {
        assert_eq!(parts("GET /a b HTTP/1.1"), Some(("GET", "/a b", Some("HTTP/1.1"))));
        assert_eq!(parts("PRI * HTTP/2.0"), Some(("PRI", "*", Some("HTTP/2.0"))));
        assert_eq!(parts("GET /"), Some(("GET", "/", None)));
        assert_eq!(parts("CONNECT a.example:443 HTTP/1.1"), Some(("CONNECT", "a.example:443", Some("HTTP/1.1"))));
        for none in ["", "-", "HELP", r"\x16\x03\x01 \x00", "145.ll|'|'|x Pro", " / HTTP/1.1", "GET HTTP/1.1"] {
            assert_eq!(parts(none), None, "{none}");
        }
    }
}
