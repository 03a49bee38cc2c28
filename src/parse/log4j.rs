//! Lines of log4j, logback and their like: Spring Boot, Quarkus, Tomcat, Hadoop, Kafka and others set patterns of their own, which have the same
//! parts in other orders. The time comes first, or the level or the thread does; the level must be there; then come thread and logger, as far as
//! they are, and the message. What follows on further lines, such as a stack trace, belongs to the message.
//!
//! <https://logging.apache.org/log4j/2.x/manual/pattern-layout.html>, <https://logback.qos.ch/manual/layouts.html>,
//! <https://docs.spring.io/spring-boot/reference/features/logging.html>.

use memchr::memchr;

use super::cursor::Cursor;
use crate::event::{Event, Value};

/// Logs of log4j and its like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log4j;

/// Names of levels, of `java.util.logging` too.
const LEVELS: [&str; 14] = [
    "INFO", "WARN", "ERROR", "DEBUG", "TRACE", "FATAL", "WARNING", "SEVERE", "CONFIG", "FINE", "FINER", "FINEST",
    "NOTICE", "CRITICAL",
];

/// The most words and brackets that are looked at before the level.
const MAX_BEFORE: usize = 6;

/// The parts of a line, as they are found.
#[derive(Debug, Default)]
struct Parts<'a> {
    time: Option<&'a str>,
    level: Option<&'a str>,
    pid: Option<&'a str>,
    application: Option<&'a str>,
    thread: Option<&'a str>,
    context: Option<&'a str>,
    logger: Option<&'a str>,
}

impl Log4j {
    /// The field that holds the time, in whatever form the pattern gives it.
    pub const TIME: &'static str = "timestamp";
    /// The field that holds the level.
    pub const LEVEL: &'static str = "level";

    /// Appends the fields of a record, which may have several lines.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let end = memchr(b'\n', line.as_bytes()).unwrap_or(line.len());
        let first = line.get(..end).unwrap_or(line);
        let mut cursor = Cursor::new(first);
        let mut parts = Parts::default();
        parts.read_until_level(&mut cursor)?;
        parts.read_after_level(&mut cursor);
        parts.read_logger(&mut cursor);
        let start = end - cursor.rest().len();
        let mut message = line.get(start..).unwrap_or_default();
        if parts.logger.is_none() {
            parts.logger = last_logger(cursor.rest()).map(|(logger, before)| {
                if end == line.len() {
                    message = before;
                }
                logger
            });
        }
        parts.push(event);
        event.push("message", Value::text(message));
        Ok(())
    }
}

impl<'a> Parts<'a> {
    fn read_until_level(&mut self, cursor: &mut Cursor<'a>) -> Result<(), &'static str> {
        for _ in 0..MAX_BEFORE {
            separators(cursor);
            if let Some(time) = self.time.is_none().then(|| time(cursor)).flatten() {
                self.time = Some(time);
            } else if let Some(text) = bracket(cursor, b'[', b']') {
                self.read_bracket(text.trim_ascii())?;
            } else {
                self.read_word(cursor.word())?;
            }
            if self.time.is_some() && self.level.is_some() {
                return Ok(());
            }
        }
        Err("no time and level where log4j has them")
    }

    fn read_bracket(&mut self, text: &'a str) -> Result<(), &'static str> {
        let place = if self.level.is_none() && is_level(text) {
            &mut self.level
        } else if self.thread.is_none() {
            &mut self.thread
        } else if self.context.is_none() {
            &mut self.context
        } else {
            return Err("more in brackets before the level than log4j has there");
        };
        *place = Some(text);
        Ok(())
    }

    fn read_word(&mut self, word: &'a str) -> Result<(), &'static str> {
        let bare = word.strip_suffix(':').unwrap_or(word);
        if self.level.is_none() && is_level(bare) {
            self.level = Some(bare);
        } else if self.pid.is_none() && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
            self.pid = Some(word);
        } else {
            return Err("no level such as INFO where log4j has it");
        }
        Ok(())
    }

    fn read_after_level(&mut self, cursor: &mut Cursor<'a>) {
        cursor.spaces();
        if self.read_spring(cursor) {
            return;
        }
        while cursor.eat("| ") || cursor.eat(" ") {}
        let mut in_brackets = None;
        loop {
            let is_room = self.thread.is_none() || in_brackets.is_none() && self.context.is_none();
            if let Some(text) = is_room.then(|| bracket(cursor, b'[', b']')).flatten() {
                if let Some(thread) = in_brackets.replace(text.trim_ascii()) {
                    self.thread = Some(thread);
                }
            } else if self.thread.is_none()
                && let Some(thread) = bracket(cursor, b'(', b')')
            {
                self.thread = Some(thread.trim_ascii());
                // What was in brackets before it is the logger.
                self.logger = in_brackets.take();
            } else {
                break;
            }
            cursor.spaces();
        }
        match in_brackets {
            None => {}
            Some(text) if self.thread.is_none() => self.thread = Some(text),
            // Dots make a name of it; text that goes on with a name is something else.
            Some(text) if self.logger.is_none() && is_class(text) => self.logger = Some(text),
            Some(text) => self.context = Some(text),
        }
    }

    /// Spring Boot: `45469 --- [application] [thread] [trace-span] `, all but the thread since 3.2 and where they are set.
    fn read_spring(&mut self, cursor: &mut Cursor<'a>) -> bool {
        let mut ahead = *cursor;
        let pid = ahead.word();
        if !ahead.eat("--- ") {
            return false;
        }
        self.pid = Some(pid);
        *cursor = ahead;
        let mut found = [None; 3];
        for place in &mut found {
            *place = bracket(cursor, b'[', b']').map(str::trim_ascii);
            cursor.spaces();
        }
        (self.application, self.thread, self.context) = match found {
            [Some(application), Some(thread), context] => (Some(application), Some(thread), context),
            [thread, ..] => (None, thread, None),
        };
        true
    }

    /// The logger, where something after it or in it shows that it is one.
    fn read_logger(&mut self, cursor: &mut Cursor<'a>) {
        if dash(cursor) {
            return self.read_location();
        }
        if self.logger.is_some() {
            return;
        }
        let mut ahead = *cursor;
        let word = ahead.word();
        ahead.spaces();
        let name = word.strip_suffix(':').filter(|name| is_name(name));
        if let Some(name) = name {
            self.logger = Some(name);
        } else if !is_name(word) {
            return;
        } else if dash(&mut ahead) || ahead.eat(": ") {
            self.logger = Some(word);
        } else if let Some(thread) = self.thread.is_none().then(|| bracket(&mut ahead, b'[', b']')).flatten() {
            self.logger = Some(word);
            self.thread = Some(thread.trim_ascii());
            ahead.spaces();
        } else if is_class(word) {
            self.logger = Some(word);
        } else {
            return;
        }
        *cursor = ahead;
    }

    /// `[thread:Class@line] - `, as `ZooKeeper` has it.
    fn read_location(&mut self) {
        let location = self.thread.and_then(|text| text.rsplit_once(':')).filter(|(_, class)| {
            class.split_once('@').is_some_and(|(_, line)| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))
        });
        if let Some((thread, class)) = location.filter(|_| self.logger.is_none()) {
            self.thread = Some(thread);
            self.logger = Some(class);
        }
    }

    fn push(self, event: &mut Event<'a>) {
        let text = |name: &'static str, value: Option<&'a str>, event: &mut Event<'a>| {
            if let Some(value) = value {
                event.push(name, Value::text(value));
            }
        };
        text(Log4j::TIME, self.time, event);
        text(Log4j::LEVEL, self.level, event);
        if let Some(pid) = self.pid {
            event.push("pid", Value::number_or_text(pid));
        }
        text("application", self.application, event);
        text("thread", self.thread, event);
        text("context", self.context.filter(|context| !context.is_empty()), event);
        text("logger", self.logger, event);
    }
}

fn separators(cursor: &mut Cursor<'_>) {
    while cursor.eat(" ") || cursor.eat("- ") || cursor.eat("| ") || cursor.eat(", ") {}
}

/// Steps over what is between a logger and its message.
fn dash(cursor: &mut Cursor<'_>) -> bool {
    let found = cursor.eat("- ") || cursor.eat("-- ") || cursor.eat("| ");
    if found {
        cursor.spaces();
    }
    found
}

/// What is in brackets, which may have others in it; steps over them.
fn bracket<'a>(cursor: &mut Cursor<'a>, open: u8, close: u8) -> Option<&'a str> {
    let rest = cursor.rest();
    if rest.as_bytes().first() != Some(&open) {
        return None;
    }
    let mut depth = 0_usize;
    for (at, byte) in rest.bytes().enumerate() {
        if byte == open {
            depth += 1;
        } else if byte == close {
            depth -= 1;
            if depth == 0 {
                *cursor = Cursor::new(rest.get(at + 1..)?);
                return rest.get(1..at);
            }
        }
    }
    None
}

/// Time and date in any of the usual forms, in brackets or not; steps over them.
fn time<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let mut ahead = *cursor;
    let in_brackets = ahead.eat("[");
    let rest = ahead.rest();
    let (time, after) = rest.split_at_checked(time_len(rest.as_bytes())?)?;
    let after = if in_brackets { after.strip_prefix(']')? } else { after };
    // A number that goes on is another one.
    if after.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    *cursor = Cursor::new(after);
    Some(time)
}

fn digits(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count()
}

/// The length of `date time zone`, `time`, or `081109 203615`.
fn time_len(bytes: &[u8]) -> Option<usize> {
    if let Some(end) = clock_end(bytes, 0) {
        return Some(end);
    }
    let at = |index: usize| bytes.get(index).copied();
    let first = digits(bytes, 0);
    if first == 6 && at(6) == Some(b' ') && digits(bytes, 7) == 6 {
        return Some(13);
    }
    let separator = at(first).filter(|b| first > 0 && matches!(b, b'-' | b'/' | b'.' | b' '))?;
    let second = first + 1;
    let letters = bytes.get(second..)?.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let third = second + if letters == 3 { 3 } else { digits(bytes, second) };
    if third == second || at(third) != Some(separator) || digits(bytes, third + 1) == 0 {
        return None;
    }
    let date = third + 1 + digits(bytes, third + 1);
    at(date).filter(|b| matches!(b, b' ' | b'T' | b':' | b'_'))?;
    let clock = clock_end(bytes, date + 1)?;
    Some(zone_end(bytes, clock))
}

/// The end of `14:27:33`, with a fraction or not.
fn clock_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    for part in 0..3 {
        let len = digits(bytes, at);
        if len == 0 || len > 2 {
            return None;
        }
        at += len;
        if part < 2 {
            bytes.get(at).filter(|b| **b == b':')?;
            at += 1;
        }
    }
    let fraction = bytes.get(at).is_some_and(|b| matches!(b, b'.' | b',' | b':')).then(|| digits(bytes, at + 1));
    Some(at + fraction.filter(|len| *len > 0).map_or(0, |len| len + 1))
}

/// The end of a zone such as `Z`, `+01:00` or ` -0800`, if there is one.
fn zone_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start) == Some(&b'Z') {
        return start + 1;
    }
    let sign = start + usize::from(bytes.get(start) == Some(&b' '));
    if !bytes.get(sign).is_some_and(|b| matches!(b, b'+' | b'-')) {
        return start;
    }
    match digits(bytes, sign + 1) {
        4 => sign + 5,
        2 if bytes.get(sign + 3) == Some(&b':') && digits(bytes, sign + 4) == 2 => sign + 6,
        2 => sign + 3,
        _ => start,
    }
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))
}

/// Whether a word can be a logger's name.
fn is_name(word: &str) -> bool {
    let is_of_name = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$' | b'-' | b':' | b'/' | b'@' | b'[' | b']' | b'#')
    };
    !word.is_empty()
        && word.bytes().all(is_of_name)
        && !word.ends_with('.')
        && word.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether a word looks like a class of Java's with its package, abbreviated or not.
fn is_class(word: &str) -> bool {
    let is_part = |part: &str| part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    word.bytes().filter(|b| *b == b'.').count() > 1 && is_name(word) && word.split('.').all(is_part)
}

/// `message (logger)`, as Kafka has it.
fn last_logger(line: &str) -> Option<(&str, &str)> {
    let (message, logger) = line.strip_suffix(')')?.rsplit_once(" (")?;
    (is_name(logger) && logger.contains('.')).then_some((logger, message))
}

#[cfg(test)]
mod tests {
    use super::super::check::{parsed, strange};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const LINES: &[&str] = &[
        "2013-3-03 14:27:33 [main] ERROR Main - Exception\njavax.management.RuntimeErrorException: null\n\tat Main.main(Main.java:16) ~[bin/:na]",
        "2019-03-05 10:57:51.112  INFO 45469 --- [           main] org.apache.catalina.core.StandardEngine  : Starting Servlet Engine: Apache Tomcat/9",
        "2024-01-01T10:00:00.123+01:00  WARN 1 --- [shop] [nio-8080-exec-1] [6f1e-8c2a] c.e.OrderService     : slow",
        "14:32:15.123 [main] DEBUG c.e.Foo -- hello",
        "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Created MRAppMaster",
        "2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181:FastLeaderElection@774] - Notification time out: 3200",
        "17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers for [TERM, HUP, INT]",
        "081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38 terminating",
        "[2016-12-20 00:02:15,916] INFO Rolled new log segment for 'test-5' in 1 ms. (kafka.log.Log)",
        "2023-05-25 22:24:19,357 WARN  [org.key.events] (executor-thread-3121) type=LOGIN_ERROR, realmId=keycloak",
        "2024-10-10 12:59:53,237 ERROR s.s.S.c.s.CustomHandler [qtp877788296-102] Failed login attempt from IP: [::1]",
        "06-May-2020 10:20:30.123 INFO [main] org.apache.catalina.startup.HostConfig.deployDirectory Deployment of [x] finished",
        "INFO  [2011-12-03 00:38:32,927] io.dropwizard.server.ServerFactory: Starting hello-world",
        "INFO  [main] 2020-01-01 12:00:00,000 YamlConfigurationLoader.java:89 - Configuration location: file:/etc",
        "2014-01-09 20:03:28,269 -0800 | ERROR | com.example.service.ExampleService - something unexpected happened...",
        "2025-01-24T07:00:31,139 INFO [background-preinit       ] Version                  : HV000001: Hibernate Validator 8.0.1.Final",
        "2024-03-01 10:00:00.000 INFO  (qtp123-20) [c:films s:shard1] o.a.s.c.S.Request webapp=/solr path=/select",
        "2023-04-06 09:13:34,820Z [http-nio-8080-exec-5] WARN  o.a.g.r.auth.AuthenticationService - Authentication attempt",
    ];

    fn log4j(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| Log4j.parse(line, event))
    }

    /// Time, level, thread, logger and message of the lines above.
    const PARTS: [[&str; 5]; 18] = [
        [
            "2013-3-03 14:27:33",
            "ERROR",
            "main",
            "Main",
            "Exception\njavax.management.RuntimeErrorException: null\n\tat Main.main(Main.java:16) ~[bin/:na]",
        ],
        [
            "2019-03-05 10:57:51.112",
            "INFO",
            "main",
            "org.apache.catalina.core.StandardEngine",
            "Starting Servlet Engine: Apache Tomcat/9",
        ],
        ["2024-01-01T10:00:00.123+01:00", "WARN", "nio-8080-exec-1", "c.e.OrderService", "slow"],
        ["14:32:15.123", "DEBUG", "main", "c.e.Foo", "hello"],
        [
            "2015-10-18 18:01:47,978",
            "INFO",
            "main",
            "org.apache.hadoop.mapreduce.v2.app.MRAppMaster",
            "Created MRAppMaster",
        ],
        [
            "2015-07-29 17:41:44,747",
            "INFO",
            "QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181",
            "FastLeaderElection@774",
            "Notification time out: 3200",
        ],
        [
            "17/06/09 20:10:40",
            "INFO",
            "",
            "executor.CoarseGrainedExecutorBackend",
            "Registered signal handlers for [TERM, HUP, INT]",
        ],
        ["081109 203615", "INFO", "", "dfs.DataNode$PacketResponder", "PacketResponder 1 for block blk_38 terminating"],
        ["2016-12-20 00:02:15,916", "INFO", "", "kafka.log.Log", "Rolled new log segment for 'test-5' in 1 ms."],
        [
            "2023-05-25 22:24:19,357",
            "WARN",
            "executor-thread-3121",
            "org.key.events",
            "type=LOGIN_ERROR, realmId=keycloak",
        ],
        [
            "2024-10-10 12:59:53,237",
            "ERROR",
            "qtp877788296-102",
            "s.s.S.c.s.CustomHandler",
            "Failed login attempt from IP: [::1]",
        ],
        [
            "06-May-2020 10:20:30.123",
            "INFO",
            "main",
            "org.apache.catalina.startup.HostConfig.deployDirectory",
            "Deployment of [x] finished",
        ],
        ["2011-12-03 00:38:32,927", "INFO", "", "io.dropwizard.server.ServerFactory", "Starting hello-world"],
        [
            "2020-01-01 12:00:00,000",
            "INFO",
            "main",
            "YamlConfigurationLoader.java:89",
            "Configuration location: file:/etc",
        ],
        [
            "2014-01-09 20:03:28,269 -0800",
            "ERROR",
            "",
            "com.example.service.ExampleService",
            "something unexpected happened...",
        ],
        [
            "2025-01-24T07:00:31,139",
            "INFO",
            "background-preinit",
            "Version",
            "HV000001: Hibernate Validator 8.0.1.Final",
        ],
        ["2024-03-01 10:00:00.000", "INFO", "qtp123-20", "o.a.s.c.S.Request", "webapp=/solr path=/select"],
        [
            "2023-04-06 09:13:34,820Z",
            "WARN",
            "http-nio-8080-exec-5",
            "o.a.g.r.auth.AuthenticationService",
            "Authentication attempt",
        ],
    ];

    #[test]
    fn usual_patterns() {
        for (line, want) in LINES.iter().zip(PARTS) {
            let got = log4j(line).unwrap_or_else(|why| panic!("{why}: {line}"));
            let names = ["timestamp", "level", "thread", "logger", "message"];
            assert_eq!(names.map(|name| got[name].as_str().unwrap_or_default()), want, "{line}");
        }
        let got = log4j(LINES[2]).unwrap();
        assert_eq!(
            (&got["pid"], &got["application"], &got["context"]),
            (&json!(1), &json!("shop"), &json!("6f1e-8c2a"))
        );
        assert_eq!(log4j(LINES[7]).unwrap()["pid"], 148);
        assert_eq!(log4j(LINES[16]).unwrap()["context"], "c:films s:shard1");
    }

    #[test]
    fn a_message_that_only_looks_as_if_it_began_with_a_logger() {
        let got =
            log4j("[2016-12-20 00:02:15,916] ERROR Failed to read. (kafka.log.Log)\njava.io.IOException: x").unwrap();
        assert_eq!(
            (&got["logger"], &got["message"]),
            (&json!("kafka.log.Log"), &json!("Failed to read. (kafka.log.Log)\njava.io.IOException: x"))
        );
        let got = log4j("2024-01-01 00:00:00 INFO [main] server started").unwrap();
        assert_eq!((got.get("logger"), &got["message"]), (None, &json!("server started")));
        assert_eq!(log4j("2024-01-01 00:00:00 INFO").unwrap()["message"], "");
        let got = log4j("2024-01-01 00:00:00 INFO [a] [b] [c] d").unwrap();
        assert_eq!((&got["thread"], &got["context"], &got["message"]), (&json!("a"), &json!("b"), &json!("[c] d")));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "hello",
            "2024-01-01 00:00:00 hello",
            "INFO hello",
            "[INFO] Scanning",
            "\tat Main.main(Main.java:16)",
            "1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 1",
        ] {
            assert!(log4j(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in strange(LINES)) {
            if let Ok(got) = log4j(&line) {
                prop_assert!(line.ends_with(got["message"].as_str().unwrap()) || line.ends_with(')'));
            }
        }
    }
}
