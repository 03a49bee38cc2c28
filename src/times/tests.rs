//! Times as logs have them, against the values that they stand for; other implementations say what these are.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

/// 2024-01-15T12:00:00Z.
const READ_AT: i128 = 1_705_320_000 * SECOND;
const SECOND: i128 = 1_000_000_000;

fn with(formats: &[&str], zone: &str) -> Times {
    Times::new(formats, Some(zone)).unwrap()
}

fn text_of(nanos: i128) -> String {
    String::from_utf8(rfc3339(nanos).to_vec()).unwrap()
}

/// The time as RFC 3339 has it, without the zeros at its end.
fn read(times: &mut Times, text: &str) -> Result<String, &'static str> {
    let whole = text_of(times.read(text, READ_AT)?);
    let short = whole.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.').to_owned();
    Ok(if short.len() < 19 { whole.split('.').next().unwrap().to_owned() } else { short })
}

#[test]
fn times_are_told_by_their_looks() {
    let mut times = with(&[], "UTC");
    for (text, want) in [
        // RFC 3339, ISO 8601 and what is near them.
        ("2013-03-03T14:27:33Z", "2013-03-03T14:27:33"),
        ("2013-03-03t14:27:33.5z", "2013-03-03T14:27:33.5"),
        ("2013-03-03 14:27:33,123", "2013-03-03T14:27:33.123"),
        ("2013-03-03T14:27:33.123456789+01:00", "2013-03-03T13:27:33.123456789"),
        ("2013-03-03T14:27:33.1234567891234-0130", "2013-03-03T15:57:33.123456789"),
        ("2013-03-03T14:27:33+09", "2013-03-03T05:27:33"),
        ("2013-03-03 14:27:33 +0900", "2013-03-03T05:27:33"),
        ("2013-03-03T14:27", "2013-03-03T14:27:00"),
        ("2013-3-3 4:27:33", "2013-03-03T04:27:33"),
        ("2013-03-03", "2013-03-03T00:00:00"),
        ("20130303T142733Z", "2013-03-03T14:27:33"),
        ("20130303T142733.25+0100", "2013-03-03T13:27:33.25"),
        ("20130303142733", "2013-03-03T14:27:33"),
        ("20130303142733123", "2013-03-03T14:27:33.123"),
        ("20130303142733.123Z", "2013-03-03T14:27:33.123"),
        ("20171223-22:15:29:606", "2017-12-23T22:15:29.606"),
        ("2005-06-03-15.42.50.675872", "2005-06-03T15:42:50.675872"),
        ("2013-03-03T14:27:33+01:00[Europe/Paris]", "2013-03-03T13:27:33"),
        ("2013-03-03 14:27:33.5 +0100 CET m=+0.000012", "2013-03-03T13:27:33.5"),
        ("[2013-03-03 14:27:33]", "2013-03-03T14:27:33"),
        ("2013-Mar-03 14:27:33", "2013-03-03T14:27:33"),
        // Web servers and proxies.
        ("10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36"),
        ("[10/Oct/2000:13:55:36 -0700]", "2000-10-10T20:55:36"),
        ("09/Dec/2013:12:59:46.633", "2013-12-09T12:59:46.633"),
        ("2022/04/15 08:16:13", "2022-04-15T08:16:13"),
        ("2022/04/15 08:16:13.250000", "2022-04-15T08:16:13.25"),
        // Without a year, and with one.
        ("Feb  5 17:32:18", "2023-02-05T17:32:18"),
        ("Feb 05 17:32:18.250", "2023-02-05T17:32:18.25"),
        ("Jan 15 12:00:00", "2024-01-15T12:00:00"),
        ("Feb  5 2021 17:32:18", "2021-02-05T17:32:18"),
        ("Feb 5, 2021 5:32:18 PM", "2021-02-05T17:32:18"),
        ("Feb 5, 2021, 12:32:18\u{202f}AM", "2021-02-05T00:32:18"),
        ("February 5, 2021 at 3:04pm (EST)", "2021-02-05T20:04:00"),
        ("0203 17:32:18.123456", "2023-02-03T17:32:18.123456"),
        ("I0203 17:32:18.123456", "2023-02-03T17:32:18.123456"),
        ("20210131 14:48:54.411655", "2021-01-31T14:48:54.411655"),
        ("081109 203518", "2008-11-09T20:35:18"),
        ("160812  9:12:13", "2016-08-12T09:12:13"),
        // asctime and its kin.
        ("Wed Oct 11 14:32:52 2000", "2000-10-11T14:32:52"),
        ("Wed Oct 11 14:32:52.123456 2000", "2000-10-11T14:32:52.123456"),
        ("Wed Oct 11 14:32:52 EDT 2000", "2000-10-11T18:32:52"),
        ("Wed Oct 11 14:32:52 +0000 2000", "2000-10-11T14:32:52"),
        ("Wed Oct 11 2000 14:32:52 GMT+0200 (Central European Summer Time)", "2000-10-11T12:32:52"),
        // Mail, HTTP, and the like.
        ("Wed, 11 Oct 2000 14:32:52 +0200", "2000-10-11T12:32:52"),
        ("Wed, 11 Oct 2000 14:32:52 GMT", "2000-10-11T14:32:52"),
        ("Wednesday, 11-Oct-00 14:32:52 GMT", "2000-10-11T14:32:52"),
        ("11 Oct 2000 14:32 PST", "2000-10-11T22:32:00"),
        ("01 Jan 2023 00:00:00.000", "2023-01-01T00:00:00"),
        ("01 Jan 00:00:01.5", "2024-01-01T00:00:01.5"),
        ("01-Jan-2023 00:00:00", "2023-01-01T00:00:00"),
        ("2023-01-01 00:00:00.000 UTC", "2023-01-01T00:00:00"),
        ("2023-01-01 00:00:00.000 CEST", "2022-12-31T22:00:00"),
        ("2023-01-01 00:00:00 -03", "2023-01-01T03:00:00"),
        ("2000 Oct 11 14:32:52", "2000-10-11T14:32:52"),
        // Numbers.
        ("1356113104", "2012-12-21T18:05:04"),
        ("1356113104.567", "2012-12-21T18:05:04.567"),
        ("1356113104567", "2012-12-21T18:05:04.567"),
        ("1356113104567890", "2012-12-21T18:05:04.56789"),
        ("1356113104567890123", "2012-12-21T18:05:04.567890123"),
        ("1.356113104567e9", "2012-12-21T18:05:04.567"),
        // The calendar's own.
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00"),
        ("Feb 29 00:00:00", "2020-02-29T00:00:00"),
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999"),
    ] {
        assert_eq!(read(&mut times, text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn what_is_no_time_or_could_be_two_is_not_one() {
    let mut times = with(&[], "UTC");
    for text in [
        "",
        " ",
        "-",
        "0",
        "-1",
        "404",
        "1700",
        "12:34:56",
        "03/04/2024 10:00:00",
        "03/04/24",
        "17/06/09 20:10:40",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-00-01T00:00:00Z",
        "2023-01-00",
        "2023-01-32",
        "2023-01-01T24:00:00Z",
        "2023-01-01T00:60:00Z",
        "2023-01-01T00:00:61Z",
        "2023-01-01T00:00:00+24:00",
        "2023-01-01T00:00:00Z trailing",
        "2023-01-01T00:00:00ZZ",
        "2023-01-01T00:00:00 XYZ",
        "2023-01-01T",
        "2023-01-01T5",
        "2023-01-01T00:00:00.",
        "2023-1",
        "10/Okt/2000:13:55:36 -0700",
        "Feb 30 00:00:00",
        "Feb 5",
        "Mayday 5 17:32:18",
        "5 apples",
        "Wednesday",
        "13:00 PM",
        "Feb 5, 2021 13:32:18 PM",
        "0000-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "99999999999999999999999999999999999999999999999999",
        "1.2.3.4",
        "192.168.0.1",
        "trace-id",
        "\u{1F600}",
        "[",
        "\"",
        "+",
        "e9",
    ] {
        assert!(read(&mut times, text).is_err(), "{text} is {:?}", read(&mut times, text));
    }
}

#[test]
fn reasons_name_what_is_wrong() {
    let mut times = with(&[], "UTC");
    for (text, want) in [
        ("hello", NO_FORMAT_FITS),
        ("2023-02-29T00:00:00Z", "no such day"),
        ("2023-02-28T25:00:00Z", "no such hour"),
        ("2023-02-28T15:61:00Z", "no such minute or second"),
        ("2023-02-28T15:01:00 XYZ", "an unknown abbreviation of a zone"),
        ("9999-12-31T23:59:59-01:00", "a time out of range"),
    ] {
        assert_eq!(times.read(text, READ_AT), Err(want), "{text}");
    }
}

#[test]
fn a_missing_year_is_that_of_the_last_such_day() {
    let mut times = with(&["syslog"], "UTC");
    let mut at = |text: &str, read_at: &str| {
        let read_at: Timestamp = read_at.parse().unwrap();
        times.read(text, read_at.as_nanosecond()).map(|nanos| text_of(nanos).split('.').next().unwrap().to_owned())
    };
    assert_eq!(at("Dec 31 23:59:59", "2024-01-01T00:00:01Z").unwrap(), "2023-12-31T23:59:59");
    assert_eq!(at("Dec 31 23:59:59", "2024-01-20T00:00:00Z").unwrap(), "2023-12-31T23:59:59");
    // A zone or a clock that is ahead.
    assert_eq!(at("Jan  1 00:00:01", "2023-12-31T23:59:59Z").unwrap(), "2024-01-01T00:00:01");
    assert_eq!(at("Jan  6 00:00:01", "2023-12-31T23:59:59Z").unwrap(), "2024-01-06T00:00:01");
    assert_eq!(at("Jan  8 00:00:01", "2023-12-31T23:59:59Z").unwrap(), "2023-01-08T00:00:01");
    assert_eq!(at("Jun 15 12:00:00", "2024-06-15T11:59:59Z").unwrap(), "2024-06-15T12:00:00");
    assert_eq!(at("Feb 29 12:00:00", "2023-06-15T00:00:00Z").unwrap(), "2020-02-29T12:00:00");
    assert_eq!(at("Feb 29 12:00:00", "1903-06-15T00:00:00Z").unwrap(), "1896-02-29T12:00:00");
    assert!(at("Feb 30 12:00:00", "2023-06-15T00:00:00Z").is_err());
}

#[test]
fn a_missing_zone_is_the_configured_one() {
    for (zone, want) in [
        ("UTC", "2024-07-01T12:00:00"),
        ("+02:00", "2024-07-01T10:00:00"),
        ("-0730", "2024-07-01T19:30:00"),
        ("Europe/Paris", "2024-07-01T10:00:00"),
        ("America/New_York", "2024-07-01T16:00:00"),
    ] {
        let mut times = with(&[], zone);
        assert_eq!(read(&mut times, "2024-07-01 12:00:00").as_deref(), Ok(want), "{zone}");
        assert_eq!(read(&mut times, "2024-07-01 12:00:00Z").as_deref(), Ok("2024-07-01T12:00:00"), "{zone}");
        assert_eq!(read(&mut times, "1719835200").as_deref(), Ok("2024-07-01T12:00:00"), "{zone}");
    }
}

#[test]
fn formats_are_those_that_are_named() {
    for (format, fits, other) in [
        ("rfc3339", "2013-03-03T14:27:33Z", "2013-03-03T14:27:33"),
        ("iso8601", "2013-03-03T14:27:33", "Mar  3 14:27:33"),
        ("rfc2822", "Wed, 11 Oct 2000 14:32:52 +0200", "2013-03-03T14:27:33Z"),
        ("clf", "10/Oct/2000:13:55:36 -0700", "10-Oct-2000 13:55:36 -0700"),
        ("haproxy", "10/Oct/2000:13:55:36.123", "1356113104"),
        ("syslog", "Feb  5 17:32:18", "1356113104"),
        ("asctime", "Wed Oct 11 14:32:52 2000", "Oct 11 14:32:52 2000"),
        ("nginx_error", "2022/04/15 08:16:13", "2022-04-15 08:16:13"),
        ("glog", "20210131 14:48:54.411655", "20210131T144854"),
        ("klog", "0203 17:32:18.123456", "Feb  3 17:32:18.123456"),
        ("log4j", "2013-03-03 14:27:33,123", "2013/03/03 14:27:33"),
        ("postgres", "2023-01-01 00:00:00.000 UTC", "1356113104"),
        ("redis", "01 Jan 2023 00:00:00.000", "2023-01-01 00:00:00.000"),
        ("epoch", "100.1", "2013-03-03"),
        ("epoch_ms", "0", ""),
        ("epoch_us", "-5", "5s"),
        ("epoch_ns", "12", "0x12"),
    ] {
        let mut times = with(&[format], "UTC");
        assert!(times.read(fits, READ_AT).is_ok(), "{format}: {fits}");
        assert_eq!(times.read(other, READ_AT), Err(NO_FORMAT_FITS), "{format}: {other}");
        assert!(NAMES.iter().any(|(name, _)| *name == format));
    }
    assert!(NAMES.iter().all(|(name, _)| Times::new(&[name], None).is_ok()));
}

#[test]
fn a_list_is_tried_in_its_order() {
    let mut times = with(&["%d/%m/%Y", "epoch_ms", "auto"], "UTC");
    assert_eq!(read(&mut times, "03/04/2024").as_deref(), Ok("2024-04-03T00:00:00"));
    assert_eq!(read(&mut times, "1000").as_deref(), Ok("1970-01-01T00:00:01"));
    assert_eq!(read(&mut times, "2013-03-03T14:27:33Z").as_deref(), Ok("2013-03-03T14:27:33"));
    assert_eq!(times.read("31/02/2024", READ_AT), Err("no such day"));
}

#[test]
fn formats_of_strftime_are_read() {
    for (format, text, want) in [
        ("%d/%m/%Y:%H:%M:%S %z", "16/10/2019:12:00:00 +0000", "2019-10-16T12:00:00"),
        ("%b %d %H:%M:%S", "Feb  5 17:32:18", "2023-02-05T17:32:18"),
        ("%b%e %T", "Feb 5 17:32:18", "2023-02-05T17:32:18"),
        ("%Y-%m-%dT%H:%M:%S.%L%z", "2017-02-06T13:14:15.003Z", "2017-02-06T13:14:15.003"),
        ("%F %T,%3f", "2017-02-06 13:14:15,003", "2017-02-06T13:14:15.003"),
        ("%F %T%.f %:z", "2017-02-06 13:14:15 +01:00", "2017-02-06T12:14:15"),
        ("%F %T%.3f", "2017-02-06 13:14:15.25", "2017-02-06T13:14:15.25"),
        ("%y%j %H%M%S%6N", "24060 010203000004", "2024-02-29T01:02:03.000004"),
        ("%D %r", "02/29/24 12:00:00 am", "2024-02-29T00:00:00"),
        ("%I:%M %p on %A, %d %B %Y %Z", "3:04 PM on Monday, 02 January 2006 MST", "2006-01-02T22:04:00"),
        ("%H:%M %p %F", "15:04 PM 2006-01-02", "2006-01-02T15:04:00"),
        ("%s.%f", "1356113104.5", "2012-12-21T18:05:04.5"),
        ("%s", "-1", "1969-12-31T23:59:59"),
        ("%c", "Wed Oct 11 14:32:52 2000", "2000-10-11T14:32:52"),
        ("at %+", "at 2000-10-10T20:55:36Z", "2000-10-10T20:55:36"),
        ("%%%F é", "%2000-10-10 é", "2000-10-10T00:00:00"),
        ("%e.%m.%Y %k Uhr", "1.2.2003  9 Uhr", "2003-02-01T09:00:00"),
    ] {
        assert_eq!(read(&mut with(&[format], "UTC"), text).as_deref(), Ok(want), "{format}");
    }
    for (format, text) in [
        ("%F", "2000-10-10 "),
        ("%F %T", "2000-10-10"),
        ("%F", "2000-10-100"),
        ("%F %3f", "2000-10-10 12"),
        ("%F %6f", "2000-10-10 1234567"),
        ("%F %I %p", "2000-10-10 13 PM"),
        ("%F %I %p", "2000-10-10 0 PM"),
        ("%Y %j", "2023 366"),
        ("%A %F", "Foo 2000-10-10"),
        ("%F %z", "2000-10-10 CET"),
        ("%s", "99999999999999999999"),
        ("%s", "999999999999"),
    ] {
        let trimmed = text == "2000-10-10 ";
        assert_eq!(with(&[format], "UTC").read(text, READ_AT).is_ok(), trimmed, "{format}: {text}");
    }
}

#[test]
fn formats_that_cannot_be_read_are_refused_with_words() {
    let problem = |format: &str| Times::new(&[format], None).unwrap_err().to_string();
    assert!(problem("%Y-%m-%d %Q").contains("`%Q` in the time format `%Y-%m-%d %Q`"), "{}", problem("%Y-%m-%d %Q"));
    assert!(problem("%Y-%m-%d %").contains("`%` in"), "{}", problem("%Y-%m-%d %"));
    assert!(problem("%Y-%m-%d %5f").contains("`%5f`"));
    assert!(problem("%Y-%m-%d %é").contains("`%é`"));
    assert!(problem("%H:%M:%S").contains("says no day"));
    assert!(problem("%Y-%m-%d %I:%M").contains("without %p"));
    assert!(problem("rfc3338").contains("is `rfc3339` meant?"), "{}", problem("rfc3338"));
    assert!(problem("").contains("is no time format"));
    assert!(Times::new(&["auto"], Some("Europe/Pariss")).unwrap_err().to_string().contains("`Europe/Paris`"));
}

#[test]
fn what_is_remembered_is_only_what_would_be_read_again() {
    let mut times = with(&[], "Europe/Paris");
    let at = |text: &str, days: i128| (text.to_owned(), READ_AT + days * 86_400 * SECOND);
    for (text, read_at) in [
        at("2024-01-15 13:00:00.123", 0),
        at("2024-01-15 13:00:00.456", 0),
        at("2024-01-15 13:00:00.45x", 0),
        at("2024-01-15 13:00:00.45", 0),
        at("2024-01-15 13:00:00,456", 0),
        at("2024-01-15 13:00:01.456", 0),
        at("2024-01-15 13:00:01.456Z", 0),
        at("2024-01-15 13:00:01.457Z", 0),
        at("2024-01-15 13:00:01.457z", 0),
        at("[2024-01-15 13:00:01.457Z]", 0),
        at("[2024-01-15 13:00:01.458Z]", 0),
        at(" 2024-01-15 13:00:01.458Z ", 0),
        at("2024-01-15 13:00:00", 0),
        at("2024-01-15 13:00:00", 1000),
        at("Jan 15 12:00:00.1", 0),
        at("Jan 15 12:00:00.2", 0),
        at("Jan 15 12:00:00.2", 350),
        at("Jan 15 12:00:00.2", 358),
        at("Jan 15 12:00:00.2", 360),
        at("Jan 15 12:00:00.2", -5),
        at("Jan 15 12:00:00.2", -8),
        at("Jan 15 12:00:00.2", 100_000),
        at("", 0),
    ] {
        let anew = with(&[], "Europe/Paris").read(&text, read_at);
        for _ in 0..2 {
            assert_eq!(times.read(&text, read_at), anew, "{text}");
        }
    }
    let mut list = with(&["%F %T.123", "auto"], "UTC");
    assert_eq!(read(&mut list, "2024-01-15 13:00:00.456").as_deref(), Ok("2024-01-15T13:00:00.456"));
    assert_eq!(read(&mut list, "2024-01-15 13:00:00.123").as_deref(), Ok("2024-01-15T13:00:00"));
}

#[test]
fn values_of_every_kind_are_read() {
    let mut times = with(&[], "UTC");
    let want = Some(1_356_113_104_567_000_000);
    for value in [
        Value::text("2012-12-21T18:05:04.567Z"),
        Value::Text(Cow::Owned("1356113104.567".to_owned())),
        Value::Number(1_356_113_104_567),
        Value::Raw("1356113104.567"),
        Value::Raw("1356113104567"),
        Value::Raw(r#""2012-12-21T18:05:04.567Z""#),
        Value::Raw(r#""2012\/12\/21 18:05:04.567""#),
        Value::Raw(r#"{"$date":"2012-12-21T18:05:04.567+00:00"}"#),
        Value::Raw(r#"{ "$date" : 1356113104567 }"#),
        Value::Json(r#""2012-12-21T18:05:04.567Z""#.to_owned()),
    ] {
        assert_eq!(times.normalise(&value, READ_AT), want, "{value:?}");
    }
    for value in [
        Value::NULL,
        Value::Bool(true),
        Value::Number(0),
        Value::Number(99_999_999),
        Value::Raw("{}"),
        Value::Raw("[1356113104]"),
        Value::Raw(r#""""#),
        Value::Raw(r#""\"""#),
        Value::Raw(r#"{"$date":{"$numberLong":"1"}}"#),
        Value::Raw(""),
        Value::Raw("\""),
    ] {
        assert_eq!(times.normalise(&value, READ_AT), None, "{value:?}");
    }
}

/// Any second that can be written, and any part of it.
fn any_time() -> impl Strategy<Value = i128> {
    let seconds = prop_oneof![0_i64..=4_102_444_800, -62_167_219_200..=253_402_300_799_i64];
    (seconds, prop_oneof![Just(0_i128), Just(999_999_999), 0..1_000_000_000_i128])
        .prop_map(|(s, n)| i128::from(s) * SECOND + n)
}

fn zoned(nanos: i128, zone: &TimeZone) -> Option<jiff::ZonedDateTime> {
    Timestamp::from_nanosecond(nanos).ok().map(|time| time.to_zoned_datetime(zone.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_time_that_was_written_is_read_again(nanos in any_time()) {
        let text = text_of(nanos);
        prop_assert_eq!(with(&[], "UTC").read(&text, 0), Ok(nanos));
        prop_assert_eq!(with(&["rfc3339"], "Europe/Paris").read(&text, 0), Ok(nanos));
        prop_assert_eq!(with(&["%Y-%m-%dT%H:%M:%S.%9f%z"], "UTC").read(&text, 0), Ok(nanos));
    }

    #[test]
    fn what_another_implementation_writes_is_the_same(nanos in any_time()) {
        if let Ok(time) = Timestamp::from_nanosecond(nanos) && nanos >= -62_167_219_200 * SECOND {
            prop_assert_eq!(text_of(nanos), format!("{time:.9}"));
        }
    }

    #[test]
    fn no_text_is_too_odd(text in ".{0,60}", read_at in any::<i128>()) {
        for format in NAMES.map(|(name, _)| name).into_iter().chain(["%a %d %b %Y %I:%M:%S%.f %p %Z", "%s%f", "%j%Z%+"]) {
            prop_assert!(with(&[format], "Europe/Paris").read(&text, read_at).ok().is_none_or(civil::is_within));
        }
    }

    #[test]
    fn no_text_that_looks_like_a_time_is_too_odd(
        text in "[\\[\"]?([A-Za-z]{0,4}[ ,]{0,2})?[0-9]{0,20}[-/ :.T]{0,2}([A-Za-z]{3}|[0-9]{1,2})[-/ :.]{0,2}[0-9:.,]{0,14}([ +-][0-9A-Z:]{0,6}){0,2}[\\]\"]?",
        read_at in any::<i128>(),
    ) {
        for format in ["auto", "rfc3339", "epoch", "%Y/%b/%d %H:%M:%S", "%d-%m-%Y"] {
            let nanos = with(&[format], "America/New_York").read(&text, read_at);
            prop_assert!(nanos.ok().is_none_or(civil::is_within));
        }
    }

    #[test]
    fn no_format_is_too_odd(format in "(%[-_0-9.:]{0,2}[a-zA-Z%+]|[ -~é]){0,12}", text in "[ -~é]{0,30}") {
        if let Ok(mut times) = Times::new(&[&format], None) {
            prop_assert!(times.read(&text, READ_AT).ok().is_none_or(civil::is_within));
        }
    }

    #[test]
    fn memory_changes_nothing(
        texts in prop::collection::vec("2024-0[12]-01 00:00:0[12]([.,][0-9]{1,4})?Z?|Dec  [12] 00:00:00(.[0-9]{1,2})?", 2..12),
        days in prop::collection::vec(-500_i128..500, 12),
    ) {
        let mut times = with(&[], "America/New_York");
        for (text, days) in texts.iter().zip(days) {
            let read_at = READ_AT + days * 86_400 * SECOND;
            prop_assert_eq!(times.read(text, read_at), with(&[], "America/New_York").read(text, read_at), "{}", text);
        }
    }

    #[test]
    fn zones_are_those_of_another_implementation(
        second in -2_000_000_000_i64..4_000_000_000,
        name in prop::sample::select(vec!["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo"]),
    ) {
        let zone = TimeZone::get(name).unwrap();
        let shown = jiff::tz::Offset::UTC.to_datetime(Timestamp::from_second(second).unwrap());
        let want = shown.to_zoned_datetime(zone).unwrap().timestamp().as_nanosecond();
        let text = shown.strftime("%Y-%m-%d %H:%M:%S").to_string();
        prop_assert_eq!(with(&[], name).read(&text, READ_AT), Ok(want), "{} {}", text, name);
    }

    #[test]
    fn formats_read_what_another_implementation_writes(
        nanos in -2_000_000_000_000_000_000_i128..4_000_000_000_000_000_000,
        date in prop::sample::select(vec![
            "%Y-%m-%d", "%F", "%d/%b/%Y", "%a %b %e %Y", "%A, %d %B %Y", "%D", "%Y%m%d", "%Y %j", "%d.%m.%y", "%-d/%-m/%Y",
        ]),
        time in prop::sample::select(vec!["%H:%M:%S", "%T", "%I:%M:%S %p", "%k:%M:%S", "%l.%M.%S %P", "%H%M%S", "%r"]),
        part in prop::sample::select(vec![".%f", ",%3f", ".%6f", " %9f", "%.f", "%.6f", ".%N", ""]),
        offset in prop::sample::select(vec!["%z", " %z", " %:z"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Paris", "Asia/Kathmandu", "America/St_Johns"]),
        between in prop::sample::select(vec![" ", "T", "  ", " at ", "|%%|"]),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let format = format!("{date}{between}{time}{part}{offset}");
        let text = zoned(nanos, &zone).unwrap().strftime(&format).to_string();
        // What the text still says: jiff reads it too, unless it has a year of two digits before 1969 or no parts of a second.
        let ours = with(&[&format], "UTC").read(&text, READ_AT);
        let theirs = jiff::fmt::strtime::parse(&format, &text).and_then(|parsed| parsed.to_timestamp());
        if let Ok(theirs) = theirs {
            prop_assert_eq!(ours, Ok(theirs.as_nanosecond()), "{} {}", format, text);
        } else {
            prop_assert!(ours.is_ok(), "{} {} {:?}", format, text, theirs);
        }
    }
}
