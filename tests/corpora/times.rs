//! Times in other projects' cases: each that a source expects has to be read out of its line, by its looks or by the source's own format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kinetail::times::Times;
use serde_json::Value;

/// When the cases are read, so that a time without a year is of this one: 2026-12-31T00:00:00Z.
const READ_AT: i128 = 1_798_675_200_000_000_000;
/// Fields that hold a time as it stands in the line, in the cases that say what other parsers find.
const FIELDS: [&str; 9] = [
    "timestamp",
    "timestamp8601",
    "syslogtimestamp",
    "time_local",
    "time",
    "date",
    "datetime",
    "timestamp_str",
    "evt_parsed_time",
];
/// The reasons for which a text is no time by its looks.
const TIME_OF_DAY: &str = "a time of day without its date";
const TWO_WAYS: &str = "a date that begins with the day or with the month: the source's format says which";
const SMALL: &str = "a number that could count anything: the source's format says that it counts seconds";
/// A format that reads minutes where the looks have hours.
const SWAPPED: &str = "test_parse_with_both_message_type";
/// A time in a line has no more words than this, and a line's times are near its beginning.
const WORDS: usize = 7;
const NEAR: usize = 400;

/// What was looked at.
#[derive(Debug, Default)]
struct Tally {
    /// Times that have to be read as a certain one.
    exact: usize,
    /// Texts that only have to be read.
    texts: usize,
    explained: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

/// Every time that a source expects is read.
#[test]
fn times() {
    let Some(folder) = std::env::var_os("KINETAIL_CORPORA") else { return };
    let mut tally = Tally::default();
    let mut files: Vec<_> =
        fs::read_dir(Path::new(&folder).join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "jsonl")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            case(&serde_json::from_str(line).unwrap(), &mut tally);
        }
    }
    println!("times: {} as expected, {} texts read, explained {:?}", tally.exact, tally.texts, tally.explained);
    assert!(tally.failed.is_empty(), "{} not read:\n{}", tally.failed.len(), tally.failed.join("\n"));
    assert!(tally.exact > 20 && tally.texts > 400, "the cases are not there");
}

fn case(case: &Value, tally: &mut Tally) {
    let id = case["id"].as_str().unwrap_or_default();
    let input = case["input"].as_str().unwrap_or_default();
    if case["parser"] == "timestamp" {
        return own_format(case, id, input, tally);
    }
    if let Some(time) = case.get("time") {
        fluentd(time, id, input, tally);
    }
    walk(&case["expected"], &mut |name, value| {
        let text = value.as_str().unwrap_or_default();
        match name {
            "$timestamp" => exactly(id, input, text, tally),
            "$timestamp_current_year" => exactly(id, input, &format!("2026-{text}Z"), tally),
            name if FIELDS.contains(&name) && value.is_string() => readable(id, text, tally),
            _ => {}
        }
    });
}

/// The names and values of an expectation, however deep.
fn walk(value: &Value, look: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            look(name, value);
            walk(value, look);
        }),
        Value::Array(values) => values.iter().for_each(|value| walk(value, look)),
        _ => {}
    }
}

/// A case that is nothing but a text, its format and its zone.
fn own_format(case: &Value, id: &str, input: &str, tally: &mut Tally) {
    let format = case["options"]["format"].as_str().expect("a format");
    let times = Times::new(&[format], case["options"]["timezone"].as_str());
    tally.exact += 1;
    match (case["expect"].as_str(), times) {
        (Some("error"), Err(_)) => {}
        (Some("ok"), Ok(mut times)) => {
            let got = times.read(input, READ_AT);
            if got != Ok(nanos(case["expected"]["$timestamp"].as_str().expect("a time"))) {
                tally.failed.push(format!("{id}: {got:?}"));
            }
        }
        (_, times) => tally.failed.push(format!("{id}: {times:?}")),
    }
}

/// What fluentd's tests say of a time: the time, a text with its format, or a number.
fn fluentd(time: &Value, id: &str, input: &str, tally: &mut Tally) {
    if let Some(rfc3339) = time["rfc3339"].as_str() {
        return exactly(id, input, rfc3339, tally);
    }
    let Some(text) = time["text"].as_str() else { return };
    let looks = auto().read(text, READ_AT);
    let own = time["format"]
        .as_str()
        .map(|format| Times::new(&[format], None).expect("a format that is known").read(text, READ_AT));
    tally.texts += 1;
    if looks.is_err() || own.is_some_and(|own| own.is_err() || own != looks && !id.contains(SWAPPED)) {
        tally.failed.push(format!("{id}: {text}: by its looks {looks:?}, by its format {own:?}"));
    }
}

fn nanos(rfc3339: &str) -> i128 {
    auto().read(rfc3339, READ_AT).expect("a time of RFC 3339")
}

/// Some words of the line are this time, by their looks.
fn exactly(id: &str, input: &str, want: &str, tally: &mut Tally) {
    if want.starts_with("0000-") {
        // A format without a year: which one it is depends on when it is read.
        return;
    }
    let mut times = auto();
    let want = nanos(want);
    let ends = |c: char| c.is_whitespace() || "[]\"|<>=,;".contains(c);
    let cuts: Vec<usize> = std::iter::once(0)
        .chain(input.char_indices().filter(|(_, c)| ends(*c)).flat_map(|(at, c)| [at, at + c.len_utf8()]))
        .chain([input.len()])
        .filter(|at| *at <= NEAR)
        .collect();
    let found = cuts.iter().enumerate().any(|(index, from)| {
        cuts.iter().skip(index + 1).take(2 * WORDS).any(|to| {
            let text = input.get(*from..*to).unwrap_or_default();
            // glog has its level before the date.
            [Some(text), text.strip_prefix(['I', 'W', 'E', 'F'])]
                .into_iter()
                .flatten()
                .any(|text| times.read(text, READ_AT) == Ok(want))
        })
    });
    tally.exact += 1;
    if !found {
        tally.failed.push(format!("{id}: {want} is not in {input}"));
    }
}

/// The text is a time by its looks, whichever.
fn readable(id: &str, text: &str, tally: &mut Tally) {
    tally.texts += 1;
    let read = auto().read(text, READ_AT);
    match (read, why_not(text)) {
        (Ok(_), None) => {}
        (Err(_), Some(why)) => *tally.explained.entry(why).or_default() += 1,
        (read, why) => tally.failed.push(format!("{id}: {text}: {read:?}, {why:?}")),
    }
}

fn why_not(text: &str) -> Option<&'static str> {
    match text.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9', b':', ..] => Some(TIME_OF_DAY),
        [b'0'..=b'9', b'0'..=b'9', b'/', b'0'..=b'9', ..] => Some(TWO_WAYS),
        digits if digits.len() < 9 && digits.iter().all(u8::is_ascii_digit) => Some(SMALL),
        _ => None,
    }
}

fn auto() -> Times {
    Times::new(&["auto"], None).expect("a name that is known")
}
