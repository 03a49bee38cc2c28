//! The decoder by itself, on what nobody would send: every cut, random bytes, valid messages with bytes changed, prefixes that lie.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::Value;

use super::json;
use super::layout::Layout;
use super::line::{self, About, Lines, Made};
use super::message::{self, Compression, Entries, Message};
use super::msgpack::{self, MAX_DEPTH, Reader, Scanner};
use super::time::Stamp;

const LIMIT: usize = 1 << 20;
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// What real clients sent.
const SAMPLES: [&[u8]; 13] = [
    include_bytes!("../../../tests/forward_samples/py.1.bin"),
    include_bytes!("../../../tests/forward_samples/py.2.bin"),
    include_bytes!("../../../tests/forward_samples/py.3.bin"),
    include_bytes!("../../../tests/forward_samples/node.1.bin"),
    include_bytes!("../../../tests/forward_samples/node.2.bin"),
    include_bytes!("../../../tests/forward_samples/node.3.bin"),
    include_bytes!("../../../tests/forward_samples/node.4.bin"),
    include_bytes!("../../../tests/forward_samples/node.5.bin"),
    include_bytes!("../../../tests/forward_samples/node.6.bin"),
    include_bytes!("../../../tests/forward_samples/node.7.bin"),
    include_bytes!("../../../tests/forward_samples/node.8.bin"),
    include_bytes!("../../../tests/forward_samples/docker.1.bin"),
    include_bytes!("../../../tests/forward_samples/docker.2.bin"),
];

/// The lines of all messages in these bytes, what is left of them, and what was wrong with that.
fn decode(bytes: &[u8]) -> (Vec<u8>, usize, Option<message::Error>) {
    let (mut lines, mut rest, mut scanner) = (Lines::default(), bytes, Scanner::default());
    let problem = loop {
        match scanner.find_end(rest, LIMIT) {
            Ok(None) => break None,
            Err(error) => break Some(error.into()),
            Ok(Some(length)) => {
                let (message, behind) = rest.split_at(length);
                if let Err(error) = decode_message(message, &mut lines) {
                    break Some(error);
                }
                rest = behind;
            }
        }
    };
    (lines.take().0, rest.len(), problem)
}

fn decode_message(bytes: &[u8], lines: &mut Lines) -> Result<(), message::Error> {
    let message = Message::read(bytes)?;
    let plain;
    let body = match message.body {
        message::Body::Packed(packed) if message.options.compression != Compression::None => {
            plain = message::decompress(packed, message.options.compression, LIMIT)?;
            message::Body::Packed(&plain)
        }
        body => body,
    };
    let mut entries = Entries::new(body);
    while let Some(entry) = entries.next()? {
        let (before, length) = (*entry, lines.len());
        let about = About { layout: &Layout::default(), tag: message.tag, now: NOW };
        let made = lines.event(&about, entry, true)?;
        assert_eq!(lines.len() == length, matches!(made, Made::Part(_)));
        // Each byte becomes six at most, beside the tag, the time and their names.
        let read = before.rest().len() - entry.rest().len();
        let most = 6 * (read + message.tag.len()) + 80;
        assert!(lines.len() - length <= most, "{} bytes of {read}", lines.len() - length);
    }
    Ok(())
}

fn to_json(bytes: &[u8]) -> Result<String, json::Error> {
    let mut out = Vec::new();
    json::nested(&mut Reader::new(bytes), &mut Stamp::default(), &mut out, 0)?;
    Ok(String::from_utf8(out).expect("JSON is UTF-8"))
}

#[test]
fn every_kind_of_value_has_its_json() {
    let cases: &[(&[u8], &str)] = &[
        (b"\xc0", "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\xff\xff", "65535"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\x00", "-32768"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xd3\x00\x00\x00\x00\x00\x00\x00\x05", "5"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        (b"\xca\x7f\xc0\x00\x00", "null"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xa0", r#""""#),
        (b"\xa7a\"b\\\n\x01z", r#""a\"b\\\n\u0001z""#),
        (b"\xd9\x03\xe2\x82\xac", "\"\u{20ac}\""),
        (b"\xda\x00\x03a\xffb", "\"a\u{fffd}b\""),
        (b"\xdb\x00\x00\x00\x01\x7f", "\"\u{7f}\""),
        (b"\xc4\x02ok", r#""ok""#),
        (b"\xc5\x00\x03\xff\x00\x01", r#""/wAB""#),
        (b"\xc6\x00\x00\x00\x00", r#""""#),
        (b"\xd4\x07\xff", r#""/w==""#),
        (b"\xd7\x00\x00\x00\x00\x01\x00\x00\x00\x02", r#""1970-01-01T00:00:01.000000002Z""#),
        (b"\xc7\x03\x01abc", r#""YWJj""#),
        (b"\x93\x01\x90\x80", "[1,[],{}]"),
        (b"\xdc\x00\x01\x01", "[1]"),
        (b"\xdd\x00\x00\x00\x01\x01", "[1]"),
        (b"\x82\xa1b\x01\xa1a\x02", r#"{"b":1,"a":2}"#),
        (b"\xde\x00\x02\xa1a\x01\xa1a\x02", r#"{"a":1,"a":2}"#),
        (b"\xdf\x00\x00\x00\x01\x05\xc0", r#"{"5":null}"#),
        (b"\x83\xc0\x01\xc3\x02\xc4\x01k\x03", r#"{"null":1,"true":2,"k":3}"#),
    ];
    for (bytes, want) in cases {
        assert_eq!(to_json(bytes).unwrap(), *want, "{bytes:x?}");
        assert_eq!(Scanner::default().find_end(bytes, LIMIT), Ok(Some(bytes.len())), "{bytes:x?}");
        let mut reader = Reader::new(bytes);
        assert_eq!((reader.skip(), reader.is_empty()), (Ok(*bytes), true));
        for cut in 0..bytes.len() {
            let cut = &bytes[..cut];
            assert_eq!(to_json(cut), Err(msgpack::Error::Truncated.into()), "{cut:x?}");
            assert_eq!(Scanner::default().find_end(cut, LIMIT), Ok(None), "{cut:x?}");
        }
    }
    assert_eq!(to_json(b"\x81\x90\x01"), Err(json::Error::Key));
    assert_eq!(to_json(b"\xc1"), Err(msgpack::Error::Invalid.into()));
}

#[test]
fn escapes_are_found_wherever_they_stand() {
    for special in 0..=u8::MAX {
        for at in 0..20 {
            let mut text = [b'z'; 20];
            text[at] = special;
            let text: String = text.into_iter().map(char::from).collect();
            let mut out = Vec::new();
            json::string(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}

#[test]
fn lines_are_records_with_tag_and_time_before_them() {
    let line = |bytes: &[u8]| {
        let (lines, left, problem) = decode(bytes);
        assert!(left == 0 && problem.is_none(), "{problem:?}");
        String::from_utf8(lines).unwrap()
    };
    let want = "{\"tag\":\"t\",\"time\":\"1970-01-01T00:00:01.000000000Z\",\"z\":1,\"a\":2}\n";
    assert_eq!(line(b"\x93\xa1t\x01\x82\xa1z\x01\xa1a\x02"), want);
    assert_eq!(line(b"\x93\xa1t\x01\x80"), "{\"tag\":\"t\",\"time\":\"1970-01-01T00:00:01.000000000Z\"}\n");
    // Each of the two only where it is missing, and the same again after one that is different.
    let both = b"\x93\xa1t\x01\x82\xa3tag\x01\xa4time\x02".repeat(2);
    assert_eq!(line(&both), "{\"tag\":1,\"time\":2}\n".repeat(2));
    let mixed = [&b"\x93\xa1t\x01\x81\xa4time\x02"[..], b"\x93\xa1t\xff\x81\xa3tag\xc0", b"\x93\xa1t\xc0\x80"].concat();
    let want = "{\"tag\":\"t\",\"time\":2}\n{\"time\":-1,\"tag\":null}\n{\"tag\":\"t\",\"time\":\"1970-01-01T00:00:00.000000000Z\"}\n";
    assert_eq!(line(&mixed), want);
    // Where the first does not fit the guess, the record is written once all the same.
    assert_eq!(
        line(b"\x92\xa1t\x91\x92\x01\x81\xa3tag\x05"),
        "{\"time\":\"1970-01-01T00:00:01.000000000Z\",\"tag\":5}\n"
    );
}

#[test]
fn what_is_no_message_is_refused_by_name() {
    let cases: &[(&[u8], &str)] = &[
        (b"\x01", "malformed"),
        (b"\x91\xa1t", "malformed"),
        (b"\x95\xa1t\x01\x80\x80\x80", "malformed"),
        (b"\x93\x01\x01\x80", "malformed"),
        (b"\x93\xa1t\x01\xa1x", "malformed"),
        (b"\x93\xa1t\xa1x\x80", "malformed"),
        (b"\x93\xa1t\xc3\x80", "malformed"),
        (b"\x92\xa1t\x91\x01", "malformed"),
        (b"\x92\xa1t\x91\x93\x01\x80\x80", "malformed"),
        (b"\x92\xa1t\xc4\x02\x92\x01", "malformed"),
        (b"\x94\xa1t\x01\x80\x01", "malformed"),
        (b"\x94\xa1t\x01\x80\x81\xa5chunk\x05", "malformed"),
        (b"\xc1", "malformed"),
        (b"\x93\xa1t\xa1x\x81\xaacompressed\xa3lz4", "unsupported"),
        (b"\x93\xa1t\xa1x\x81\xaacompressed\xa4gzip", "corrupt"),
        (b"\x93\xa1t\xa1x\x81\xaacompressed\xa4zstd", "corrupt"),
        (b"\x93\xa1t\x01\xdb\xff\xff\xff\xff", "too_large"),
        (b"\x93\xa1t\xc6\xff\xff\xff\xff", "too_large"),
        (b"\x93\xa1t\xdd\xff\xff\xff\xff", "too_large"),
        (b"\xdf\xff\xff\xff\xff", "too_large"),
        (b"\x93\xa1t\x01\xc9\xff\xff\xff\xff\x00", "too_large"),
    ];
    for (bytes, reason) in cases {
        let (lines, left, problem) = decode(bytes);
        let problem = problem.unwrap_or_else(|| panic!("{bytes:x?} is taken"));
        assert_eq!((problem.reason(), left), (*reason, bytes.len()), "{bytes:x?}: {problem}");
        assert!(lines.is_empty() || problem.reason() == "malformed");
    }
}

#[test]
fn depth_is_limited_in_every_mode() {
    let record = |levels: usize| {
        let mut record = b"\x81\xa1k".repeat(levels - 1);
        record.extend_from_slice(b"\x80");
        record
    };
    for (levels, fits) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false), (100_000, false)] {
        let entry = [&b"\x92\x01"[..], &record(levels)].concat();
        let length = u32::try_from(entry.len()).unwrap().to_be_bytes();
        let modes = [
            [&b"\x93\xa1t\x01"[..], &record(levels)].concat(),
            [&b"\x92\xa1t\x91"[..], &entry].concat(),
            [&b"\x92\xa1t\xc6"[..], &length, &entry].concat(),
        ];
        for message in modes {
            let (_, _, problem) = decode(&message);
            let reason = problem.map(|problem| problem.reason());
            assert_eq!(reason, if fits { None } else { Some("too_deep") }, "{levels}");
        }
    }
}

#[test]
fn what_grows_too_much_is_refused() {
    use std::io::Write as _;
    let entries = b"\x92\x01\x80".repeat(LIMIT);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&entries).unwrap();
    let packed = [(gzip.finish().unwrap(), &b"\xa4gzip"[..]), (zstd::encode_all(&*entries, 1).unwrap(), b"\xa4zstd")];
    for (packed, name) in packed {
        let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
        let message = [&b"\x93\xa1t\xc6"[..], &length, &packed, b"\x81\xaacompressed", name].concat();
        assert!(message.len() < LIMIT / 8);
        assert_eq!(decode(&message).2.map(|problem| problem.reason()), Some("too_large"));
    }
}

#[test]
fn members_in_a_row_are_one() {
    use std::io::Write as _;
    let member = |second: u8| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[0x92, second, 0x80]).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = [zstd::encode_all(&[0x92, 1, 0x80][..], 1).unwrap(), zstd::encode_all(&[0x92, 2, 0x80][..], 1).unwrap()];
    for (packed, name) in [([member(1), member(2)].concat(), b"\xa4gzip"), (zstd.concat(), b"\xa4zstd")] {
        let length = u8::try_from(packed.len()).unwrap();
        let message = [&b"\x93\xa1t\xc4"[..], &[length], &packed, b"\x81\xaacompressed", name].concat();
        let (lines, _, problem) = decode(&message);
        assert!(problem.is_none(), "{problem:?}");
        assert_eq!(lines.split(|byte| *byte == b'\n').count(), 3);
    }
}

/// A value of msgpack and the JSON that it should become, by way of another implementation's tree.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Few digits: reading a float is not as exact as writing it.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inside, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The simplest encoder there can be: the widest form of everything.
fn encode(value: &Value, out: &mut Vec<u8>) {
    let mut head = |byte: u8, length: usize| {
        out.push(byte);
        out.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    };
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(flag) => out.push(0xc2 + u8::from(*flag)),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => out.extend([&[0xcf][..], &n.to_be_bytes()].concat()),
            (_, Some(n)) => out.extend([&[0xd3][..], &n.to_be_bytes()].concat()),
            _ => out.extend([&[0xcb][..], &n.as_f64().unwrap().to_be_bytes()].concat()),
        },
        Value::String(text) => {
            head(0xdb, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(values) => {
            head(0xdd, values.len());
            for value in values {
                encode(value, out);
            }
        }
        Value::Object(map) => {
            head(0xdf, map.len());
            for (key, value) in map {
                encode(&Value::from(key.as_str()), out);
                encode(value, out);
            }
        }
    }
}

proptest! {
    #[test]
    fn json_is_what_was_meant(value in value()) {
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        let text = to_json(&bytes).unwrap();
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes);
        to_json(&bytes).ok();
        let mut record = [&b"\x93\xa1t\x01"[..], &bytes].concat();
        decode(&record);
        record.splice(3..4, *b"\x91\x92\x01");
        decode(&record);
    }

    #[test]
    fn changed_bytes_do_no_harm(
        sample in 0..SAMPLES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        // Of the long one, the head is what matters.
        let sample = SAMPLES[sample];
        let mut bytes = sample[..sample.len().min(2000)].to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (lines, _, _) = decode(&bytes);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // A key that changed may be there twice, and a refused record leaves half a line.
            prop_assert!(std::str::from_utf8(line).is_ok());
        }
        decode(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn the_end_is_found_however_the_bytes_come(sample in 0..SAMPLES.len(), steps in prop::collection::vec(1..3000_usize, 1..40)) {
        let sample = SAMPLES[sample];
        let whole = Scanner::default().find_end(sample, LIMIT).unwrap().unwrap();
        let (mut scanner, mut there) = (Scanner::default(), 0);
        for step in steps.iter().cycle() {
            there = (there + step).min(sample.len());
            match scanner.find_end(&sample[..there], LIMIT).unwrap() {
                None => prop_assert!(there < whole),
                Some(end) => {
                    prop_assert_eq!(end, whole);
                    prop_assert_eq!(scanner.at_least(), 0);
                    break;
                }
            }
        }
    }
}

#[test]
fn samples_are_messages_to_their_last_byte() {
    for sample in SAMPLES {
        let (lines, left, problem) = decode(sample);
        assert!(left == 0 && problem.is_none() && !lines.is_empty(), "{problem:?}");
    }
}

/// How long a gigabyte takes: `cargo test --release --lib -- --ignored --nocapture forward::tests::throughput`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let sample = include_bytes!("../../../tests/forward_samples/docker.2.bin");
    let bytes = sample.repeat(64 * 1024 / sample.len());
    let start = tokio::time::Instant::now();
    let mut total = 0;
    while start.elapsed() < Duration::from_secs(2) {
        assert!(decode(&bytes).2.is_none());
        total += bytes.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
    let gigabytes = total as f64 / 1e9;
    println!("{:.2} s/GB", seconds / gigabytes);
}

#[test]
fn errors_of_lines_have_reasons() {
    let error = message::Error::from(line::Error::from(msgpack::Error::TooDeep));
    assert_eq!(error.reason(), "too_deep");
}

/// A record of text fields, after a time.
fn record_of(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0x01, 0xde];
    out.extend_from_slice(&u16::try_from(fields.len()).unwrap().to_be_bytes());
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        out.push(0xdb);
        out.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

proptest! {
    /// Whatever a log is, the line is one JSON object: the log's members over the record's others, or the record with its log.
    #[test]
    fn a_log_takes_its_members_to_the_top_if_it_is_an_object(
        log in prop_oneof![
            any::<String>(),
            "[ \\r\\n]?\\{ ?(\"[a-e]\":[ \\n]?([0-9]|\"x\"|\\{\\}),?){0,4}[ \\r\\n]?\\} ?",
            r#"\{("(a|tag|time|log|source)":\[1\],"z":0\}|\})"#,
        ],
        tag in any::<bool>(),
    ) {
        let bytes = record_of(&[("a", "own"), ("log", &log), ("source", "stdout")]);
        let layout = Layout::new(tag, true, true);
        let mut lines = Lines::default();
        let about = About { layout: &layout, tag: b"t", now: NOW };
        lines.event(&about, &mut Reader::new(&bytes), true).unwrap();
        let (out, count) = lines.take();
        let text = std::str::from_utf8(&out).unwrap().strip_suffix('\n').unwrap();
        prop_assert!(count == 1 && !text.contains(['\n', '\r']));
        let mut want = serde_json::Map::new();
        want.extend(tag.then(|| ("tag".to_owned(), Value::from("t"))));
        want.extend([("time", "1970-01-01T00:00:01.000000000Z"), ("a", "own"), ("source", "stdout")].map(|(k, v)| (k.to_owned(), v.into())));
        match serde_json::from_str::<Value>(&log) {
            Ok(Value::Object(members)) => want.extend(members),
            _ => want.extend([("log".to_owned(), Value::from(log.as_str()))]),
        }
        prop_assert_eq!(serde_json::from_str::<Value>(text).unwrap(), Value::Object(want));
    }
}
