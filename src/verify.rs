//! Proves from the `_id`s of events that nothing is missing between the first one of each file and the last, and counts what came twice or out of
//! order. Pure; memory grows with the files and their holes, not with events.

pub mod id;
pub mod intervals;
pub mod report;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::consume::unpack::Event;
use crate::consume::{Origin, Sink};
use id::{Id, Said};
use intervals::Intervals;
use report::{Gap, Outcome, Report, Source};

/// What is known of a file.
#[derive(Debug, Default)]
struct File {
    path: Option<String>,
    events: u64,
    duplicates: u64,
    out_of_order: u64,
    covered: Intervals,
    /// The end of its latest event in each shard.
    latest: BTreeMap<u32, u64>,
}

/// The check of some events.
#[derive(Debug, Default)]
pub struct Check {
    files: BTreeMap<String, File>,
    shards: BTreeMap<String, u32>,
    /// Events came without their shards.
    shardless: bool,
    events: u64,
    without_id: u64,
    foreign_ids: u64,
}

/// A line of `kinetail consume --meta`.
#[derive(Deserialize)]
struct Meta<'a> {
    shard: String,
    #[serde(borrow, rename = "sequence_number")]
    _sequence_number: &'a RawValue,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

impl Check {
    /// Takes an event that was read from this shard, if that is known.
    pub fn event(&mut self, data: &[u8], shard: Option<&str>) {
        self.events += 1;
        let said = Said::of(data);
        let Some(id) = said.id else {
            self.without_id += 1;
            return;
        };
        let Some(id) = Id::parse(&id) else {
            self.foreign_ids += 1;
            return;
        };
        let shard = self.number(shard);
        if !self.files.contains_key(id.tag) {
            self.files.insert(id.tag.to_owned(), File::default());
        }
        let Some(file) = self.files.get_mut(id.tag) else { return };
        if file.path.is_none() {
            file.path = said.path.map(std::borrow::Cow::into_owned);
        }
        file.take(&id, shard);
    }

    /// Takes a line of NDJSON: an event, or one with where it was around it.
    pub fn line(&mut self, line: &[u8]) {
        match serde_json::from_slice::<Meta<'_>>(line) {
            Ok(meta) => self.event(meta.event.map_or(b"", |event| event.get().as_bytes()), Some(&meta.shard)),
            Err(_) => self.event(line, None),
        }
    }

    fn number(&mut self, shard: Option<&str>) -> Option<u32> {
        let Some(shard) = shard else {
            self.shardless = true;
            return None;
        };
        if let Some(&number) = self.shards.get(shard) {
            return Some(number);
        }
        let number = u32::try_from(self.shards.len()).ok()?;
        self.shards.insert(shard.to_owned(), number);
        Some(number)
    }

    /// What was found. What `notes` say is said with it.
    pub fn report(self, mut notes: Vec<String>) -> Report {
        let Self { files, shardless, events, without_id, foreign_ids, .. } = self;
        let mut sources: Vec<Source> = files.into_iter().map(|(tag, file)| file.source(tag, !shardless)).collect();
        let total = |of: fn(&Source) -> u64| sources.iter().map(of).sum::<u64>();
        let gaps = total(|source| source.gaps.len() as u64);
        let gap_bytes = total(|source| source.gaps.iter().map(|gap| gap.end - gap.start).sum());
        let duplicates = total(|source| source.duplicates);
        let out_of_order = (!shardless).then(|| total(|source| source.out_of_order.unwrap_or_default()));
        let late = sources.iter().filter(|source| source.from > 0).count();
        if late > 0 {
            notes.push(format!(
                "{late} files were not read from their first byte (\"from\"): nothing is known of what was before"
            ));
        }
        if without_id > 0 && !sources.is_empty() {
            notes.push(format!(
                "{without_id} events have no _id, and are not checked; set add: {{id: true}} on all sources"
            ));
        }
        if foreign_ids > 0 {
            notes.push(format!("{foreign_ids} events have an _id that is none of kinetail's, and are not checked"));
        }
        if shardless && !sources.is_empty() {
            notes.push(
                "the order is not known without the shards: give the lines of kinetail consume --meta".to_owned(),
            );
        }
        if out_of_order.is_some_and(|count| count > 0) {
            notes.push("kinesis.partition_key: random promises no order; with source, or a key of the events, each file's or key's is kept".to_owned());
        }
        // Stable: by tag among those that are alike.
        sources.sort_by_key(|source| std::cmp::Reverse((source.gaps.len(), source.out_of_order, source.duplicates)));
        let outcome = match (events, sources.is_empty(), gaps) {
            (0, ..) => Outcome::Nothing,
            (_, true, _) => Outcome::NoIds,
            (_, _, 0) => Outcome::Complete,
            _ => Outcome::Gaps,
        };
        Report { outcome, events, without_id, foreign_ids, duplicates, out_of_order, gaps, gap_bytes, sources, notes }
    }
}

impl File {
    fn take(&mut self, id: &Id<'_>, shard: Option<u32>) {
        self.events += 1;
        let end = id.end();
        // Its last byte is the event's own: what no event was made of lies before the bytes of the next one.
        let is_duplicate = self.covered.has(end - 1);
        for &(start, end) in &id.ranges {
            self.covered.add(start, end);
        }
        if is_duplicate {
            self.duplicates += 1;
        }
        let Some(shard) = shard else { return };
        let latest = self.latest.entry(shard).or_default();
        if !is_duplicate && end < *latest {
            self.out_of_order += 1;
        }
        *latest = end.max(*latest);
    }

    fn source(self, tag: String, ordered: bool) -> Source {
        let (from, to) = self.covered.bounds().unwrap_or_default();
        Source {
            tag,
            path: self.path,
            events: self.events,
            duplicates: self.duplicates,
            out_of_order: ordered.then_some(self.out_of_order),
            from,
            to,
            gaps: self.covered.gaps().map(|(start, end)| Gap { start, end }).collect(),
        }
    }
}

impl Sink for Check {
    fn take(&mut self, origin: &Origin<'_>, event: &Event<'_>) {
        self.event(event.data, Some(origin.shard));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(events: &[(&str, &str)]) -> Report {
        let mut check = Check::default();
        for (shard, id) in events {
            check.event(format!("{{\"_id\":\"{id}\"}}").as_bytes(), Some(shard));
        }
        check.report(Vec::new())
    }

    fn counts(report: &Report) -> (Outcome, u64, u64, Option<u64>) {
        (report.outcome, report.gap_bytes, report.duplicates, report.out_of_order)
    }

    #[test]
    fn events_that_follow_one_another_are_complete() {
        let report = checked(&[("0", "t-0-10"), ("1", "t-10-25"), ("0", "t-25-30"), ("0", "u-100-200")]);
        assert_eq!(counts(&report), (Outcome::Complete, 0, 0, Some(0)));
        assert_eq!(report.notes.len(), 1, "u was not read from its first byte");
        assert_eq!((report.sources[1].from, report.sources[1].to), (100, 200));
    }

    #[test]
    fn what_is_missing_is_a_gap_until_it_comes() {
        let report = checked(&[("0", "t-0-10"), ("0", "t-20-30")]);
        assert_eq!(counts(&report), (Outcome::Gaps, 10, 0, Some(0)));
        assert_eq!(report.sources[0].gaps, [Gap { start: 10, end: 20 }]);
        let report = checked(&[("0", "t-0-10"), ("0", "t-20-30"), ("0", "t-10-20")]);
        assert_eq!(counts(&report), (Outcome::Complete, 0, 0, Some(1)));
        let report = checked(&[("0", "t-0-10"), ("0", "t-20-30"), ("1", "t-10-20")]);
        assert_eq!(counts(&report), (Outcome::Complete, 0, 0, Some(0)), "shards have no order among themselves");
    }

    #[test]
    fn duplicates_are_told_whatever_their_beginning() {
        let report = checked(&[("0", "t-0-10"), ("0", "t-10-20"), ("0", "t-0-10"), ("0", "t-10-20"), ("0", "t-20-21")]);
        assert_eq!(counts(&report), (Outcome::Complete, 0, 2, Some(0)), "what comes again is not out of order");
        // After a restart reading begins behind blank lines that had been settled by themselves.
        let report = checked(&[("0", "t-0-10"), ("0", "t-10-20"), ("0", "t-13-20"), ("0", "t-20-30")]);
        assert_eq!(counts(&report), (Outcome::Complete, 0, 1, Some(0)));
    }

    #[test]
    fn events_of_several_ranges_account_for_all_of_them() {
        let report = checked(&[("0", "t-0-5"), ("0", "t-9-14"), ("0", "t-5-9+14-20"), ("0", "t-20-21")]);
        assert_eq!(counts(&report), (Outcome::Complete, 0, 0, Some(0)));
        assert_eq!(checked(&[("0", "t-0-5"), ("0", "t-5-9+14-20")]).gap_bytes, 5);
    }

    #[test]
    fn without_ids_nothing_is_proven() {
        let mut check = Check::default();
        check.line(b"{\"message\":\"x\"}");
        check.line(b"plain");
        let report = check.report(Vec::new());
        assert_eq!(report.outcome, Outcome::NoIds);
        assert!(report.to_string().contains("add: {id: true}"));
        assert_eq!(Check::default().report(Vec::new()).outcome, Outcome::Nothing);
        assert_eq!(checked(&[("0", "nonsense")]).foreign_ids, 1);
    }

    #[test]
    fn lines_are_events_or_have_them_inside() {
        let mut check = Check::default();
        let meta = |shard: &str, id: &str| {
            format!("{{\"shard\":\"{shard}\",\"sequence_number\":\"1\",\"event\":{{\"_id\":\"{id}\"}}}}").into_bytes()
        };
        check.line(&meta("a", "t-0-1"));
        check.line(&meta("a", "t-2-3"));
        check.line(&meta("a", "t-1-2"));
        assert_eq!(counts(&check.report(Vec::new())), (Outcome::Complete, 0, 0, Some(1)));
        let mut check = Check::default();
        check.line(b"{\"_id\":\"t-0-1\",\"path\":\"/x\"}");
        check.line(b"{\"_id\":\"t-5-6\",\"shard\":\"of the service's own\"}");
        let report = check.report(Vec::new());
        assert_eq!(counts(&report), (Outcome::Gaps, 4, 0, None));
        let text = report.to_string();
        for words in ["t /x", "bytes 1 to 5 (4 bytes)", "--meta", "GAPS: 4 bytes"] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
    }
}
