//! Addresses of the Internet Protocol, version 4 and 6.

use std::net::Ipv6Addr;
use std::ops::Range;

use memchr::{memchr_iter, memrchr};

/// Products whose versions have four parts, as browsers say them: `Chrome/120.0.0.0`.
const PRODUCTS: [&[u8]; 12] = [
    b"Chrome",
    b"Chromium",
    b"HeadlessChrome",
    b"CriOS",
    b"Edg",
    b"EdgA",
    b"Edge",
    b"OPR",
    b"Version",
    b"Vivaldi",
    b"YaBrowser",
    b"Electron",
];

/// Groups of an address in version 6.
const GROUPS: usize = 8;

/// Says where addresses are.
pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    version_4(text.as_bytes(), found);
    version_6(text, found);
}

fn version_4(bytes: &[u8], found: &mut impl FnMut(Range<usize>)) {
    let mut free_from = 0;
    for dot in memchr_iter(b'.', bytes) {
        if dot < free_from {
            continue;
        }
        let digits = bytes[..dot].iter().rev().take(4).take_while(|b| b.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) || dot - digits < free_from {
            continue;
        }
        let start = dot - digits;
        let Some(end) = end_of_4(bytes, start) else { continue };
        free_from = end;
        found(start..end);
    }
}

/// Where the address ends that begins here, if it is one and no part of something else.
fn end_of_4(bytes: &[u8], start: usize) -> Option<usize> {
    let before = start.checked_sub(1).map(|at| bytes[at]);
    if before.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_')) {
        return None;
    }
    let mut at = start;
    for part in 0..4 {
        if part > 0 {
            (bytes.get(at) == Some(&b'.')).then_some(())?;
            at += 1;
        }
        let digits = bytes.get(at..)?.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let value = bytes[at..at + digits].iter().fold(0_u32, |sum, b| sum * 10 + u32::from(b - b'0'));
        ((1..=3).contains(&digits) && value <= 255).then_some(())?;
        at += digits;
    }
    let goes_on = match bytes.get(at) {
        Some(b'.') => bytes.get(at + 1).is_some_and(u8::is_ascii_digit),
        Some(b) => b.is_ascii_alphanumeric() || *b == b'_',
        None => false,
    };
    (!goes_on && !is_version(&bytes[..start])).then_some(at)
}

fn is_version(before: &[u8]) -> bool {
    before.strip_suffix(b"/").is_some_and(|before| {
        let ends = |product: &&[u8]| {
            before.strip_suffix(*product).is_some_and(|rest| !rest.last().is_some_and(u8::is_ascii_alphanumeric))
        };
        PRODUCTS.iter().any(ends)
    })
}

fn version_6(text: &str, found: &mut impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let is_of_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let mut free_from = 0;
    for colon in memchr_iter(b':', bytes) {
        if colon < free_from {
            continue;
        }
        // With four digits before it at most, and another colon within five bytes.
        let near = bytes.get(colon + 1..).unwrap_or_default().iter().take(5);
        if !near.clone().take_while(|b| is_of_address(b)).any(|b| *b == b':') {
            continue;
        }
        let before = bytes[free_from..colon].iter().rev().take_while(|b| b.is_ascii_hexdigit()).count();
        let after = bytes[colon..].iter().take_while(|b| is_of_address(b)).count();
        let (start, end) = (colon - before, colon + after);
        free_from = end;
        if let Some(address) = address_in(text, start, end) {
            found(address);
        }
    }
}

/// The address in a run of characters that addresses consist of.
fn address_in(text: &str, mut start: usize, mut end: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    // A sentence ends, a port or an explanation follows.
    while end > start && (bytes[end - 1] == b'.' || bytes[end - 1] == b':' && !bytes[..end].ends_with(b"::")) {
        end -= 1;
    }
    if bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        end = start + memrchr(b':', &bytes[start..end])?;
    }
    // `source:2001:db8::1`: what comes before the first colon is a word's end.
    let is_in_word = start.checked_sub(1).is_some_and(|at| bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_');
    let has_word = is_in_word || bytes.get(start) == Some(&b':') && bytes.get(start + 1) != Some(&b':');
    if has_word {
        let colon = memchr::memchr(b':', &bytes[start..end])?;
        let is_word_alone = bytes.get(start + colon + 1) != Some(&b':');
        is_word_alone.then_some(())?;
        start += colon + 1;
    }
    let whole = text.get(start..end)?;
    if is_address(whole) {
        return Some(start..end);
    }
    // All of its groups, and a port.
    let port = whole.rfind(':')?;
    (whole.get(..port).is_some_and(|address| address.matches(':').count() == GROUPS - 1 && is_address(address)))
        .then_some(start..start + port)
}

fn is_address(text: &str) -> bool {
    if text.len() > 45 || text.parse::<Ipv6Addr>().is_err() {
        return false;
    }
    // `dead::beef` is written by nobody, `Cafe::Add` by programmers; eight pairs of digits are an address of hardware.
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let is_hardware = groups == GROUPS && text.split(':').all(|group| group.len() == 2);
    !is_hardware && (groups >= 4 || text.bytes().any(|b| b.is_ascii_digit()))
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
    fn addresses_are_found() {
        for (text, address) in [
            ("from 10.251.73.220:50010 to", "10.251.73.220"),
            ("/192.168.1.1", "192.168.1.1"),
            ("host/10.0.0.1.", "10.0.0.1"),
            ("ip=255.255.255.255,", "255.255.255.255"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("src 2001:db8:0:1:2:3:4:5:443 x", "2001:db8:0:1:2:3:4:5"),
            ("source:2001:db8::7 ok", "2001:db8::7"),
            ("at ::1.", "::1"),
            ("fe80::1ff:fe23:4567:890a%eth0", "fe80::1ff:fe23:4567:890a"),
            ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
            ("peer=::ffff:a00:1:", "::ffff:a00:1"),
            ("2001:db8:: is", "2001:db8::"),
        ] {
            assert_eq!(found(text), [address], "{text}");
        }
        assert!(found("::ffff:10.0.0.1").contains(&"::ffff:10.0.0.1"));
    }

    #[test]
    fn what_looks_like_them_is_not() {
        for text in [
            "12:34:56",
            "2026-11-28T19:26:15.123",
            "1.2.3",
            "1.2.3.4.5",
            "v1.2.3.4",
            "256.1.1.1",
            "Chrome/120.0.0.0 Safari/537.36",
            "std::vector",
            "Foo::Bar",
            "a::b",
            "CBC::ECB",
            "aa:bb:cc:dd:ee:ff",
            "00:11:22:33:44:55:66:77",
            "::",
            ":",
            "a:b:c",
            "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
            "1.2.3.4a",
            "10.0.0.1_x",
            "k:1:2",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }
}
