//! RFC 5424 behind its priority: `1 2003-10-11T22:14:15.003Z host app procid msgid [id name="value"] message`. As strict as the RFC, but for nanoseconds
//! in the timestamp, and for spaces before a value of structured data, which programs write.

use memchr::memchr3;

use crate::event::{self, Event, Value};
use crate::parse::escape;
use crate::parse::fields::{self, MAX_FIELDS};
use crate::parse::scan::Scan;
use crate::parse::stamp;
use crate::parse::types;

/// The longest of each, as the RFC has it.
const MAX_HOSTNAME: usize = 255;
const MAX_APPNAME: usize = 48;
const MAX_PROCID: usize = 128;
const MAX_MSGID: usize = 32;
const MAX_SD_NAME: usize = 32;

/// What stands for nothing.
const NIL: &str = "-";

/// Whether what is behind a priority begins as RFC 5424 does: a version, and then a timestamp or nothing.
pub fn is_version(text: &str) -> bool {
    let mut scan = Scan::new(text);
    version(&mut scan).is_some() && scan.peek().is_none_or(|b| b == b'-' || b.is_ascii_digit())
}

fn version<'a>(scan: &mut Scan<'a>) -> Option<&'a str> {
    let version = scan.word();
    (version.len() <= 3 && !version.starts_with('0') && types::is_count(version)).then_some(version)
}

/// Appends the fields of what is behind a priority.
pub fn parse<'a>(text: &'a str, compliant: bool, event: &mut Event<'a>) -> Result<(), &'static str> {
    let mut scan = Scan::new(text);
    let version = version(&mut scan).ok_or("no version of RFC 5424 behind the priority")?;
    event.push("version", Value::Raw(version));
    let time = scan.word();
    if time != NIL {
        timestamp(time, event)?;
    }
    header(&mut scan, event)?;
    tail(&mut scan, compliant, event)
}

/// Whether a line without a priority could be one of RFC 5424, by its first words. RFC 3164 with a timestamp of ISO 8601 begins alike, but there the
/// name of a program ends in a colon or a bracket, and prose seldom has the ID of a process as its third word.
pub fn may_be_bare(text: &str) -> bool {
    let mut scan = Scan::new(text);
    let first = scan.word();
    if !stamp::is_rfc5424(first) {
        let mut again = Scan::new(text);
        if version(&mut again).is_none() || !stamp::is_rfc5424(again.word()) {
            return false;
        }
        scan = again;
    }
    scan.word();
    let (appname, procid, _, data) = (scan.word(), scan.word(), scan.word(), scan.rest());
    !appname.ends_with([':', ']'])
        && (data.starts_with('[') || data.starts_with(NIL) && (procid == NIL || types::is_count(procid)))
}

/// Appends the fields of a line without a priority, and mostly without a version.
pub fn parse_bare<'a>(text: &'a str, compliant: bool, event: &mut Event<'a>) -> Result<(), &'static str> {
    let mut scan = Scan::new(text);
    let mut time = scan.word();
    if let Some(version) = version(&mut Scan::new(text)) {
        event.push("version", Value::Raw(version));
        time = scan.word();
    }
    timestamp(time, event).map_err(|_| "neither a priority nor a timestamp of RFC 5424 at the start")?;
    header(&mut scan, event)?;
    tail(&mut scan, compliant, event)
}

fn timestamp<'a>(text: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
    if !stamp::is_rfc5424(text) {
        return Err("no timestamp of RFC 5424, such as 2003-10-11T22:14:15.003Z, behind the version");
    }
    event.push(super::TIME, Value::text(text));
    Ok(())
}

/// Appends the words between timestamp and structured data.
fn header<'a>(scan: &mut Scan<'a>, event: &mut Event<'a>) -> Result<(), &'static str> {
    let words = [
        ("hostname", MAX_HOSTNAME, "no hostname of RFC 5424: 1 to 255 printable characters of ASCII"),
        ("appname", MAX_APPNAME, "no name of an application of RFC 5424: 1 to 48 printable characters of ASCII"),
        ("procid", MAX_PROCID, "no process ID of RFC 5424: 1 to 128 printable characters of ASCII"),
        ("msgid", MAX_MSGID, "no message ID of RFC 5424: 1 to 32 printable characters of ASCII"),
    ];
    for (name, most, why) in words {
        let word = scan.word();
        if word.len() > most || !is_printable(word) {
            return Err(why);
        }
        match (name, word) {
            (_, NIL) => {}
            ("procid", word) => event.push(name, types::id(word)),
            (_, word) => event.push(name, Value::text(word)),
        }
    }
    Ok(())
}

fn is_printable(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic())
}

/// Appends structured data and message. A message that is marked as UTF-8 and is not has replacement characters by now.
fn tail<'a>(scan: &mut Scan<'a>, compliant: bool, event: &mut Event<'a>) -> Result<(), &'static str> {
    if !scan.eat(NIL) {
        event.push("structured_data", elements(scan)?);
    }
    if !scan.is_done() && !scan.eat(" ") {
        return Err("no space behind structured data");
    }
    // The mark says that the message is UTF-8, and is no part of it.
    if scan.eat("\u{feff}") && compliant && scan.rest().contains(char::REPLACEMENT_CHARACTER) {
        return Err("a message that is marked as UTF-8 and is not");
    }
    if !scan.is_done() {
        event.push("message", Value::text(scan.rest()));
    }
    Ok(())
}

/// Reads structured data: an object for each element, by the element's ID.
fn elements(scan: &mut Scan<'_>) -> Result<Value<'static>, &'static str> {
    let mut ids = Vec::new();
    let mut params = Event::default();
    let mut json = Vec::with_capacity(scan.rest().len().min(256));
    while scan.eat("[") {
        let id = scan.until(|b| b == b' ' || b == b']');
        if !is_sd_name(id) {
            return Err("no ID of structured data: 1 to 32 printable characters of ASCII, without = and quotes");
        }
        if ids.len() == MAX_FIELDS {
            return Err("more than 4096 elements of structured data");
        }
        json.push(if ids.is_empty() { b'{' } else { b',' });
        ids.push(id);
        params.truncate(0);
        while !scan.eat("]") {
            param(scan, &mut params)?;
        }
        fields::join_repeated(&mut params, 0);
        event::write_text(id, &mut json);
        json.push(b':');
        params.write_to(&mut json);
    }
    if ids.is_empty() {
        return Err("no structured data: [id name=\"value\"], or - for none");
    }
    if fields::repeat(&ids) {
        return Err("an ID of structured data twice");
    }
    json.push(b'}');
    Ok(Value::Json(String::from_utf8(json).expect("it was written as UTF-8")))
}

/// Reads a parameter, and the space before it.
fn param<'a>(scan: &mut Scan<'a>, params: &mut Event<'a>) -> Result<(), &'static str> {
    if scan.skip(|b| b == b' ').is_empty() {
        return Err("no end of an element of structured data");
    }
    if scan.peek() == Some(b']') {
        return Ok(());
    }
    let name = scan.until(|b| b == b'=');
    if !is_sd_name(name) || !scan.eat("=") {
        return Err("no name of structured data: 1 to 32 printable characters of ASCII, and = behind them");
    }
    scan.skip(|b| b == b' ');
    if !scan.eat("\"") {
        return Err("no quote before a value of structured data");
    }
    let mut escaped = false;
    let bytes = scan.rest().as_bytes();
    let mut at = 0;
    loop {
        at += memchr3(b'"', b'\\', b']', bytes.get(at..).unwrap_or_default())
            .ok_or("no closing quote in structured data")?;
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => escaped = true,
            _ => return Err("a ] without a backslash in a value of structured data"),
        }
        at += 2;
    }
    let text = scan.take(at);
    scan.take(1);
    let value = if escaped { escape::some(text, b"\"\\]", b"").into() } else { text.into() };
    fields::push(params, name, Value::Text(value))
}

fn is_sd_name(text: &str) -> bool {
    text.len() <= MAX_SD_NAME && is_printable(text) && !text.contains(['=', ']', '"'])
}

#[cfg(test)]
mod tests {
    use crate::parse::syslog::{Format, Syslog};
    use crate::parse::testing::{outcome, refused};

    const RFC5424: Syslog = Syslog { format: Format::Rfc5424, compliant_message: false };

    #[test]
    fn lines_of_the_rfc() {
        let cases = [
            (
                "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed",
                r#"{"facility":"auth","severity":"crit","version":1,"timestamp":"2003-10-11T22:14:15.003Z","hostname":"mymachine.example.com","appname":"su","msgid":"ID47","message":"'su root' failed"}"#,
            ),
            (
                r#"<165>1 2003-10-11T22:14:15.003Z h evntslog 8a1 ID47 [exampleSDID@32473 iut="3" eventSource= "Appli\]ca\"t\\ion\n" iut="4"][x@1 y=""] An event"#,
                r#"{"facility":"local4","severity":"notice","version":1,"timestamp":"2003-10-11T22:14:15.003Z","hostname":"h","appname":"evntslog","procid":"8a1","msgid":"ID47","structured_data":{"exampleSDID@32473":{"iut":["3","4"],"eventSource":"Appli]ca\"t\\ion\\n"},"x@1":{"y":""}},"message":"An event"}"#,
            ),
            (
                "<1>999 - - - 7 - [a]",
                r#"{"facility":"kern","severity":"alert","version":999,"procid":7,"structured_data":{"a":{}}}"#,
            ),
            ("<1>1 - - - - - - ", r#"{"facility":"kern","severity":"alert","version":1}"#),
        ];
        for (line, want) in cases {
            assert_eq!(outcome(line, |line, event| RFC5424.parse(line, event)), want);
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_refused() {
        let long = |len| "x".repeat(len);
        let cases = [
            ("<1>".to_owned(), "no version"),
            ("<1>1000 - - - - - -".to_owned(), "no version"),
            ("<1>01 - - - - - -".to_owned(), "no version"),
            ("122 - - - - - -".to_owned(), "neither a priority"),
            ("<1>1".to_owned(), "no timestamp"),
            ("<1>1 2003-11-02T23:12:46 - - - - -".to_owned(), "no timestamp"),
            ("<1>1 -   - - - -".to_owned(), "no hostname"),
            ("<1>1 - hé - - - -".to_owned(), "no hostname"),
            (format!("<1>1 - {} - - - -", long(256)), "no hostname"),
            (format!("<1>1 - - {} - - -", long(49)), "no name of an app"),
            (format!("<1>1 - - - {} - -", long(129)), "no process ID"),
            (format!("<1>1 - - - - {} -", long(33)), "no message ID"),
            ("<1>1 - - - - -".to_owned(), "no structured data"),
            ("<1>1 - - - - - X".to_owned(), "no structured data"),
            ("<1>1 - - - - - -x".to_owned(), "no space behind"),
            ("<1>1 - - - - - []".to_owned(), "no ID of structured"),
            (format!("<1>1 - - - - - [{}]", long(33)), "no ID of structured"),
            ("<1>1 - - - - - [a]x".to_owned(), "no space behind"),
            ("<1>1 - - - - - [a b]".to_owned(), "no name of structured"),
            ("<1>1 - - - - - [a b=c]".to_owned(), "no quote before"),
            ("<1>1 - - - - - [a b=\"c\"\"]".to_owned(), "no end of an element"),
            ("<1>1 - - - - - [a b=\"]\"]".to_owned(), "a ] without"),
            ("<1>1 - - - - - [a b=\"\\\"".to_owned(), "no closing quote"),
            ("<1>1 - - - - - [a b=\"\\\"]".to_owned(), "a ] without"),
            ("<1>1 - - - - - [a][b][a]".to_owned(), "an ID of structured data twice"),
        ];
        for (line, why) in cases {
            let got = refused(&line, |line, event| RFC5424.parse(line, event));
            assert!(got.starts_with(why), "{line}: {got}");
        }
        let compliant = Syslog { compliant_message: true, ..RFC5424 };
        let why = refused("<1>1 - - - - - - \u{feff}\u{fffd}", |line, event| compliant.parse(line, event));
        assert_eq!(why, "a message that is marked as UTF-8 and is not");
    }
}
