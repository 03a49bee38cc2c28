//! A load as a running agent has it: two readings of its metrics, and what its status says of hot keys and of the last quarter of an hour. It is
//! arithmetic on what was answered; `cli/plan.rs` asks.

use serde_json::Value;

use super::exposition::Exposition;
use super::{KeyShare, Load, Sent};

/// What every page of an agent's metrics has.
const BUILD_INFO: &str = "kinetail_build_info";
/// Which streams it has delivered to.
const DELIVERED: &str = "kinetail_kinesis_user_records_total";
/// By how much of what was read a backlog has to change to be more than what is just under way.
const NOISE: f64 = 0.05;

/// What was asked, and when.
#[derive(Debug, Clone, Copy)]
pub struct Readings<'a> {
    /// The metrics at first.
    pub before: &'a Exposition,
    /// The metrics later.
    pub after: &'a Exposition,
    /// What `/status?history` answered at the end; null if nothing.
    pub status: &'a Value,
    /// The time between the two.
    pub seconds: f64,
    /// How many agents like this one there are.
    pub agents: u32,
}

/// What is worth knowing of how the load was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The stream.
    pub stream: String,
    /// For how long.
    pub seconds: f64,
    /// How many events were delivered in that time, by the one agent.
    pub events: f64,
    /// Shards that are open now, if the agent may list them.
    pub open_shards: Option<f64>,
    /// The part of the records sent that a shard had no room for.
    pub throttled_share: f64,
    /// What was written, as a multiple of what was read, if files grew faster than they were read; the load is that much more than what was delivered.
    pub behind: Option<f64>,
    /// The same, below 1, if a backlog was worked off.
    pub catching_up: Option<f64>,
    /// The busiest five seconds of the last quarter of an hour, as a multiple of the rate that was measured.
    pub busiest: Option<f64>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// Something else answers there.
    #[error("what answers there is no kinetail: its metrics have no {BUILD_INFO}")]
    NoKinetail,
    /// Counters began anew.
    #[error("the agent was started anew while it was measured; ask again")]
    Restarted,
    /// It is not said which.
    #[error("the agent delivers to several streams: {known}; --stream NAME says which one to plan")]
    Streams {
        /// Their names.
        known: String,
    },
    /// None of that name.
    #[error("--stream: the agent delivers nothing to \"{name}\"; its streams are {known}")]
    NoStream {
        /// The one asked for.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// Nothing was ever delivered.
    #[error("the agent has delivered nothing yet, and there is nothing to measure. {said}")]
    Never {
        /// What it says of itself.
        said: String,
    },
    /// Nothing was delivered while it was looked at.
    #[error("the agent delivered nothing to {stream} in these {seconds:.0} s; --seconds gives it longer. {said}")]
    Silent {
        /// The stream.
        stream: String,
        /// How long that was.
        seconds: f64,
        /// What it says of itself.
        said: String,
    },
    /// A counter is missing, as in a version before this one.
    #[error("the agent has no {name}: it is of another version than this kinetail")]
    Missing {
        /// The metric.
        name: &'static str,
    },
}

/// Whether a first page is of an agent, and says which stream is meant if none is named; a stream may have its first event later.
pub fn check(page: &Exposition, stream: Option<&str>) -> Result<(), Error> {
    if page.sum(BUILD_INFO, &[]).is_none() {
        return Err(Error::NoKinetail);
    }
    let known = page.values(DELIVERED, "stream");
    if stream.is_none() && known.len() > 1 {
        return Err(Error::Streams { known: known.into_iter().collect::<Vec<_>>().join(", ") });
    }
    Ok(())
}

impl Readings<'_> {
    /// The load of all agents together, if this one is like the others, and how it was measured.
    pub fn load(&self, stream: Option<&str>) -> Result<(Load, Measured), Error> {
        check(self.before, stream)?;
        check(self.after, stream)?;
        let stream = self.stream(stream)?;
        let events = self.grown(DELIVERED, &stream)?;
        if events <= 0.0 {
            return Err(Error::Silent { stream, seconds: self.seconds, said: self.said() });
        }
        let written = self.written();
        let measured = Measured {
            seconds: self.seconds,
            events,
            open_shards: self.after.sum("kinetail_kinesis_shards", &[("stream", &stream)]),
            throttled_share: self.throttled_share(&stream)?,
            behind: written.filter(|written| *written > 1.0 + NOISE),
            catching_up: written.filter(|written| *written < 1.0 - NOISE),
            busiest: self.busiest(),
            stream,
        };
        Ok((self.rates(&measured)?, measured))
    }

    fn stream(&self, wanted: Option<&str>) -> Result<String, Error> {
        let known = self.after.values(DELIVERED, "stream");
        let names = || known.iter().copied().collect::<Vec<_>>().join(", ");
        match (wanted, known.first()) {
            (_, None) => Err(Error::Never { said: self.said() }),
            (None, Some(only)) => Ok((*only).to_owned()),
            (Some(name), _) if known.contains(name) => Ok(name.to_owned()),
            (Some(name), _) => Err(Error::NoStream { name: name.to_owned(), known: names() }),
        }
    }

    fn rates(&self, measured: &Measured) -> Result<Load, Error> {
        let scale = f64::from(self.agents) * measured.behind.unwrap_or(1.0) / self.seconds;
        let rate = |name| self.grown(name, &measured.stream).map(|grown| grown * scale);
        let alone = Sent {
            records: measured.events * scale,
            bytes: rate("kinetail_kinesis_unaggregated_bytes_total")?,
            payload_units: rate("kinetail_kinesis_unaggregated_payload_units_total")?,
            rounded_bytes: rate("kinetail_kinesis_unaggregated_rounded_bytes_total")?,
        };
        let sent = Sent {
            records: rate("kinetail_kinesis_records_total")?,
            bytes: rate("kinetail_kinesis_bytes_total")?,
            payload_units: rate("kinetail_kinesis_payload_units_total")?,
            rounded_bytes: rate("kinetail_kinesis_rounded_bytes_total")?,
        };
        // What events have by themselves, without the keys that they would need, is not counted.
        Ok(Load { events: alone.records, event_bytes: alone.bytes, sent, alone, keys: self.keys(&measured.stream) })
    }

    /// By how much a counter of a stream grew.
    fn grown(&self, name: &'static str, stream: &str) -> Result<f64, Error> {
        let labels = [("stream", stream)];
        let after = self.after.sum(name, &labels).ok_or(Error::Missing { name })?;
        // A series begins with what is counted first.
        let grown = after - self.before.sum(name, &labels).unwrap_or(0.0);
        if grown < 0.0 { Err(Error::Restarted) } else { Ok(grown) }
    }

    fn throttled_share(&self, stream: &str) -> Result<f64, Error> {
        let throttled = match self.grown("kinetail_kinesis_throttled_records_total", stream) {
            // There is none before the first.
            Err(Error::Missing { .. }) => 0.0,
            grown => grown?,
        };
        Ok(throttled / (throttled + self.grown("kinetail_kinesis_records_total", stream)?).max(1.0))
    }

    /// What was written meanwhile, as a multiple of what was read of it. What a source has is known of files as a whole, not by stream.
    fn written(&self) -> Option<f64> {
        let change = |name| Some(self.after.sum(name, &[])? - self.before.sum(name, &[]).unwrap_or(0.0));
        let read = change("kinetail_source_read_bytes_total").filter(|read| *read > 0.0)?;
        Some((1.0 + change("kinetail_source_backlog_bytes")? / read).max(0.0))
    }

    /// Of all streams together, as the history is.
    fn busiest(&self) -> Option<f64> {
        let points = self.status.pointer("/history/delivered_events_per_second")?.as_array()?;
        let highest = points.iter().filter_map(Value::as_f64).max_by(f64::total_cmp)?;
        let grown = self.after.sum(DELIVERED, &[])? - self.before.sum(DELIVERED, &[]).unwrap_or(0.0);
        Some(highest * self.seconds / grown)
    }

    /// The keys that carry the most, as far as the agent shows them. Agents share the keys that events bring; keys of files are each agent's own.
    fn keys(&self, stream: &str) -> Vec<KeyShare> {
        let hot = self.status.pointer("/streams").and_then(|streams| streams.get(stream)?.get("hot_keys")?.as_array());
        let configuration = self.status.pointer("/configuration").and_then(Value::as_str).unwrap_or_default();
        let is_own = configuration.lines().any(|line| line.trim() == "partition_key: source");
        let agents = if is_own { f64::from(self.agents) } else { 1.0 };
        let key = |hot: &Value| {
            let share = hot.get("share_of_stream")?.as_f64()? / agents;
            Some(KeyShare { key: hot.get("partition_key")?.as_str()?.to_owned(), share })
        };
        hot.into_iter().flatten().filter_map(key).collect()
    }

    /// What the agent says of itself, as a sentence.
    fn said(&self) -> String {
        let text = |name: &str| self.status.pointer(name).and_then(Value::as_str);
        match (text("/delivering/sentence"), text("/delivering/way_out")) {
            (Some(sentence), Some(way_out)) => format!("It says: {sentence}. To do: {way_out}"),
            (Some(sentence), None) => format!("It says: {sentence}"),
            (None, _) => "Its status page says why".to_owned(),
        }
    }
}

impl Measured {
    /// Notes for people, each a sentence.
    pub fn notes(&self, peak: f64) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(written) = self.behind {
            notes.push(format!(
                "the backlog grew: {written:.2} times what was read was written, and the load is taken to be that much more than what was delivered"
            ));
        }
        if let Some(written) = self.catching_up {
            notes.push(format!(
                "the agent was catching up: {:.0} % of what it read was written meanwhile, so that the load is less; measure again without a backlog",
                written * 100.0
            ));
        }
        if self.throttled_share > 0.0 {
            notes.push(format!("{:.1} % of the records found no room in their shard", self.throttled_share * 100.0));
        }
        if let Some(busiest) = self.busiest {
            let more = if busiest > peak { format!("; --peak {busiest:.1} plans for that") } else { String::new() };
            notes.push(format!(
                "the busiest 5 s of the last 15 min had {busiest:.1} times the rate that was measured{more}"
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    /// What an agent with one stream says after so many rounds; a round is 100 events of 300 bytes in one record, and 40,000 bytes written.
    fn page(rounds: u64, read: u64, throttled: u64) -> Exposition {
        let backlog = rounds * 40_000 - read;
        let mut text = format!(
            "kinetail_build_info{{version=\"0\"}} 1\nkinetail_source_read_bytes_total{{source=\"a\"}} {read}\nkinetail_source_backlog_bytes{{source=\"a\"}} {backlog}\nkinetail_kinesis_shards{{stream=\"s\"}} 2\n"
        );
        for (name, each) in [
            ("user_records", 100),
            ("records", 1),
            ("bytes", 31_000),
            ("payload_units", 2),
            ("rounded_bytes", 31_744),
            ("unaggregated_bytes", 31_600),
            ("unaggregated_payload_units", 100),
            ("unaggregated_rounded_bytes", 102_400),
        ] {
            writeln!(text, "kinetail_kinesis_{name}_total{{stream=\"s\"}} {}", rounds * each).unwrap();
        }
        if throttled > 0 {
            let name = "kinetail_kinesis_throttled_records_total";
            writeln!(text, "{name}{{stream=\"s\",shard=\"shardId-000000000001\"}} {throttled}").unwrap();
        }
        Exposition::parse(&text)
    }

    fn readings<'a>(before: &'a Exposition, after: &'a Exposition, status: &'a Value) -> Readings<'a> {
        Readings { before, after, status, seconds: 10.0, agents: 3 }
    }

    #[test]
    fn rates_are_what_counters_grew_by() {
        let (before, after) = (page(50, 2_000_000, 0), page(150, 6_000_000, 25));
        let status = json!({"history": {"delivered_events_per_second": [null, 10.0, 2000.0, 900.0]}});
        let (load, measured) = readings(&before, &after, &status).load(None).unwrap();
        assert_eq!((load.events, load.event_bytes), (3_000.0, 948_000.0));
        assert_eq!(load.sent, Sent { records: 30.0, bytes: 930_000.0, payload_units: 60.0, rounded_bytes: 952_320.0 });
        assert_eq!(
            load.alone,
            Sent { records: 3_000.0, bytes: 948_000.0, payload_units: 3_000.0, rounded_bytes: 3_072_000.0 }
        );
        assert_eq!((measured.events, measured.open_shards, &*measured.stream), (10_000.0, Some(2.0), "s"));
        assert_eq!((measured.behind, measured.catching_up, measured.busiest), (None, None, Some(2.0)));
        assert!((measured.throttled_share - 0.2).abs() < 1e-12);
        assert!(measured.notes(1.5).iter().any(|note| note.contains("--peak 2.0")), "{:?}", measured.notes(1.5));
    }

    /// Of 4 MB that were written, half was read: the load is twice what was delivered.
    #[test]
    fn a_backlog_that_grows_is_load() {
        let status = Value::Null;
        let (before, after) = (page(50, 2_000_000, 0), page(150, 4_000_000, 0));
        let (load, measured) = readings(&before, &after, &status).load(None).unwrap();
        assert_eq!((measured.behind, load.events, load.sent.payload_units), (Some(2.0), 6_000.0, 120.0));
        let (before, after) = (page(100, 1_000_000, 0), page(200, 8_000_000, 0));
        let (load, measured) = readings(&before, &after, &status).load(None).unwrap();
        assert_eq!((measured.behind, load.events), (None, 3_000.0));
        assert!((measured.catching_up.unwrap() - 4.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn hot_keys_are_shared_unless_they_are_of_files() {
        let status = |key: &str| {
            let hot =
                json!([{"partition_key": "a", "share_of_stream": 0.6}, {"partition_key": "b", "share_of_stream": 0.1}]);
            json!({"streams": {"s": {"hot_keys": hot}}, "configuration": format!("kinesis:\n  partition_key: {key}\n")})
        };
        let (before, after) = (page(50, 2_000_000, 0), page(150, 6_000_000, 0));
        let shares = |key| {
            let (load, _) = readings(&before, &after, &status(key)).load(Some("s")).unwrap();
            load.keys.iter().map(|key| key.share).collect::<Vec<_>>()
        };
        assert_eq!(shares("\"{tenant}\""), [0.6, 0.1]);
        assert!((shares("source")[0] - 0.2).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_measured_is_said() {
        let (before, after) = (page(50, 2_000_000, 0), page(150, 6_000_000, 0));
        let status = json!({"delivering": {"sentence": "Nothing has been read yet"}});
        let fails = |before: &Exposition, after: &Exposition, stream| {
            readings(before, after, &status).load(stream).unwrap_err().to_string()
        };
        let empty = Exposition::parse("up 1\n");
        assert!(fails(&empty, &empty, None).contains("no kinetail"));
        assert!(fails(&after, &before, None).contains("started anew"));
        assert!(fails(&after, &after, None).contains("nothing to s in these 10 s"));
        let said = fails(&before, &after, Some("t"));
        assert!(said.contains("nothing to \"t\"; its streams are s"), "{said}");
        let young = Exposition::parse("kinetail_build_info 1\n");
        let said = fails(&young, &young, None);
        assert!(said.contains("delivered nothing yet") && said.contains("Nothing has been read yet"), "{said}");
        let two = Exposition::parse(
            "kinetail_build_info 1\nkinetail_kinesis_user_records_total{stream=\"a\"} 1\nkinetail_kinesis_user_records_total{stream=\"b\"} 1\n",
        );
        assert!(fails(&two, &two, None).contains("several streams: a, b; --stream NAME"));
        let old = Exposition::parse("kinetail_build_info 1\nkinetail_kinesis_user_records_total{stream=\"s\"} 1\n");
        assert!(fails(&young, &old, None).contains("of another version"));
    }
}
