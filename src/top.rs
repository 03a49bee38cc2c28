//! The status page for a terminal: what `/status` says, drawn on a screen of any size. It asks nobody and reads no keys; `cli/top.rs` does.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table, Widget as _, Wrap};
use serde_json::Value;

use crate::admin::history::RECENT;
use crate::admin::words;

/// The height of a number with its chart, and an empty row after it.
const TILE_ROWS: u16 = 6;
/// The least width of one.
const TILE_COLUMNS: u16 = 18;
/// Below this, lines of text come before charts.
const SMALL_ROWS: u16 = 24;
/// A chart's unit: sparklines take whole numbers.
const STEPS: f64 = 1000.0;

/// What is drawn: an answer of `/status?history`, or why there is none.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    status: Value,
    trouble: Option<String>,
}

impl Screen {
    /// Takes a new answer.
    pub fn update(&mut self, body: &[u8]) {
        match serde_json::from_slice(body) {
            Ok(status) => *self = Self { status, trouble: None },
            Err(error) => self.fail(format!("what answers is no kinetail: {error}")),
        }
    }

    /// Goes on showing the last answer, and says why there is no new one.
    pub fn fail(&mut self, why: String) {
        self.trouble = Some(why);
    }

    fn text(&self, pointer: &str) -> &str {
        text(&self.status, pointer)
    }

    fn number(&self, pointer: &str) -> f64 {
        number(&self.status, pointer)
    }

    fn list(&self, pointer: &str) -> &[Value] {
        self.status.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Draws it.
    pub fn draw(&self, area: Rect, out: &mut Buffer) {
        let is_small = area.height < SMALL_ROWS;
        let sources = rows(self.list("/sources").len());
        let shards: usize = self.streams().map(|(_, stream)| list(stream, "/shards").len()).sum();
        let parts = [
            Constraint::Length(1),
            Constraint::Length(self.verdict_rows(area.width)),
            Constraint::Length(if is_small { 0 } else { TILE_ROWS }),
            Constraint::Length(if is_small { sources.min(4) } else { sources.min(area.height / 4) }),
            Constraint::Max(rows(shards)),
            Constraint::Length(2),
            Constraint::Fill(1),
            Constraint::Length(1),
        ];
        let [head, verdict, tiles, sources, shards, ledger, problems, foot] = Layout::vertical(parts).areas(area);
        self.head(head, out);
        self.verdict(verdict, out);
        self.tiles(tiles, out);
        self.sources(sources, out);
        self.shards(shards, out);
        self.ledger(ledger, out);
        self.problems(problems, out);
        self.foot(foot, out);
    }

    fn head(&self, area: Rect, out: &mut Buffer) {
        let rest = format!(
            "  {} → {} · {} · up {} · {}",
            self.text("/host"),
            self.text("/stream"),
            self.text("/version"),
            words::seconds(self.number("/uptime_seconds")),
            self.text("/time")
        );
        Line::from(vec![bold("kinetail"), soft(rest)]).render(area, out);
    }

    fn verdict_lines(&self) -> Vec<Line<'_>> {
        if let Some(trouble) = &self.trouble {
            let word = Span::styled(" no answer ", Style::new().fg(Color::Black).bg(Color::Red));
            let shown = if self.status.is_null() { "" } else { " Below is what it said last." };
            return vec![Line::from(vec![word, bold(format!(" {trouble}.{shown}"))])];
        }
        let main = self.status.pointer("/delivering").unwrap_or(&Value::Null);
        let mut lines = vec![Line::from(vec![tag(main), bold(format!(" {}.", text(main, "/sentence")))])];
        if let Some(way_out) = main.pointer("/way_out").and_then(Value::as_str) {
            lines.push(Line::from(format!("To do: {way_out}.")));
        }
        for note in list(main, "/also") {
            let mut spans = vec![tag(note), Span::raw(format!(" {}.", text(note, "/sentence")))];
            if let Some(way_out) = note.pointer("/way_out").and_then(Value::as_str) {
                spans.push(soft(format!(" To do: {way_out}.")));
            }
            lines.push(Line::from(spans));
        }
        lines
    }

    fn verdict_rows(&self, width: u16) -> u16 {
        let width = usize::from(width.max(1));
        // Words that do not fit move to the next row, so that a row is not full: a tenth more.
        let lines: usize =
            self.verdict_lines().iter().map(|line| (line.width() * 11 / 10).div_ceil(width).max(1)).sum();
        u16::try_from(lines).unwrap_or(u16::MAX).min(8)
    }

    fn verdict(&self, area: Rect, out: &mut Buffer) {
        Paragraph::new(self.verdict_lines()).wrap(Wrap { trim: false }).render(area, out);
    }

    fn tiles(&self, area: Rect, out: &mut Buffer) {
        if area.height == 0 {
            return;
        }
        let seconds = |pointer: &str| match self.status.pointer(pointer).and_then(Value::as_f64) {
            Some(value) => words::seconds(value),
            None => "–".to_owned(),
        };
        let sum = |field: &str| self.list("/sources").iter().map(|source| number(source, field)).sum::<f64>();
        let last = |name: &str| average(points(&self.status, name).iter().rev().take(RECENT).copied());
        let per_second = |bytes: f64| format!("{}/s", words::bytes(bytes));
        let tiles = [
            ("Read", per_second(sum("/read_bytes_per_second")), "read_bytes_per_second", Color::Blue),
            (
                "Delivered",
                format!("{} events/s", words::number(self.number("/events_per_second/delivered"))),
                "delivered_events_per_second",
                Color::Green,
            ),
            ("Not read yet", words::bytes(sum("/backlog_bytes")), "backlog_bytes", Color::Yellow),
            ("No room in shards", words::share(last("throttled_share")), "throttled_share", Color::Yellow),
            (
                "Read to stored",
                format!("{}, 99 % {}", seconds("/latency_seconds/median"), seconds("/latency_seconds/p99")),
                "latency_p99_seconds",
                Color::Blue,
            ),
        ];
        let fit = usize::from(area.width / TILE_COLUMNS).clamp(1, tiles.len());
        let columns = Layout::horizontal(vec![Constraint::Fill(1); fit]).spacing(2).split(area);
        for ((name, value, history, colour), area) in tiles.into_iter().zip(columns.iter()) {
            let [label, number, chart, _] = Layout::vertical([
                Constraint::Length(1),
                Constraint::Length(1),
                Constraint::Fill(1),
                Constraint::Length(1),
            ])
            .areas(*area);
            Line::from(soft(name)).render(label, out);
            Line::from(bold(value)).render(number, out);
            let bars = bars(&points(&self.status, history), usize::from(chart.width));
            Sparkline::default().data(&bars).max(STEPS_WHOLE).style(Style::new().fg(colour)).render(chart, out);
        }
    }

    fn sources(&self, area: Rect, out: &mut Buffer) {
        let rows = self.list("/sources").iter().map(|source| {
            let files = source.pointer("/files/live").and_then(Value::as_i64).unwrap_or(0);
            let growth = number(source, "/backlog_growth_bytes_per_second");
            let pace = match growth {
                _ if number(source, "/backlog_bytes") <= 0.0 => String::new(),
                growth if growth < -1.0 => {
                    format!("done in {}", words::seconds(number(source, "/backlog_bytes") / -growth))
                }
                growth if growth > 1.0 => format!("grows by {}/s", words::bytes(growth)),
                _ => "steady".to_owned(),
            };
            let cells = [
                text(source, "/name").to_owned(),
                format!("{}/s", words::bytes(number(source, "/read_bytes_per_second"))),
                words::bytes(number(source, "/backlog_bytes")),
                words::seconds(number(source, "/backlog_seconds")),
                pace,
                files.to_string(),
            ];
            Row::new(cells)
        });
        let widths = [20, 12, 12, 10, 20, 6];
        table(rows, &widths, &["Source", "Read", "Not read yet", "Behind", "", "Files"]).render(area, out);
    }

    fn streams(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.status.pointer("/streams").and_then(Value::as_object).into_iter().flatten()
    }

    fn shards(&self, area: Rect, out: &mut Buffer) {
        let all =
            self.streams().flat_map(|(name, stream)| list(stream, "/shards").iter().map(move |shard| (name, shard)));
        let rows = all.map(|(stream, shard)| {
            let throttled = number(shard, "/throttled_share");
            let tone = if throttled > 0.05 { Style::new().fg(Color::Yellow) } else { Style::new() };
            let limit = shard.pointer("/limit_bytes_per_second").and_then(Value::as_f64);
            Row::new([
                Cell::from(format!("{stream} {}", text(shard, "/id"))),
                Cell::from(format!("{}/s", words::bytes(number(shard, "/bytes_per_second")))),
                Cell::from(limit.map_or_else(|| "–".to_owned(), |limit| format!("{}/s", words::bytes(limit)))),
                Cell::from(words::share(throttled)).style(tone),
                Cell::from(number(shard, "/records").to_string()),
            ])
        });
        table(rows, &[32, 12, 12, 12, 12], &["Shard", "Stored", "Limit", "No room for", "Records"]).render(area, out);
    }

    fn ledger(&self, area: Rect, out: &mut Buffer) {
        let count = |pointer: &str| words::count(self.status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0));
        let line = Line::from(vec![
            bold("Ledger "),
            Span::raw(format!("{} read = {} delivered + ", count("/ledger/events"), count("/ledger/delivered"))),
            Span::raw(format!("{} dropped + {} in flight", count("/ledger/dropped"), count("/ledger/in_flight"))),
        ]);
        let dropped = self.list("/dropped").iter();
        let why: Vec<String> =
            dropped.map(|d| format!("{} {} {}", text(d, "/stage"), text(d, "/reason"), number(d, "/events"))).collect();
        let below = if why.is_empty() { String::new() } else { format!("dropped: {}", why.join(" · ")) };
        Paragraph::new(vec![line, Line::from(soft(below))]).render(area, out);
    }

    fn problems(&self, area: Rect, out: &mut Buffer) {
        let lines = self.list("/problems").iter().map(|problem| {
            let tone = if text(problem, "/level") == "error" { Color::Red } else { Color::Yellow };
            let times = format!(" {}× ", number(problem, "/count"));
            Line::from(vec![
                soft(text(problem, "/last").to_owned()),
                Span::styled(times, Style::new().fg(tone)),
                Span::raw(text(problem, "/message").to_owned()),
                soft(format!(" {}", text(problem, "/details"))),
            ])
        });
        Paragraph::new(lines.collect::<Vec<_>>()).render(area, out);
    }

    fn foot(&self, area: Rect, out: &mut Buffer) {
        let memory = format!(
            "memory {} of {} · checkpoint {} · q ends",
            words::bytes(self.number("/buffer/bytes")),
            words::bytes(self.number("/buffer/capacity_bytes")),
            match self.number("/checkpoint/behind_seconds") {
                behind if behind > 0.0 => format!("not written for {}", words::seconds(behind)),
                _ => "up to date".to_owned(),
            }
        );
        Line::from(soft(memory)).render(area, out);
    }

    /// The same as lines of text without colours.
    pub fn lines(&self, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut out = Buffer::empty(area);
        self.draw(area, &mut out);
        let row =
            |y: u16| (0..width).filter_map(|x| out.cell((x, y))).map(ratatui::buffer::Cell::symbol).collect::<String>();
        let lines: Vec<String> = (0..height).map(|y| row(y).trim_end().to_owned()).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

/// [`STEPS`] as a sparkline takes it.
const STEPS_WHOLE: u64 = 1000;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn points(status: &Value, name: &str) -> Vec<Option<f64>> {
    list(status, &format!("/history/{name}")).iter().map(Value::as_f64).collect()
}

/// The last points as bars up to the highest of them, the newest at the right; each is the highest of those that share its column.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from nothing to a thousand")]
fn bars(points: &[Option<f64>], width: usize) -> Vec<u64> {
    let shared = points.len().div_ceil(width.max(1)).max(1);
    let top = points.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |points: &[Option<f64>]| {
        let highest = points.iter().flatten().copied().fold(0.0, f64::max);
        if top > 0.0 { (highest / top * STEPS).round() as u64 } else { 0 }
    };
    let mut bars: Vec<u64> = points.rchunks(shared).map(bar).collect();
    bars.resize(width, 0);
    bars.reverse();
    bars
}

/// The average of those that have a value.
fn average(points: impl Iterator<Item = Option<f64>>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in points.flatten() {
        (sum, count) = (sum + value, count + 1.0);
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

fn rows(items: usize) -> u16 {
    // A head, and an empty row after it.
    u16::try_from(items + 2).unwrap_or(u16::MAX)
}

fn table<'a>(rows: impl Iterator<Item = Row<'a>>, widths: &[u16], head: &[&'a str]) -> Table<'a> {
    let widths: Vec<Constraint> = widths.iter().map(|width| Constraint::Max(*width)).collect();
    let head = Row::new(head.to_vec()).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(rows, widths).header(head).column_spacing(1)
}

fn bold<'a>(text: impl Into<std::borrow::Cow<'a, str>>) -> Span<'a> {
    Span::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn soft<'a>(text: impl Into<std::borrow::Cow<'a, str>>) -> Span<'a> {
    Span::styled(text, Style::new().add_modifier(Modifier::DIM))
}

/// A note's word in its colour.
fn tag(note: &Value) -> Span<'static> {
    let colour = match text(note, "/level") {
        "bad" => Color::Red,
        "warn" => Color::Yellow,
        _ => Color::Green,
    };
    Span::styled(format!(" {} ", text(note, "/word")), Style::new().fg(Color::Black).bg(colour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn status() -> Value {
        json!({
            "version": "1", "host": "pod-1", "time": "2026-01-02 03:04:05Z", "uptime_seconds": 7500, "stream": "logs",
            "delivering": {"level": "warn", "word": "throttled", "sentence": "Delivering, but shards have no room", "way_out": "split shards",
                "also": [{"level": "bad", "word": "checkpoint", "sentence": "It cannot be written", "way_out": null}]},
            "events_per_second": {"delivered": 1234.5}, "latency_seconds": {"median": 0.045, "p99": null},
            "sources": [{"name": "app", "files": {"live": 3}, "read_bytes_per_second": 2048.0, "backlog_bytes": 4096, "backlog_seconds": 75.0,
                "backlog_growth_bytes_per_second": -40.96}],
            "streams": {"logs": {"shards": [{"id": "shardId-000000000000", "bytes_per_second": 1024.0, "limit_bytes_per_second": 2048.0,
                "throttled_share": 0.5, "records": 12}]}},
            "ledger": {"events": 1000, "delivered": 900, "dropped": 60, "in_flight": 40},
            "dropped": [{"stage": "parse", "reason": "json", "events": 60}],
            "problems": [{"level": "error", "last": "2026-01-02 03:04:00Z", "count": 2, "message": "it failed", "details": "code=X"}],
            "buffer": {"bytes": 1_048_576, "capacity_bytes": 12_582_912}, "checkpoint": {"behind_seconds": 0.0},
            "history": {"read_bytes_per_second": [null, 1.0, 2.0, 4.0], "throttled_share": [0.0, 0.25]},
        })
    }

    fn screen() -> Screen {
        let mut screen = Screen::default();
        screen.update(status().to_string().as_bytes());
        screen
    }

    #[test]
    fn everything_that_matters_is_on_a_screen_of_usual_size() {
        let text = screen().lines(110, 40).replace('\u{202f}', " ");
        for part in [
            "kinetail  pod-1 → logs · 1 · up 2 h 5 min · 2026-01-02 03:04:05Z",
            " throttled  Delivering, but shards have no room.",
            "To do: split shards.",
            " checkpoint  It cannot be written.",
            "1 235 events/s",
            "12 %",
            "45 ms, 99 % –",
            "app                  2 KiB/s      4 KiB        75 s       done in 100 s        3",
            "logs shardId-000000000000        1 KiB/s      2 KiB/s      50 %         12",
            "Ledger 1 000 read = 900 delivered + 60 dropped + 40 in flight",
            "dropped: parse json 60",
            "2026-01-02 03:04:00Z 2× it failed code=X",
            "memory 1 MiB of 12 MiB · checkpoint up to date · q ends",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(text.contains('█'), "charts:\n{text}");
    }

    #[test]
    fn trouble_is_told_and_what_was_known_stays() {
        let mut screen = screen();
        screen.fail("cannot connect".to_owned());
        let text = screen.lines(110, 40);
        assert!(
            text.contains(" no answer  cannot connect. Below is what it said last.") && text.contains("shardId"),
            "{text}"
        );
        screen.update(b"<html>");
        assert!(screen.lines(80, 20).contains("what answers is no kinetail"));
        screen.update(status().to_string().as_bytes());
        assert!(!screen.lines(110, 40).contains("no answer"));
    }

    #[test]
    fn bars_end_now_and_gaps_are_low() {
        assert_eq!(bars(&[Some(1.0), None, Some(4.0)], 180)[177..], [250, 0, 1000]);
        let all: Vec<Option<f64>> = (0..180).map(|n| Some(f64::from(n))).collect();
        let narrow = bars(&all, 18);
        assert!(narrow.len() == 18 && narrow.is_sorted() && narrow[17] == 1000, "{narrow:?}");
        assert_eq!(bars(&[], 4), [0; 4]);
    }

    proptest! {
        #[test]
        fn no_screen_is_too_small_and_no_answer_too_strange(width in 0_u16..200, height in 0_u16..60, body in "\\PC{0,40}") {
            let mut screen = screen();
            screen.lines(width, height);
            screen.update(body.as_bytes());
            screen.lines(width, height);
            Screen::default().lines(width, height);
        }
    }
}
