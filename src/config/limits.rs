//! The defaults and limits of every setting, each in this one place, with its unit and its reason.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Format, Fsync, LineFormat, LogFormat, LogLevel, LongLines, OnFull, OnParseError, StartAt};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// The range and default of a setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<T> {
    pub(super) min: T,
    pub(super) default: T,
    pub(super) max: T,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) Duration);

/// Bytes of log data in memory. The default holds over a hundred full aggregates, more than the requests under way can
/// carry, and leaves a sidecar below 32 MiB in all. Less than the smallest could not hold one large line; more than the
/// largest is a slip of the unit.
pub(super) const MEMORY_LIMIT: Range<Size> = Range { min: Size(MIB), default: Size(12 * MIB), max: Size(TIB) };

/// Bytes of a line. The largest is the largest record that a stream can be set to take.
pub(super) const MAX_LINE_BYTES: Range<Size> = Range { min: Size(KIB), default: Size(MIB), max: Size(10 * MIB) };

/// Bytes of an aggregate. The default is two of the 25 KiB units that `PutRecords` is billed in, and what the KPL packs to.
pub(super) const TARGET_BYTES: Range<Size> = Range { min: Size(KIB), default: Size(50 * KIB), max: Size(10 * MIB) };

/// Bytes to which an aggregate may grow, where that is set at all. The example is the record limit of a stream that nobody changed.
pub(super) const MAX_BYTES: Range<Size> = Range { min: Size(KIB), default: Size(MIB), max: Size(10 * MIB) };

/// Events of an aggregate; zero is without end. In ten mebibytes there is no room for a million.
pub(super) const MAX_RECORDS: Range<u64> = Range { min: 0, default: 0, max: 1_000_000 };

/// How long an event waits for company. The default is the KPL's `RecordMaxBufferedTime`.
pub(super) const MAX_AGE: Range<Time> = Range { min: millis(0), default: millis(100), max: secs(60) };

/// How long a rotated file is watched on. The default outlasts a writer that reopens its log upon a signal.
pub(super) const ROTATE_WAIT: Range<Time> = Range { min: secs(0), default: secs(5), max: secs(3600) };

/// How long the rest of a line is waited for. Runtimes write the pieces of a line at once, and so do services; seconds are a stall. Zero is
/// for ever.
pub(super) const PARTIAL_LINE_TIMEOUT: Range<Time> = Range { min: secs(0), default: secs(5), max: secs(3600) };

/// How long a record waits for its next line. Loggers write a record at once.
pub(super) const MULTILINE_TIMEOUT: Range<Time> = Range { min: millis(10), default: secs(1), max: secs(3600) };

/// Lines of a record. The JVM shows 1,024 frames of a trace at most, and few have a tenth of that.
pub(super) const MULTILINE_MAX_LINES: Range<u64> = Range { min: 1, default: 1000, max: 100_000 };

/// Who wrote a file: the service itself.
pub(super) const LINE_FORMAT: LineFormat = LineFormat::Plain;

/// How long a deleted file is held. The default outlasts an outage of the stream that somebody is called for.
pub(super) const DELETED_MAX_WAIT: Range<Time> = Range { min: secs(0), default: secs(3600), max: secs(30 * 24 * 3600) };

/// Everyone who can reach a FIFO may write to it; only its owner and group may read.
pub(super) const FIFO_MODE: &str = "0622";

/// Where a Forward server listens: on the port of Forward, and for this machine or pod alone, since it asks nobody who they are.
pub(super) const FORWARD_LISTEN: &str = "127.0.0.1:24224";

/// Bytes of a message. Fluent Bit's have 2 MiB, Fluentd's 8 MiB.
pub(super) const FORWARD_MESSAGE_BYTES: Range<Size> =
    Range { min: Size(64 * 1024), default: Size(16 * MIB), max: Size(256 * MIB) };

/// Connections. Docker has one for each container.
pub(super) const FORWARD_CONNECTIONS: Range<u64> = Range { min: 1, default: 1024, max: 65_536 };

/// How long a connection may say nothing: without end.
pub(super) const FORWARD_IDLE_TIMEOUT: Range<Time> = Range { min: secs(0), default: secs(0), max: secs(24 * 3600) };

/// Bytes of a spool. The default holds some minutes of a busy service, and fits into the ephemeral storage of the smallest task.
pub(super) const SPOOL_MAX_BYTES: Range<Size> = Range { min: Size(MIB), default: Size(256 * MIB), max: Size(TIB) };

/// Bytes of a segment. What is delivered is removed by segments, so that many of them have to fit into a spool.
pub(super) const SPOOL_SEGMENT_BYTES: Range<Size> =
    Range { min: Size(64 * 1024), default: Size(8 * MIB), max: Size(1024 * MIB) };

/// What happens to new lines when a spool is full: their writer waits, and nothing is lost.
pub(super) const SPOOL_ON_FULL: OnFull = OnFull::Block;

/// When the disk is waited for: a crash of the agent loses nothing in any case, one of the machine a second.
pub(super) const SPOOL_FSYNC: Fsync = Fsync::Interval;

/// How long a file that is gone is remembered. The default outlasts a long weekend in which a volume is away.
pub(super) const EXPIRE_AFTER: Range<Time> =
    Range { min: secs(3600), default: secs(7 * 24 * 3600), max: secs(31_557_600) };

/// How long a request may take. A full request is 10 MiB, which a slow link carries in some seconds.
pub(super) const REQUEST_TIMEOUT: Range<Time> = Range { min: millis(100), default: secs(10), max: secs(300) };

/// The age of the oldest unsent event at which readiness ends; several throttled seconds are normal operation.
pub(super) const READY_MAX_AGE: Range<Time> = Range { min: secs(1), default: secs(60), max: secs(24 * 3600) };

/// How long a stage that has work may stand still. The default is far beyond what a disk or a scan of many files takes, and restarts a container
/// within two minutes. Zero is for ever.
pub(super) const WATCHDOG: Range<Time> = Range { min: secs(0), default: secs(60), max: secs(24 * 3600) };

/// From the signal to the exit. The default leaves five of the 30 seconds that Kubernetes and ECS grant before they kill.
pub(super) const SHUTDOWN_TIMEOUT: Range<Time> = Range { min: secs(0), default: secs(25), max: secs(3600) };

/// Requests under way. Twelve full ones, and the memory for them, bring nine tenths of what a core can send over a round trip of 50 ms.
pub(super) const MAX_IN_FLIGHT_REQUESTS: Range<u64> = Range { min: 1, default: 12, max: 64 };

/// Streams. Each has a sender with requests of its own; the default is as many teams as share a node's logs, and more than the largest come from a
/// field that is no team.
pub(super) const MAX_STREAMS: Range<u64> = Range { min: 1, default: 16, max: 256 };

/// The part of a shard's bytes that one key has. With half of a shard, one more such key fills it.
pub(super) const HOT_KEY_SHARE: Range<Share> = Range { min: Share(0.0), default: Share(0.5), max: Share(1.0) };

/// What each event ends with: what Firehose writes to S3 is then one event a line.
pub(super) const DELIMITER: &str = "\n";

/// Bytes of it, which every event has to have room for.
pub(super) const MAX_DELIMITER_BYTES: usize = 16;

/// What the session of an assumed role is called.
pub(super) const SESSION_NAME: &str = "kinetail";

/// Characters of a source's name, which is a label of every metric about it.
pub(super) const MAX_SOURCE_NAME_CHARS: usize = 128;

/// Where the state lives: the directory that the file hierarchy standard has for it.
pub(super) const STATE_DIR: &str = "/var/lib/kinetail";

/// The address of the admin server: every interface, since the scraper and the kubelet come from outside of the pod, and
/// the port that OpenTelemetry's Prometheus exporters listen on.
pub(super) const ADMIN_LISTEN: &str = "0.0.0.0:9464";

/// What switches the admin server off.
pub(super) const ADMIN_OFF: &str = "off";

/// The name of the first source that has none; the next is `files-2`.
pub(super) const SOURCE_NAME: &str = "files";

/// Where a file starts at first: at its beginning, or what was logged before the agent came up would be lost.
pub(super) const START_AT: StartAt = StartAt::Beginning;

/// What happens to a long line: nothing of it is lost.
pub(super) const LONG_LINES: LongLines = LongLines::Split;

/// How a line becomes an event: as it is, which cannot fail.
pub(super) const PARSE: &str = "raw";
/// Where the time goes: what Logstash, Elasticsearch and Fluent Bit's output to it call it.
pub(super) const TIMESTAMP_NAME: &str = "@timestamp";
/// Where the level goes.
pub(super) const LEVEL_NAME: &str = "level";

/// What happens to a line that the parser refuses: nothing of it is lost.
pub(super) const ON_PARSE_ERROR: OnParseError = OnParseError::Keep;

/// What a record holds: aggregates, which cost a fraction of single events.
pub(super) const FORMAT: Format = Format::Kpl;

/// How records are spread: evenly.
pub(super) const PARTITION_KEY: &str = "random";

/// Whether what `FireLens` generated is done: where nothing else is configured.
pub(super) const FIRELENS_AUTO: &str = "auto";

/// What switches that off.
pub(super) const FIRELENS_OFF: &str = "off";

/// The level of the agent's own log: what an operator acts on, and how it started and stopped.
pub(super) const LOG_LEVEL: LogLevel = LogLevel::Info;

/// The look of the agent's own log: it is read with `kubectl logs` first.
pub(super) const LOG_FORMAT: LogFormat = LogFormat::Text;

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share(pub(super) f64);

impl Eq for Share {}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

const fn millis(millis: u64) -> Time {
    Time(Duration::from_millis(millis))
}

const fn secs(secs: u64) -> Time {
    Time(Duration::from_secs(secs))
}

impl fmt::Display for Size {
    /// Exactly, in the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// What a setting's text can be read as.
pub(super) trait Quantity: Copy + Ord + fmt::Display {
    /// What it is called in a message.
    const NOUN: &'static str;

    /// The quantity that a text says.
    fn parse(text: &str) -> Option<Self>;

    /// The question that helps with a text that could not be read.
    fn hint(_text: &str) -> String {
        String::new()
    }
}

impl Quantity for Size {
    const NOUN: &'static str = "a size";

    fn parse(text: &str) -> Option<Self> {
        text.parse::<ByteSize>().ok().map(|size| Self(size.as_u64()))
    }
}

impl Quantity for Time {
    const NOUN: &'static str = "a time";

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().map(Self)
    }

    fn hint(text: &str) -> String {
        if text.parse::<u64>().is_ok() { format!(" (did you mean \"{text}s\"?)") } else { String::new() }
    }
}

impl Quantity for Share {
    const NOUN: &'static str = "a number";

    fn parse(text: &str) -> Option<Self> {
        // Adding zero makes one of minus zero, which is less than it.
        text.parse().ok().filter(|share: &f64| share.is_finite()).map(|share| Self(share + 0.0))
    }
}

impl Quantity for u64 {
    const NOUN: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<T: Quantity> Range<T> {
    /// What is allowed, for people.
    pub(super) fn allowed(&self) -> String {
        format!("{} from {} to {}, such as {}", T::NOUN, self.min, self.max, self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        for bytes in [0, 1, 1023, 1024, 51_200, 1_048_576, 1_048_577, 8 * MIB, 3 * GIB, TIB] {
            assert_eq!(Size::parse(&Size(bytes).to_string()), Some(Size(bytes)));
        }
        for time in [millis(0), millis(1), millis(1500), secs(60), secs(3601), secs(100_000)] {
            assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn sizes_are_written_in_many_ways() {
        for (text, bytes) in [("8MiB", 8 * MIB), ("8388608", 8 * MIB), ("50KB", 50_000), ("50 KiB", 51_200)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "many", "-1", "8MB3", "8 m i b", "NaN"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
