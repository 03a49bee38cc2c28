//! What was wrong of late: the last different warnings and errors of the agent's log, each with how often it came, for the status page. A feed that
//! any thread may write to without waiting, and a list that one task owns. What it holds is masked and bounded.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tracing::Level;

use crate::clock;
use crate::config::mask_url;
use crate::kinesis::verdict;

/// Different problems that are remembered; the page shows all of them.
pub const REMEMBERED: usize = 20;
/// Problems on their way to the list. It is emptied every few seconds, and what does not fit is counted and still in the log.
const QUEUE: usize = 64;
/// Characters of one problem's message, and of its details: enough for a sentence and a path.
const SHOWN_CHARS: usize = 400;

/// A warning or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// An error, not a warning.
    pub is_error: bool,
    /// What it says; most say the way out too.
    pub message: String,
    /// Its values, as `name=value`.
    pub details: String,
    /// What is to be done, where an error code says it and the message does not.
    pub way_out: Option<&'static str>,
    /// The code of the error, if it has one. Together with the message it makes it the same as another one.
    pub code: String,
    /// How often it came; of what the log suppresses as much as is known.
    pub count: u64,
    /// When it came first ...
    pub first: SystemTime,
    /// ... and last.
    pub last: SystemTime,
}

impl Problem {
    /// From what a message says and its values, now.
    pub(super) fn new(level: Level, message: &str, values: &Map<String, Value>, count: u64) -> Self {
        let code = values.get("code").and_then(Value::as_str).unwrap_or_default();
        let way_out = verdict::known_way_out(code).filter(|words| !message.contains(words));
        let now = clock::now();
        let details: Vec<String> = values.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        Self {
            is_error: level == Level::ERROR,
            message: cut(&masked(message)),
            details: cut(&details.join(" ")),
            way_out,
            code: cut(code),
            count,
            first: now,
            last: now,
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => masked(text),
        other => other.to_string(),
    }
}

/// URLs in it without what may be a secret.
fn masked(text: &str) -> String {
    if !text.contains("://") {
        return text.to_owned();
    }
    text.split(' ')
        .map(|word| if word.contains("://") { mask_url(word) } else { word.to_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() && text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Where the log tells of problems.
#[derive(Debug, Clone)]
pub(super) struct Feed(mpsc::Sender<Problem>);

impl Feed {
    /// Tells of one, if there is room.
    pub(super) fn tell(&self, problem: Problem) {
        // What does not fit is in the log all the same, and one of its kind is on its way.
        self.0.try_send(problem).ok();
    }
}

/// The list of problems.
#[derive(Debug)]
pub struct Problems {
    feed: Option<mpsc::Receiver<Problem>>,
    /// The one that came last is the last.
    list: VecDeque<Problem>,
}

impl Default for Problems {
    /// A list that nobody feeds.
    fn default() -> Self {
        Self { feed: None, list: VecDeque::new() }
    }
}

/// A feed and its list.
pub(super) fn channel() -> (Feed, Problems) {
    let (feed, told) = mpsc::channel(QUEUE);
    (Feed(feed), Problems { feed: Some(told), list: VecDeque::new() })
}

impl Problems {
    /// Takes in what was told since the last time.
    pub fn refresh(&mut self) {
        while let Some(problem) = self.feed.as_mut().and_then(|feed| feed.try_recv().ok()) {
            self.add(problem);
        }
    }

    fn add(&mut self, mut problem: Problem) {
        let is_same = |other: &Problem| other.message == problem.message && other.code == problem.code;
        if let Some(before) = self.list.iter().position(is_same).and_then(|index| self.list.remove(index)) {
            (problem.count, problem.first) = (problem.count + before.count, before.first);
        }
        self.list.push_back(problem);
        if self.list.len() > REMEMBERED {
            self.list.pop_front();
        }
    }

    /// All that are remembered, the last one first.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogConfig, LogFormat, LogLevel, with_clock};
    use super::*;
    use std::io;
    use std::time::Duration;

    /// What is remembered of what `say` logs.
    fn problems(say: impl FnOnce()) -> Problems {
        let (feed, mut problems) = channel();
        let config = LogConfig { level: LogLevel::Trace, format: LogFormat::Text };
        let log = with_clock(&config, io::sink, || Duration::ZERO, Some(feed));
        tracing::subscriber::with_default(log, say);
        problems.refresh();
        problems
    }

    #[test]
    fn the_same_problem_is_counted_and_the_last_one_comes_first() {
        let seen = problems(|| {
            for code in ["AccessDeniedException", "Timeout", "AccessDeniedException"] {
                tracing::error!(code, "delivery is blocked");
            }
            tracing::info!("nothing is wrong");
            tracing::warn!(target: "hyper::client", token = "secret", "somebody else's");
            tracing::warn!(target: "kinetail_not::really", "somebody else's");
            tracing::warn!(path = "/var/log/a\nb", n = 3, "a file cannot be read");
        });
        let seen: Vec<_> = seen.iter().map(|p| (&*p.message, &*p.details, p.count, p.is_error)).collect();
        let expected = [
            ("a file cannot be read", "n=3 path=/var/log/a b", 1, false),
            ("delivery is blocked", "code=AccessDeniedException", 2, true),
            ("delivery is blocked", "code=Timeout", 1, true),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_code_has_its_way_out_unless_the_message_says_it() {
        let way_out = verdict::way_out("AccessDeniedException");
        let seen = problems(|| {
            tracing::error!(code = "AccessDeniedException", "delivery is blocked: {way_out}");
            tracing::error!(code = "AccessDeniedException", "something failed");
            tracing::error!("no code");
        });
        assert_eq!(seen.iter().map(|p| p.way_out).collect::<Vec<_>>(), [None, Some(way_out), None]);
    }

    #[test]
    fn no_password_and_no_novel_is_remembered() {
        let seen = problems(|| {
            tracing::warn!(url = "see https://user:pass@example.com/?token=abc now", "{}", "x".repeat(100_000));
            tracing::warn!(body = "é".repeat(100_000), "POST http://me:word@host/ failed");
        });
        let [post, long] = seen.iter().collect::<Vec<_>>()[..] else { panic!("two problems") };
        assert_eq!((&*post.message, post.details.chars().count()), ("POST http://***@host/ failed", SHOWN_CHARS + 1));
        assert_eq!((&*long.details, long.message.len()), ("url=see https://***@example.com/?*** now", SHOWN_CHARS + 3));
    }

    #[test]
    fn a_flood_neither_waits_nor_grows() {
        let seen = problems(|| {
            // One callsite is limited, so that the feed has room for what comes after it.
            (0..10_000).for_each(|n| tracing::warn!(n, "a flood"));
            (0..10_000).for_each(|n| tracing::error!("problem {n}"));
        });
        assert!(seen.list.len() <= REMEMBERED && !seen.list.is_empty());
        let (feed, mut problems) = channel();
        for n in 0..10 * QUEUE {
            feed.tell(Problem::new(Level::WARN, &format!("problem {n}"), &Map::new(), 1));
        }
        problems.refresh();
        assert_eq!(problems.iter().count(), REMEMBERED);
        assert_eq!(problems.iter().next().unwrap().message, format!("problem {}", QUEUE - 1));
    }
}
