//! Addresses of mail: something, an at sign (or `%40`, as URLs have it), and a name with a dot.

use std::ops::Range;

use memchr::{memchr_iter, memmem};

/// What systemd's units end with, which are written like addresses: `getty@tty1.service`.
const UNITS: [&str; 10] =
    ["service", "slice", "socket", "mount", "scope", "target", "timer", "device", "swap", "automount"];

/// What files end with that have an at sign in their names: `icon@2x.png`.
const FILES: [&str; 10] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "tgz", "jar"];

/// Says where addresses are.
pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    memchr_iter(b'@', bytes).filter_map(|at| around(text, at, at + 1)).for_each(&mut *found);
    if memchr::memchr(b'%', bytes).is_some() {
        memmem::find_iter(bytes, "%40").filter_map(|at| around(text, at, at + 3)).for_each(found);
    }
}

fn around(text: &str, at: usize, after: usize) -> Option<Range<usize>> {
    let before = text.get(..at)?;
    let is_local = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'');
    let local = before.get(before.trim_end_matches(is_local).len()..)?.trim_start_matches(['.', '\'', '-']);
    let rest = text.get(after..)?;
    let is_of_domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let len = rest.find(|c: char| !is_of_domain(c)).unwrap_or(rest.len());
    let domain = rest.get(..len)?.trim_end_matches(['.', '-']);
    let (host, last) = domain.rsplit_once('.')?;
    let is_name =
        last.chars().count() >= 2 && last.chars().all(char::is_alphabetic) && !host.split('.').any(str::is_empty);
    let is_other = UNITS.iter().chain(&FILES).any(|other| other.eq_ignore_ascii_case(last));
    // `xn--p1ai` is a name too.
    let is_name = is_name || last.starts_with("xn--");
    (!local.is_empty() && is_name && !is_other).then(|| at - local.len()..after + domain.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        find(text, &mut |range| all.push(text.get(range).unwrap()));
        all
    }

    #[test]
    fn addresses_are_found_and_what_looks_like_them_is_not() {
        for (text, expected) in [
            ("to <bob.b+x@mail.example.co.uk>, cc: 'ann@x.io'.", vec!["bob.b+x@mail.example.co.uk", "ann@x.io"]),
            ("?email=bob%40example.com&x=1", vec!["bob%40example.com"]),
            ("user=josé@müller.de", vec!["josé@müller.de"]),
            ("a@xn--80ak6aa92e.xn--p1ai", vec!["a@xn--80ak6aa92e.xn--p1ai"]),
            ("@@a@b.cc@d.ee", vec!["a@b.cc", "b.cc@d.ee"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
        for text in [
            "root@host",
            "com.Foo@1a2b3c",
            "@Override",
            "lib@1.2.3",
            "getty@tty1.service",
            "icon@2x.png",
            "a@b..cc",
            "@",
            "a@.com",
            "%40",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
