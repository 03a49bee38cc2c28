//! Runs a pattern's steps over a line. The first way that fits, in the order in which the pattern prefers them, is the engine's match; where the
//! sets of neighbours have nothing in common there is one way, and the line is gone over once, many bytes at a time.
//!
//! The work is bounded by the line's length: a line on which more would be tried, or that has characters that the steps do not tell apart, is
//! left to the engine, which is linear whatever the pattern.

use memchr::{memchr, memchr2, memrchr};

use super::steps::{Fork, Kind, Place, Run, Step, compile};

/// Steps and bytes looked at, for each byte of a line.
const WORK_PER_BYTE: usize = 16;
/// And for a line at all.
const WORK: usize = 4096;
/// Where a group is that took no part.
const NOWHERE: usize = usize::MAX;

/// What is known after a line was gone over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It fits; the groups are known.
    Yes,
    /// It does not fit.
    No,
    /// The engine has to say.
    Unknown,
}

/// A pattern in steps.
#[derive(Debug)]
pub(super) struct Scanner {
    steps: Vec<Step>,
    slots: usize,
}

/// Where groups are, and what is left to try; kept from line to line.
#[derive(Debug, Default)]
pub(super) struct Memory {
    slots: Vec<usize>,
    stack: Vec<Later>,
}

impl Memory {
    /// Where a group was found.
    pub(super) fn group(&self, index: usize) -> Option<(usize, usize)> {
        let (start, end) = (*self.slots.get(2 * index)?, *self.slots.get(2 * index + 1)?);
        (start != NOWHERE && end != NOWHERE).then_some((start, end))
    }
}

/// What to go back to.
#[derive(Debug, Clone, Copy)]
enum Later {
    /// A step, from here.
    Try { step: usize, at: usize },
    /// The rest after a run of characters, which can end from here to there.
    End { run: usize, low: usize, high: usize },
    /// A group as it was.
    Slot { slot: usize, was: usize },
}

/// Why a way ends.
enum Stop {
    /// It does not fit.
    Misfit,
    /// The steps cannot tell.
    Unknown,
}

impl Scanner {
    /// The steps of a pattern with these named groups, if it can be run in steps.
    pub(super) fn new(pattern: &str, groups: &[usize]) -> Option<Self> {
        let steps = compile(pattern, groups)?;
        let slots = groups.iter().max().map_or(0, |last| 2 * last + 2);
        Some(Self { steps, slots })
    }

    /// Goes over a line.
    pub(super) fn find(&self, line: &str, memory: &mut Memory) -> Found {
        memory.slots.clear();
        memory.slots.resize(self.slots, NOWHERE);
        memory.stack.clear();
        let work = line.len().saturating_mul(WORK_PER_BYTE).saturating_add(WORK);
        let mut pass = Pass { steps: &self.steps, line, bytes: line.as_bytes(), memory, work };
        pass.run()
    }
}

struct Pass<'a> {
    steps: &'a [Step],
    line: &'a str,
    bytes: &'a [u8],
    memory: &'a mut Memory,
    work: usize,
}

impl Pass<'_> {
    fn run(&mut self) -> Found {
        let mut next = Ok((0, 0));
        loop {
            match next.and_then(|(step, at)| self.way(step, at)) {
                Ok(()) => return Found::Yes,
                Err(Stop::Unknown) => return Found::Unknown,
                Err(Stop::Misfit) if self.memory.stack.is_empty() => return Found::No,
                Err(Stop::Misfit) => next = self.back(),
            }
        }
    }

    /// Takes steps until they fit or do not.
    fn way(&mut self, mut step: usize, mut at: usize) -> Result<(), Stop> {
        let steps = self.steps;
        loop {
            self.spend(1)?;
            match &steps[step] {
                Step::Text(text) => {
                    let rest = self.bytes.get(at..).unwrap_or_default();
                    if !rest.starts_with(text) {
                        return Err(Stop::Misfit);
                    }
                    at += text.len();
                    step += 1;
                }
                Step::Run(run) => {
                    at = self.take(run, step, at)?;
                    step += 1;
                }
                Step::Save(slot) => {
                    let was = std::mem::replace(&mut self.memory.slots[*slot], at);
                    if !self.memory.stack.is_empty() {
                        self.memory.stack.push(Later::Slot { slot: *slot, was });
                    }
                    step += 1;
                }
                Step::Fork(Fork { ways, firsts }) => {
                    let byte = self.bytes.get(at);
                    step = match [firsts[0].takes(byte), firsts[1].takes(byte)] {
                        [true, true] => {
                            self.memory.stack.push(Later::Try { step: ways[1], at });
                            ways[0]
                        }
                        [true, false] => ways[0],
                        [false, true] => ways[1],
                        [false, false] => return Err(Stop::Misfit),
                    };
                }
                Step::Jump(to) => step = *to,
                Step::Start if at == 0 => step += 1,
                Step::End if at == self.bytes.len() => step += 1,
                Step::Start | Step::End => return Err(Stop::Misfit),
                Step::Done => return Ok(()),
            }
        }
    }

    fn spend(&mut self, work: usize) -> Result<(), Stop> {
        self.work = self.work.checked_sub(work).ok_or(Stop::Unknown)?;
        Ok(())
    }

    /// Takes a run of characters, and answers where it ends at first.
    fn take(&mut self, run: &Run, step: usize, at: usize) -> Result<usize, Stop> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = extent(run, rest).ok_or(Stop::Unknown)?;
        self.spend(length / 8)?;
        let least = match run.min {
            0 => 0,
            // Of more than one, all are ASCII.
            1 => self.line.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
            more => more,
        };
        if length < least {
            return Err(Stop::Misfit);
        }
        let (low, high) = (at + least, at + length);
        if run.is_exact {
            // Of those that could be followed by something, it is the longest.
            return Ok(high);
        }
        self.end(run, step, low, high).ok_or(Stop::Misfit)
    }

    /// The end of a run that is preferred among those that are left, and keeps the others for later.
    fn end(&mut self, run: &Run, step: usize, low: usize, high: usize) -> Option<usize> {
        let fits = |at: &usize| self.line.is_char_boundary(*at) && run.then.takes(self.bytes.get(*at));
        let (found, rest) = if run.is_greedy {
            let found = match run.then.only {
                Some(byte) if run.then.takes(self.bytes.get(high)) => {
                    Some(high).filter(|_| byte.is_ascii() || fits(&high))
                }
                Some(byte) if byte.is_ascii() && !run.then.at_end => {
                    memrchr(byte, &self.bytes[low..high]).map(|at| low + at)
                }
                _ => (low..=high).rev().find(fits),
            }?;
            (found, (found > low).then(|| (low, found - 1)))
        } else {
            let found = match run.then.only {
                Some(byte) if byte.is_ascii() && !run.then.at_end => {
                    let until = self.bytes.len().min(high + 1);
                    memchr(byte, &self.bytes[low..until]).map(|at| low + at)
                }
                _ => (low..=high).find(fits),
            }?;
            (found, (found < high).then(|| (found + 1, high)))
        };
        self.memory.stack.extend(rest.map(|(low, high)| Later::End { run: step, low, high }));
        Some(found)
    }

    /// Where to go on after a way that did not fit.
    fn back(&mut self) -> Result<(usize, usize), Stop> {
        let steps = self.steps;
        while let Some(later) = self.memory.stack.pop() {
            match later {
                Later::Try { step, at } => return Ok((step, at)),
                Later::Slot { slot, was } => self.memory.slots[slot] = was,
                Later::End { run: step, low, high } => {
                    let Step::Run(run) = &steps[step] else { unreachable!("it was pushed for a run") };
                    // What is looked at in vain counts as well as what is tried.
                    self.spend((high - low) / 8)?;
                    if let Some(at) = self.end(run, step, low, high) {
                        return Ok((step + 1, at));
                    }
                }
            }
        }
        Err(Stop::Misfit)
    }
}

/// How many bytes a run can take at most; nothing if that cannot be told.
fn extent(run: &Run, rest: &[u8]) -> Option<usize> {
    let found = match run.set.kind {
        Kind::All if run.max.is_none() && run.min <= 1 => return Some(rest.len()),
        Kind::Not(a) if run.max.is_none() && run.min <= 1 => memchr(a, rest),
        Kind::NotEither(a, b) if run.max.is_none() && run.min <= 1 => memchr2(a, b, rest),
        _ => return counted(run, rest),
    };
    Some(found.unwrap_or(rest.len()))
}

/// The same where each byte is looked at. Where characters are counted, one of several bytes is more than can be told.
fn counted(run: &Run, rest: &[u8]) -> Option<usize> {
    let rest = &rest[..run.max.map_or(rest.len(), |max| max.min(rest.len()))];
    let Some(at) = rest.iter().position(|b| run.set.place(*b) != Place::In || !b.is_ascii()) else {
        return Some(rest.len());
    };
    let is_counted = run.max.is_some() || run.min > 1;
    match run.set.place(rest[at]) {
        Place::Out => Some(at),
        Place::Unknown => None,
        Place::In if is_counted => None,
        // From here on there are characters of several bytes, which are in the set.
        Place::In => match rest[at..].iter().position(|b| run.set.place(*b) != Place::In) {
            Some(more) => Some(at + more),
            None => Some(rest.len()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::RegexBuilder;

    type Groups = Option<Vec<Option<(usize, usize)>>>;

    /// The groups as the engine has them, and as the steps have them, if they know.
    fn both(pattern: &str, line: &str) -> (Groups, Option<Groups>) {
        let engine = RegexBuilder::new(pattern).dot_matches_new_line(true).build().unwrap();
        let groups: Vec<usize> = (1..engine.captures_len()).collect();
        let captures = engine.captures(line);
        let want = captures.map(|c| groups.iter().map(|g| c.get(*g).map(|m| (m.start(), m.end()))).collect());
        let mut memory = Memory::default();
        let got = Scanner::new(pattern, &groups).map(|scanner| scanner.find(line, &mut memory));
        let got = match got {
            None | Some(Found::Unknown) => None,
            Some(Found::No) => Some(None),
            Some(Found::Yes) => Some(Some(groups.iter().map(|g| memory.group(*g)).collect())),
        };
        (want, got)
    }

    const NGINX: &str = r#"^(?<remote>\S+) \S+ (?<user>\S+) \[(?<time>[^\]]+)\] "(?<method>[A-Z]+) (?<path>[^ "]+)(?: (?<protocol>[^"]+))?" (?<code>\d{3}) (?<size>\d+|-)(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)")?$"#;
    const FLUENTD: &str = r#"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?"#;

    #[test]
    fn access_logs_are_read_in_steps() {
        for line in [
            r#"145.10.45.236 - - [01/Jan/2026:00:00:00 +0000] "PUT /api?a=0 HTTP/1.1" 503 88761 "https://shop.example.com/" "Mozilla/5.0 (X11; Linux)""#,
            r#"145.10.45.236 - - [01/Jan/2026:00:00:00 +0000] "GET /a" 200 -"#,
            r#"::1 - jürgen [01/Jan/2026:00:00:00 +0000] "GET /ä HTTP/1.1" 200 0 "-" "ü""#,
            r#"145.10.45.236 - - [01/Jan/2026:00:00:00 +0000] "" 400 0 "-" "-""#,
            r#"145.10.45.236 - - [01/Jan/2026:00:00:00 +0000] "GET /a"b" c HTTP/1.1" 400 0 "-" "-" "more""#,
            "no such line",
            "",
        ] {
            for pattern in [NGINX, FLUENTD] {
                let (want, got) = both(pattern, line);
                // `\S` is more than ASCII: such a line is the engine's.
                if line.is_ascii() {
                    assert_eq!(got, Some(want), "{line}");
                } else if let Some(got) = got {
                    assert_eq!(got, want, "{line}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_run_in_steps_is_left_to_the_engine() {
        for pattern in ["(a)", r"^(a)\b", "(?m)^(a)$", "^(a*)*", "^((?:a|b?)+)", "(?:^a|(b))"] {
            assert!(Scanner::new(pattern, &[1]).is_none(), "{pattern}");
        }
        for pattern in ["^(a)", "^(?:(a)|b)$", "(?:^(a)|^(b))", r"^(\d{1,3}(?:\.\d{1,3}){3})", "^(?s)(.*?)b(?-s).*$"] {
            assert!(Scanner::new(pattern, &[1]).is_some(), "{pattern}");
        }
    }

    #[test]
    fn the_work_is_bounded() {
        let line = "a".repeat(10_000);
        for pattern in
            ["^(?:a*a*a*a*)*b", "^(a*)a*a*a*a*b$", "^(a*?)a*?a*?a*?b$", "^(.*)(.*)(.*)x(.*)y$", "^(?:a|(a)|aa)+b$"]
        {
            let scanner = Scanner::new(pattern, &[1]);
            let found = scanner.map(|scanner| scanner.find(&line, &mut Memory::default()));
            assert!(!matches!(found, Some(Found::Yes)), "{pattern}");
        }
    }

    /// Patterns of all that there can be in one.
    fn pattern() -> impl Strategy<Value = String> {
        let atom = prop_oneof![
            "[ab \"é]",
            Just(".".to_owned()),
            Just("(?-s:.)".to_owned()),
            Just("[^ ]".to_owned()),
            Just("[^\"a]".to_owned()),
            Just("[aé]".to_owned()),
            Just("[^é]".to_owned()),
            Just(r"\S".to_owned()),
            Just(r"\d".to_owned()),
            Just("(?i:b)".to_owned()),
            Just("ab".to_owned()),
            Just("$".to_owned()),
            Just("(?-u:[a ])".to_owned()),
        ];
        let many = prop_oneof!["[*+?]\\??", Just("{2}".to_owned()), Just("{1,2}".to_owned()), Just("{2,}?".to_owned())];
        atom.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                (inner.clone(), many.clone()).prop_map(|(a, m)| format!("(?:{a}){m}")),
                prop::collection::vec(inner.clone(), 1..5).prop_map(|all| all.concat()),
                prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("(?:{})", all.join("|"))),
                inner.prop_map(|a| format!("({a})")),
            ]
        })
        .prop_map(|rest| format!("^{rest}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]
        /// What the steps say is what the engine says.
        #[test]
        fn steps_and_engine_agree(pattern in pattern(), lines in prop::collection::vec("[ab \"é1\\n]{0,12}", 6)) {
            for line in &lines {
                let (want, got) = both(&pattern, line);
                if let Some(got) = got {
                    prop_assert_eq!(got, want, "{} on {:?}", pattern, line);
                }
            }
        }
    }
}
