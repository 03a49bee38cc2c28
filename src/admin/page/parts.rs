//! The parts of the status page.

use maud::{Markup, html};

use super::chart::Chart;
use super::whole;
use crate::admin::history::{History, Ring};
use crate::admin::shown::{Dropped, ProblemShown, ShardShown, Shown, SourceShown, StreamShown};
use crate::admin::words;

/// Shards with a row of their own; the others are in a line below.
const SHOWN_SHARDS: usize = 16;
/// What a column of charts is called.
const PERIOD: &str = "last 15 min";

/// The head of a table that becomes a list on a narrow screen. The roles stay what they are then.
fn head(columns: &[(&str, &str)]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" { @for (name, class) in columns { th scope="col" role="columnheader" class=(class) { (name) } } }
        }
    }
}

fn cell(label: &str, class: &str, content: &Markup) -> Markup {
    html! { td role="cell" class=(class) data-label=(label) { (content) } }
}

fn number(label: &str, text: &str) -> Markup {
    cell(label, "n", &html! { (text) })
}

fn per_second(bytes: f64) -> String {
    format!("{}/s", words::bytes(bytes))
}

fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", words::count(count)) }
}

fn plain<'a>(label: impl Into<String>, ring: &'a Ring, tone: &'static str) -> Chart<'a> {
    Chart { label: label.into(), ring: Some(ring), limit: None, top: None, tone }
}

fn highest(ring: &Ring, show: impl Fn(f64) -> String) -> String {
    ring.highest().map_or_else(|| "nothing yet".to_owned(), |value| format!("highest {}", show(value)))
}

fn tile(name: &str, value: &str, below: &str, chart: &Chart<'_>) -> Markup {
    html! { div class="tile" { h2 { (name) } b { (value) } p { (below) } (chart.draw()) } }
}

/// The agent as a whole, in six numbers.
pub(super) fn tiles(shown: &Shown, history: &History) -> Markup {
    let now = &history.whole;
    let rate = |ring: &Ring| ring.recent().unwrap_or(0.0);
    let read = per_second(rate(&now.read.ring));
    let lines = format!("{} events/s", words::number(shown.events_per_second.read));
    let stored: f64 = shown.streams.values().map(|stream| stream.bytes_per_second).sum();
    let delivered = format!("{} events/s", words::number(shown.events_per_second.delivered));
    let (backlog, behind): (u64, f64) = shown
        .sources
        .iter()
        .fold((0, 0.0), |(bytes, behind), s| (bytes + s.backlog_bytes, f64::max(behind, s.backlog_seconds)));
    let throttled = rate(&now.throttled);
    let latency = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), words::seconds);
    let capacity = whole(u64::try_from(shown.buffer.capacity_bytes).unwrap_or(u64::MAX));
    let used = whole(u64::try_from(shown.buffer.bytes).unwrap_or(u64::MAX));
    let waits = if shown.buffer.waiting_share > 0.0 {
        format!("full for {} of the time", words::share(shown.buffer.waiting_share))
    } else {
        format!("of {}", words::bytes(capacity))
    };
    let top = Some(capacity);
    html! {
        div class="tiles" {
            (tile("Read", &read, &lines, &plain(format!("Read: {}", highest(&now.read.ring, per_second)), &now.read.ring, "")))
            (tile("Delivered", &delivered, &per_second(stored),
                &plain(format!("Events delivered a second: {}", highest(&now.delivered.ring, words::number)), &now.delivered.ring, "good")))
            (tile("Not read yet", &words::bytes(whole(backlog)), &format!("oldest {}", words::seconds(behind)),
                &plain(format!("Backlog: {}", highest(&now.backlog, words::bytes)), &now.backlog, "warn")))
            (tile("No room in shards", &words::share(throttled), &format!("{} records so far", words::count(shown.kinesis.throttled_records)),
                &plain(format!("Throttled: {}", highest(&now.throttled, words::share)), &now.throttled, "warn")))
            (tile("Read to stored", &latency(shown.latency_seconds.median), &format!("99 %: {}", latency(shown.latency_seconds.p99)),
                &plain(format!("99th percentile: {}", highest(&now.p99, words::seconds)), &now.p99, "")))
            (tile("Memory of log data", &words::bytes(used), &waits,
                &Chart { top, ..plain(format!("Memory: {}", highest(&now.buffer, words::bytes)), &now.buffer, "") }))
        }
    }
}

/// A row for each source.
pub(super) fn sources(shown: &Shown, history: &History) -> Markup {
    html! {
        section aria-labelledby="sources" {
            h2 id="sources" { "Sources" }
            table class="wide" role="table" {
                (head(&[("Source", ""), ("Read", "n"), (PERIOD, "c"), ("Not read yet", "n"), (PERIOD, "c"), ("Behind", "n"), ("Files", "n")]))
                tbody role="rowgroup" { @for source in &shown.sources { (source_row(source, history)) } }
            }
        }
    }
}

fn source_row(source: &SourceShown, history: &History) -> Markup {
    let rings = history.sources.get(&source.name);
    let read = format!("Read rate of {}", source.name);
    let backlog = format!("Backlog of {}", source.name);
    let pace = pace(source);
    let rate = html! { (per_second(source.read_bytes_per_second)) br; small { (words::number(source.read_lines_per_second)) " lines/s" } };
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (source.name) small { (source.kind) " " (source.reads) } }
            (cell("Read", "n", &rate))
            td role="cell" class="c" { (Chart { label: read, ring: rings.map(|r| &r.read.ring), limit: None, top: None, tone: "" }.draw()) }
            (number("Not read yet", &words::bytes(whole(source.backlog_bytes))))
            td role="cell" class="c" { (Chart { label: backlog, ring: rings.map(|r| &r.backlog), limit: None, top: None, tone: "warn" }.draw()) }
            (cell("Behind", "n", &html! { (words::seconds(source.backlog_seconds)) @if !pace.is_empty() { br; small { (pace) } } }))
            (cell("Files", "n", &files(source)))
        }
    }
}

/// The files of a source, and what of its spool is in use.
fn files(source: &SourceShown) -> Markup {
    let count = |state: &str| source.files.get(state).copied().unwrap_or(0);
    let live = count("live");
    let some = |state: &str, word: &str| (count(state) > 0).then(|| format!("{} {word}", count(state)));
    let rest = [some("draining", "rotated"), some("quiet", "quiet"), some("ignored", "ignored")];
    html! {
        (live)
        @for text in rest.into_iter().flatten() { small { " · " (text) } }
        @if count("unreadable") > 0 { " " span class="t-bad" { (count("unreadable")) " unreadable" } }
        @if let Some(spool) = &source.spool {
            br; small { "spool " (words::bytes(whole(spool.bytes))) " of " (words::bytes(whole(spool.capacity_bytes))) }
        }
    }
}

fn pace(source: &SourceShown) -> String {
    match source.backlog_growth_bytes_per_second {
        _ if source.backlog_bytes == 0 => String::new(),
        Some(growth) if growth < -1.0 => format!("done in {}", words::seconds(whole(source.backlog_bytes) / -growth)),
        Some(growth) if growth > 1.0 => format!("grows by {}", per_second(growth)),
        _ => "steady".to_owned(),
    }
}

/// Each stream with its shards.
pub(super) fn streams(shown: &Shown, history: &History) -> Markup {
    html! {
        section aria-labelledby="streams" {
            h2 id="streams" { "Streams" }
            @if shown.streams.is_empty() { p class="none" { "Nothing was sent yet." } }
            @for (name, stream) in &shown.streams { (stream_part(name, stream, history)) }
            @if shown.shards_left_out > 0 {
                p class="none" { (shown.shards_left_out) " less busy shards are not shown; /metrics has all of them." }
            }
        }
    }
}

fn stream_part(name: &str, stream: &StreamShown, history: &History) -> Markup {
    let shards = stream
        .open_shards
        .map_or_else(|| "shards as answers name them".to_owned(), |n| counted(n, "open shard", "open shards"));
    html! {
        h3 { (name) small { (shards) } }
        dl {
            div { dt { "Stored" } dd { (words::number(stream.events_per_second)) " events/s · " (per_second(stream.bytes_per_second)) } }
            div { dt { "Packed" } dd { (words::number(stream.records_per_second)) " records/s in " (words::number(stream.requests_per_second)) " requests/s" } }
            div { dt { "In flight" } dd { (counted(stream.requests_in_flight as u64, "request", "requests")) } }
            div { dt { "Oldest unsent" } dd { (words::seconds(stream.oldest_unsent_seconds)) } }
            div { dt { "Refused" } dd { (words::share(stream.refused_share)) } }
            @if let Some(blocked) = &stream.blocked { div { dt { "Blocked" } dd class="t-bad" { (blocked.code) } } }
        }
        @if !stream.errors.is_empty() {
            dl {
                div { dt { "Refusals so far" } dd {
                    @for (index, (code, count)) in stream.errors.iter().enumerate() {
                        @if index > 0 { " · " } code { (code) } " " (words::count(*count))
                    }
                } }
            }
        }
        @if !stream.shards.is_empty() { (shard_table(name, stream, history)) }
    }
}

fn shard_table(name: &str, stream: &StreamShown, history: &History) -> Markup {
    let rest = stream.shards.len().saturating_sub(SHOWN_SHARDS);
    html! {
        table class="wide" role="table" {
            (head(&[("Shard", ""), ("Stored", "n"), (PERIOD, "c"), ("No room for", "n"), (PERIOD, "c"), ("Learnt limit", "n"), ("Records", "n"), ("Refused", "n")]))
            tbody role="rowgroup" { @for shard in stream.shards.iter().take(SHOWN_SHARDS) { (shard_row(name, shard, history)) } }
        }
        @if rest > 0 { p class="none" { (rest) " more shards are on /status." } }
    }
}

fn shard_row(stream: &str, shard: &ShardShown, history: &History) -> Markup {
    let rings = history.shards.get(&(stream.to_owned(), shard.id.clone()));
    let stored = Chart {
        label: format!("Stored rate of {}, and its learnt limit", shard.id),
        ring: rings.map(|rings| &rings.bytes.ring),
        limit: rings.map(|rings| &rings.limit),
        top: None,
        tone: "",
    };
    let throttled = Chart {
        label: format!("Throttled part of {}", shard.id),
        ring: rings.map(|rings| &rings.throttled),
        limit: None,
        top: None,
        tone: "warn",
    };
    let tone = if shard.throttled_share > 0.05 { "n t-warn" } else { "n" };
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { code { (shard.id) } }
            (number("Stored", &per_second(shard.bytes_per_second)))
            td role="cell" class="c" { (stored.draw()) }
            (cell("No room for", tone, &html! { (words::share(shard.throttled_share)) }))
            td role="cell" class="c" { (throttled.draw()) }
            (number("Learnt limit", &shard.limit_bytes_per_second.map_or_else(|| "–".to_owned(), per_second)))
            (number("Records", &words::count(shard.records)))
            (number("Refused", &words::count(shard.throttled_records)))
        }
    }
}

/// Where every event is.
pub(super) fn ledger(shown: &Shown) -> Markup {
    let all = &shown.ledger;
    let row = |key: &str, name: &str, events: u64| {
        let part = if all.events == 0 { 0.0 } else { whole(events) / whole(all.events) };
        html! {
            tr {
                th scope="row" { svg class="key" viewBox="0 0 1 1" aria-hidden="true" { rect class=(key) width="1" height="1" {} } (name) }
                td class="n" { (words::count(events)) }
                td class="n soft" { (words::share(part)) }
            }
        }
    };
    html! {
        section aria-labelledby="ledger" {
            h2 id="ledger" { "Ledger" small { "read = delivered + dropped + in flight, since the start" } }
            (bar(shown))
            table {
                thead { tr { th scope="col" { "Events" } th scope="col" class="n" { (words::count(all.events)) } th scope="col" class="n" { "of what was read" } } }
                tbody {
                    (row("delivered", "delivered", all.delivered))
                    @for Dropped { stage, reason, events } in &shown.dropped { (row("dropped", &format!("dropped: {stage}, {reason}"), *events)) }
                    @if shown.dropped.is_empty() { (row("dropped", "dropped", 0)) }
                    (row("flight", "in flight", all.in_flight))
                }
            }
            @if !shown.abandoned_bytes.is_empty() {
                dl { @for (reason, bytes) in &shown.abandoned_bytes {
                    div { dt { "Given up: " (reason) } dd { (words::bytes(whole(*bytes))) } }
                } }
            }
        }
    }
}

/// The ledger as a bar; what is not nothing is seen.
fn bar(shown: &Shown) -> Markup {
    let all = &shown.ledger;
    let least = |events: u64| {
        if events == 0 || all.events == 0 { 0.0 } else { (1000.0 * whole(events) / whole(all.events)).max(3.0) }
    };
    let (dropped, flight) = (least(all.dropped), least(all.in_flight));
    let delivered = if all.events == 0 { 0.0 } else { (1000.0 - dropped - flight).max(0.0) };
    html! {
        svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect class="none" width="1000" height="10" {}
            rect class="delivered" width=(delivered) height="10" {}
            rect class="dropped" x=(delivered) width=(dropped) height="10" {}
            rect class="flight" x=(delivered + dropped) width=(flight) height="10" {}
        }
    }
}

/// The partition keys that carry the most.
pub(super) fn hot_keys(shown: &Shown) -> Markup {
    let keys: Vec<_> =
        shown.streams.iter().flat_map(|(name, stream)| stream.hot_keys.iter().map(move |key| (name, key))).collect();
    html! {
        section aria-labelledby="keys" {
            h2 id="keys" { "Hot keys" small { "partition keys that carry the most" } }
            @if keys.is_empty() {
                p class="none" { "None: keys are random, or nothing was sent of late." }
            } @else {
                table {
                    thead { tr { th scope="col" { "Key" } th scope="col" { "Stream" } th scope="col" class="n" { "Rate" } th scope="col" class="n" { "Of the stream" } } }
                    tbody { @for (stream, key) in keys {
                        tr {
                            th scope="row" { code { (key.partition_key) } }
                            td { (stream) }
                            td class="n" { (per_second(key.bytes_per_second)) }
                            td class="n" { (words::share(key.share_of_stream)) }
                        }
                    } }
                }
            }
        }
    }
}

/// What the log warned of.
pub(super) fn problems(shown: &Shown) -> Markup {
    html! {
        section aria-labelledby="problems" {
            h2 id="problems" { "Last problems" small { "warnings and errors of the log, the last one first" } }
            @if shown.problems.is_empty() { p class="none" { "None since the start." } } @else {
                table class="wide" role="table" {
                    (head(&[("Last", ""), ("Times", "n"), ("What, and what to do", "")]))
                    tbody role="rowgroup" { @for problem in &shown.problems { (problem_row(problem)) } }
                }
            }
        }
    }
}

fn problem_row(problem: &ProblemShown) -> Markup {
    let tone = if problem.level == "error" { "bad" } else { "warn" };
    html! {
        tr role="row" {
            (cell("Last", "when", &html! { span title={ "first " (problem.first) } { (problem.last) } }))
            (number("Times", &words::count(problem.count)))
            td role="cell" class="full" {
                span class={ "tag " (tone) } { (problem.level) } (problem.message)
                @if let Some(way_out) = problem.way_out { ". To do: " (way_out) }
                @if !problem.details.is_empty() { br; code class="soft" { (problem.details) } }
            }
        }
    }
}

/// What it runs with.
pub(super) fn configuration(shown: &Shown) -> Markup {
    let checkpoint = &shown.checkpoint;
    let age = if checkpoint.behind_seconds > 0.0 {
        format!("could not be written for {}", words::seconds(checkpoint.behind_seconds))
    } else {
        "up to date".to_owned()
    };
    html! {
        section aria-labelledby="configuration" {
            h2 id="configuration" { "Configuration" }
            dl {
                div { dt { "Checkpoint" } dd { (age) } }
                div { dt { "state_dir" } dd { code { (checkpoint.state_dir) } } }
                div { dt { "memory_limit" } dd { (words::bytes(whole(u64::try_from(shown.buffer.capacity_bytes).unwrap_or(u64::MAX)))) } }
                div { dt { "Version" } dd { (shown.version) } }
                div { dt { "Sent again" } dd { (counted(shown.kinesis.retries, "record", "records")) } }
                div { dt { "Payload units" } dd { (words::count(shown.kinesis.payload_units)) } }
            }
            details {
                summary { "In effect since " (shown.configuration_loaded) ", with secrets masked; hash " (shown.configuration_hash) }
                pre { (shown.configuration) }
            }
        }
    }
}
