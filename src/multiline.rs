//! Which lines belong to one record: stack traces of the usual languages, or whatever patterns say. One line at a time, and nothing is kept
//! but a state; the lines themselves are held elsewhere.

pub mod custom;
pub mod header;
pub mod trace;

use std::time::Duration;

use regex::bytes::Regex;

use crate::config::{self, MultilineConfig};
use custom::{Custom, Until};
use trace::Presets;

/// The rule of a group of files.
#[derive(Debug, Clone, PartialEq)]
pub struct Multiline {
    /// What belongs together.
    pub rule: Rule,
    /// How long a record waits for its next line.
    pub timeout: Duration,
    /// How many lines a record has at most.
    pub max_lines: usize,
}

/// What belongs together.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Stack traces.
    Presets(Presets),
    /// What these patterns say.
    Custom(Custom),
}

/// Where in a record the next line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Lines are held to which more may belong.
    open: bool,
    trace: trace::Trace,
}

/// What to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is a record; what is held before it is another.
    Alone,
    /// It begins a record, and is held; what is held before it is another.
    Start,
    /// It goes on with what is held.
    Join,
    /// It ends what is held.
    End,
    /// It belongs to what is held only if a later line does: a blank one.
    Maybe,
}

impl Multiline {
    /// The rule that a configuration describes.
    pub fn new(config: &MultilineConfig) -> Self {
        let compile = |pattern: &String| Regex::new(pattern).expect("patterns are checked with the configuration");
        let until = config.until.as_ref().map(|(kind, pattern)| (kind, compile(pattern)));
        let rule = if config.preset.is_empty() {
            let until = match until {
                None => Until::Start,
                Some((config::Until::Continue, pattern)) => Until::Continue(pattern),
                Some((config::Until::ContinuePast, pattern)) => Until::ContinuePast(pattern),
                Some((config::Until::End, pattern)) => Until::End(pattern),
                Some((config::Until::EndBefore, pattern)) => Until::EndBefore(pattern),
            };
            Rule::Custom(Custom { start: config.start.as_ref().map(compile), until })
        } else {
            Rule::Presets(Presets::new(config.preset.iter().copied()))
        };
        Self { rule, timeout: config.timeout, max_lines: config.max_lines }
    }

    /// What to do with the next line.
    pub fn step(&self, state: &mut State, line: &[u8]) -> Step {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let step = match &self.rule {
            Rule::Presets(presets) => presets.step(&mut state.trace, line),
            Rule::Custom(custom) => custom.step(state.open, line),
        };
        match step {
            Step::Alone | Step::End => *state = State::default(),
            Step::Start | Step::Join => state.open = true,
            Step::Maybe => {}
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::trace::Preset;
    use super::*;

    /// The records that a rule makes of these lines, when nothing comes after them.
    pub(super) fn records(rule: &Multiline, input: &[&str]) -> Vec<String> {
        let (mut state, mut out, mut held, mut blanks) = (State::default(), Vec::new(), Vec::<&str>::new(), Vec::new());
        let flush = |held: &mut Vec<&str>, blanks: &mut Vec<&str>, out: &mut Vec<String>| {
            out.extend((!held.is_empty()).then(|| std::mem::take(held).join("\n")));
            out.extend(std::mem::take(blanks).into_iter().map(str::to_owned));
        };
        for &line in input {
            match rule.step(&mut state, line.as_bytes()) {
                Step::Alone => {
                    flush(&mut held, &mut blanks, &mut out);
                    out.push(line.to_owned());
                }
                Step::Start => {
                    flush(&mut held, &mut blanks, &mut out);
                    held.push(line);
                }
                step @ (Step::Join | Step::End) => {
                    assert!(!held.is_empty(), "there is nothing that {line} could go on with");
                    held.append(&mut blanks);
                    held.push(line);
                    if step == Step::End {
                        flush(&mut held, &mut blanks, &mut out);
                    }
                }
                Step::Maybe => blanks.push(line),
            }
        }
        flush(&mut held, &mut blanks, &mut out);
        out
    }

    fn preset(presets: &[Preset]) -> Multiline {
        let rule = Rule::Presets(trace::Presets::new(presets.iter().copied()));
        Multiline { rule, timeout: Duration::from_secs(1), max_lines: 1000 }
    }

    /// Short traces, one for each way in which a language shows one.
    const TRACES: [(Preset, &str); 17] = [
        (
            Preset::Java,
            "com.acme.ShopException: no\n\tat com.acme.A.b(A.java:1)\nCaused by: java.io.IOException\n\t... 2 more",
        ),
        (
            Preset::Java,
            "Exception in thread \"main\" a.B: x\n\tat a.B.c(B.java:1)\n\tSuppressed: d.E: y\n\t\tat d.E.f(E.java:2)",
        ),
        (Preset::Java, "a.b.MailException: x;\n  nested exception is:\nc.D: 550 no\n\n\tat a.b.C.d(C.java:1)"),
        (
            Preset::Python,
            "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nValueError: x",
        ),
        (
            Preset::Python,
            "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 2\na.B",
        ),
        (
            Preset::Python,
            "  + Exception Group Traceback (most recent call last):\n  |   File \"a.py\", line 1\n  | ExceptionGroup: x (1 sub-exception)\n  +-+---------------- 1 ----------------\n    | ValueError: 1\n    +------------------------------------",
        ),
        (
            Preset::Go,
            "panic: x\n[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/a.go:1\nmain.main()\n\t/a.go:2 +0x1\nexit status 2",
        ),
        (Preset::Ruby, "a.rb:1:in 'f': x (RuntimeError)\n\tfrom a.rb:2:in 'g'\n\tfrom a.rb:3:in '<main>'"),
        (Preset::Ruby, " NoMethodError (undefined method `x'):\n\n  app/a.rb:69:in `b'\n  app/c.rb:75:in `d'"),
        (Preset::Node, "TypeError [ERR_X]: x\n    at f (/app/a.js:1:2)\n    at /app/b.js:3:4 {\n  code: 'ERR_X'\n}"),
        (Preset::Node, "/app/a.js:1\nthrow new Error('x')\n^\n\nError: x\n    at f (/app/a.js:1:2)"),
        (
            Preset::Dotnet,
            "System.AggregateException: x\n ---> System.Exception: y\n   at A.B() in C:\\a.cs:line 1\n   --- End of inner exception stack trace ---\n   at A.C()",
        ),
        (
            Preset::Dotnet,
            "fail: Acme.Shop[13]\n      An unhandled exception has occurred.\n      System.Exception: x\n         at A.B()",
        ),
        (
            Preset::Php,
            "PHP Fatal error:  Uncaught Exception: x in /a.php:1\nStack trace:\n#0 /a.php(2): f()\n#1 {main}\n  thrown in /a.php on line 1",
        ),
        (
            Preset::Rust,
            "thread 'main' panicked at src/main.rs:2:5:\nx\nstack backtrace:\n   0: f\n             at ./src/main.rs:2:5\nnote: Some details are omitted",
        ),
        (Preset::Rust, "Error: x\n\nCaused by:\n    0: y\n    1: z"),
        (
            Preset::Dart,
            "Unhandled exception:\nBad state: x\n#0      f (file:///a.dart:1:2)\n<asynchronous suspension>\n#1      main (file:///a.dart:3:4)",
        ),
    ];

    #[test]
    fn a_trace_is_one_record_and_its_neighbours_are_not_in_it() {
        let all = Preset::ALL.map(|(_, preset)| preset);
        for (language, text) in TRACES {
            let mut lines = vec!["plain text before"];
            for _ in 0..2 {
                lines.extend(text.split('\n'));
            }
            lines.extend(["", "plain text after"]);
            let want = ["plain text before", text, text, "", "plain text after"];
            assert_eq!(records(&preset(&[language]), &lines), want, "{language:?}");
            assert_eq!(records(&preset(&all), &lines), want, "{language:?} with all languages on");
        }
    }

    #[test]
    fn a_trace_belongs_to_the_loggers_line_before_it() {
        for (language, header, trace) in [
            (
                Preset::Java,
                "2026-01-02 10:11:12,345 ERROR [main] c.a.Foo - no order",
                "java.lang.IllegalStateException: x\n\tat a.B.c(B.java:1)\nCaused by: d.E: y\n\t... 1 common frames omitted",
            ),
            (
                Preset::Java,
                "Jan 02, 2026 3:23:29 PM com.acme.Foo bar\nSEVERE: no order",
                "java.lang.Exception: x\n\tat a.B.c(B.java:1)",
            ),
            (Preset::Java, "10:11:12 ERROR x: java.lang.Exception: y", "\tat a.B.c(B.java:1)"),
            (
                Preset::Python,
                "ERROR:root:no order",
                "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: x",
            ),
            (
                Preset::Go,
                "2026/01/02 10:11:12 http: panic serving 1.2.3.4:5: x",
                "goroutine 7 [running]:\nnet/http.f()\n\t/a.go:1 +0x1",
            ),
            (
                Preset::Ruby,
                "E, [2026-01-02T10:11:12.345678 #1] ERROR -- : x (RuntimeError)",
                "/a.rb:1:in 'f'\n/a.rb:2:in 'g'",
            ),
            (Preset::Node, "[2026-01-02T10:11:12.345Z] ERROR: x", "Error: y\n    at f (/a.js:1:2)"),
            (
                Preset::Php,
                "[02-Jan-2026 10:11:12 UTC] PHP Fatal error:  Uncaught Exception: x in /a.php:1",
                "Stack trace:\n#0 {main}\n  thrown in /a.php on line 1",
            ),
        ] {
            let record = format!("{header}\n{trace}");
            let (mut lines, mut want) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                lines.extend(record.split('\n'));
                want.push(record.as_str());
            }
            lines.push("2026-01-02 10:11:13 INFO next");
            want.push("2026-01-02 10:11:13 INFO next");
            assert_eq!(records(&preset(&[language]), &lines), want);
        }
    }

    #[test]
    fn only_what_may_go_on_is_held() {
        let rule = preset(&Preset::ALL.map(|(_, preset)| preset));
        for line in [
            "{\"error\":\"java.lang.Exception: x\"}",
            "plain text",
            "",
            "GET /index.html 200",
            "  indented",
            "level=info msg=x",
        ] {
            assert_eq!(rule.step(&mut State::default(), line.as_bytes()), Step::Alone, "{line}");
        }
    }
}
