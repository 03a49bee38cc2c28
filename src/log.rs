//! The agent's own log: text or JSON lines on stderr, each message rate limited. Not the logs that the agent carries.
//!
//! No event data ever comes here. The agent's own messages name places and counts only; the messages of other crates are
//! shown from `warn` on, and at level `trace` from `debug` on, since the AWS SDK prints whole requests at `trace`.

mod limit;
pub mod recent;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::limit::{Limiter, Spoken, WINDOW};
use self::recent::{Problem, Problems};
use crate::config::{LogConfig, LogFormat, LogLevel};

/// Characters of one value in a message. An error can quote a whole HTTP response, and a log has to stay readable.
const MAX_VALUE_CHARS: usize = 2048;

/// What the targets of the agent's own messages begin with.
const OWN_TARGET: &str = "kinetail";

/// Starts the log of this process; a second call changes nothing. What was wrong of late can be had from what it answers.
pub fn init(config: &LogConfig) -> Problems {
    let (feed, problems) = recent::channel();
    let started = Instant::now();
    let subscriber = with_clock(config, io::stderr, move || started.elapsed(), Some(feed));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("the log is already set up");
    }
    problems
}

/// The log as a subscriber that writes to any writer.
pub fn subscriber<W>(config: &LogConfig, out: W) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let started = Instant::now();
    with_clock(config, out, move || started.elapsed(), None)
}

/// The log as a subscriber, with the time since its start passed in, and where problems go beside.
fn with_clock<W, C>(
    config: &LogConfig,
    out: W,
    clock: C,
    problems: Option<recent::Feed>,
) -> impl Subscriber + Send + Sync + use<W, C>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    C: Fn() -> Duration + Send + Sync + 'static,
{
    let layer = LogLayer { format: config.format, limiter: Limiter::default(), clock, out, problems };
    tracing_subscriber::registry().with(levels(config.level)).with(layer)
}

/// Which messages are written: the agent's own from the level on, others only if something is wrong.
fn levels(level: LogLevel) -> Targets {
    let (own, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    Targets::new().with_default(others).with_target(OWN_TARGET, own)
}

/// Writes each event as one line, with one call, unless its callsite has said enough.
struct LogLayer<W, C> {
    format: LogFormat,
    limiter: Limiter,
    clock: C,
    out: W,
    problems: Option<recent::Feed>,
}

impl<S, W, C> Layer<S> for LogLayer<W, C>
where
    S: Subscriber,
    W: for<'a> MakeWriter<'a> + 'static,
    C: Fn() -> Duration + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Spoken::Yes { suppressed } = self.limiter.ask(&event.metadata().callsite(), (self.clock)()) else {
            return;
        };
        let mut lines = String::new();
        if suppressed > 0 {
            let (most, window) = (limit::MAX_IN_WINDOW, WINDOW.as_secs());
            let message = format!(
                "{suppressed} messages like the next one were suppressed; at most {most} are written in {window} s"
            );
            let mut notice = Fields { message, values: Map::new() };
            notice.add("suppressed", suppressed.into());
            self.line(&mut lines, event, notice);
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(feed) = self.problems.as_ref().filter(|_| is_problem(event)) {
            feed.tell(Problem::new(*event.metadata().level(), &fields.message, &fields.values, suppressed + 1));
        }
        self.line(&mut lines, event, fields);
        // There is nowhere left to tell that stderr is gone, and no reason to stop delivering because of it.
        self.out.make_writer_for(event.metadata()).write_all(lines.as_bytes()).unwrap_or_default();
    }
}

/// Something that an operator should see. What other crates say may quote what they were given, and is for the log alone.
fn is_problem(event: &Event<'_>) -> bool {
    let (level, target) = (event.metadata().level(), event.metadata().target());
    *level <= tracing::Level::WARN && target.split("::").next() == Some(OWN_TARGET)
}

impl<W, C> LogLayer<W, C> {
    fn line(&self, lines: &mut String, event: &Event<'_>, fields: Fields) {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        match self.format {
            LogFormat::Text => {
                let written = write!(lines, "{} {level:>5} {target}: {fields}", now());
                written.expect("a string takes everything");
            }
            LogFormat::Json => {
                let mut object = fields.values;
                object.insert("timestamp".to_owned(), now().into());
                object.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
                object.insert("target".to_owned(), target.into());
                object.insert("message".to_owned(), fields.message.into());
                lines.push_str(&Value::Object(object).to_string());
            }
        }
        lines.push('\n');
    }
}

/// The wall-clock time in RFC 3339.
fn now() -> String {
    let mut text = String::new();
    SystemTime.format_time(&mut Writer::new(&mut text)).expect("a string takes everything");
    text
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }
}

impl fmt::Display for Fields {
    /// On one line, whatever the values contain: what others wrote must not look like lines of ours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.message.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        for (name, value) in &self.values {
            match value {
                Value::String(text) => write!(f, " {name}={text:?}")?,
                other => write!(f, " {name}={other}")?,
            }
        }
        Ok(())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text: String = value.chars().take(MAX_VALUE_CHARS).collect();
        if text.len() < value.len() {
            text.push('…');
        }
        if field.name() == "message" { self.message = text } else { self.add(field.name(), text.into()) }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;

    /// Sends what is written, one message a call.
    #[derive(Clone)]
    struct Sink(mpsc::SyncSender<String>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Everything that is written while the work is done.
    fn written(level: LogLevel, format: LogFormat, work: impl FnOnce()) -> Vec<String> {
        let (sender, receiver) = mpsc::sync_channel(1000);
        let sink = Sink(sender);
        tracing::subscriber::with_default(subscriber(&LogConfig { level, format }, move || sink.clone()), work);
        receiver.try_iter().collect()
    }

    /// A line without its time.
    fn after_time(line: &str) -> &str {
        line.split_once('Z').unwrap().1
    }

    #[test]
    fn text_is_one_line_whatever_it_says() {
        let lines = written(LogLevel::Info, LogFormat::Text, || {
            tracing::warn!(path = "/a\nb", bytes = 3, ok = true, error = %"it\n\u{1b}[31m broke", "cannot\nread");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(
            after_time(&lines[0]),
            "  WARN kinetail::log::tests: cannot\\nread bytes=3 error=\"it\\n\\u{1b}[31m broke\" ok=true path=\"/a\\nb\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = written(LogLevel::Info, LogFormat::Json, || {
            tracing::error!(bytes = 3, source = "app", "cannot \"read\"\n");
        });
        assert_eq!(lines.len(), 1);
        let mut object: Map<String, Value> = serde_json::from_str(&lines[0]).unwrap();
        assert!(object.remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "level": "error", "target": "kinetail::log::tests", "message": "cannot \"read\"\n", "bytes": 3, "source": "app",
        });
        assert_eq!(Value::Object(object), expected);
        assert_eq!(lines[0].matches('\n').count(), 1);
    }

    #[test]
    fn other_crates_are_quiet_unless_something_is_wrong() {
        let say = || {
            tracing::trace!("own trace");
            tracing::debug!("own debug");
            tracing::info!(target: "aws_smithy_runtime", "their info");
            tracing::warn!(target: "hyper_util::client", "their warning");
            tracing::debug!(target: "hyper::proto", "their debug");
            tracing::trace!(target: "aws_smithy_runtime", "their whole request");
        };
        let said = |level| -> Vec<String> {
            let lines = written(level, LogFormat::Text, say);
            lines.iter().map(|line| line.rsplit(": ").next().unwrap().trim_end().to_owned()).collect()
        };
        assert_eq!(said(LogLevel::Error), [""; 0]);
        assert_eq!(said(LogLevel::Debug), ["own debug", "their warning"]);
        assert_eq!(said(LogLevel::Trace), ["own trace", "own debug", "their info", "their warning", "their debug"]);
    }

    #[test]
    fn a_long_value_is_cut() {
        let lines = written(LogLevel::Info, LogFormat::Text, || tracing::info!(body = "x".repeat(100_000), "got"));
        assert!(lines[0].len() < MAX_VALUE_CHARS + 200);
        assert!(lines[0].ends_with("x…\"\n"));
    }

    #[test]
    fn a_message_that_repeats_is_suppressed_and_counted() {
        let (sender, receiver) = mpsc::sync_channel(1000);
        let sink = Sink(sender);
        let config = LogConfig { level: LogLevel::Info, format: LogFormat::Text };
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&seconds);
        let clock = move || Duration::from_secs(clock.load(Ordering::Relaxed));
        let guard = tracing::subscriber::set_default(with_clock(&config, move || sink.clone(), clock, None));
        let repeat = |number: u32| tracing::warn!(number, "throttled");
        (0..25).for_each(repeat);
        tracing::warn!("another message");
        seconds.store(WINDOW.as_secs(), Ordering::Relaxed);
        (25..27).for_each(repeat);
        drop(guard);

        let lines: Vec<String> = receiver.try_iter().collect();
        assert_eq!(lines.len(), 13, "{lines:#?}");
        assert!(lines[9].ends_with("throttled number=9\n"));
        assert!(lines[10].ends_with("another message\n"));
        let (notice, message) = lines[11].split_once('\n').unwrap();
        assert_eq!(
            after_time(notice),
            "  WARN kinetail::log::tests: 15 messages like the next one were suppressed; \
             at most 10 are written in 30 s suppressed=15"
        );
        assert!(message.ends_with("throttled number=25\n"));
        assert!(lines[12].ends_with("throttled number=26\n"));
    }
}
