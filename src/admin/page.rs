//! The status page: one HTML document with everything in it, rendered here, that works without JavaScript. What it says is in `shown.rs`; values
//! from outside are escaped by the templates.

mod chart;
mod parts;

use std::sync::LazyLock;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::history::History;
use super::judgement::{Level, Note};
use super::shown::Shown;
use super::words;
use parts::{configuration, hot_keys, ledger, problems, sources, streams, tiles};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The policy of the page: its own style and its own script by their hashes, nothing from elsewhere, in nobody's frame.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| base64_simd::STANDARD.encode_to_string(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// The whole page.
pub(super) fn render(shown: &Shown, history: &History) -> Vec<u8> {
    let main = &shown.delivering.main;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (main.word) " · " (shown.stream) " · kinetail" }
                link rel="icon" href=(icon(main.level));
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "kinetail" }
                    span id="facts" class="soft" {
                        (shown.host) " → " (shown.stream) " · " (shown.version) " · up "
                        (words::seconds(whole(shown.uptime_seconds))) " · " (shown.time)
                    }
                    span class="push soft" id="refresh" hidden {
                        span id="said" class="t-bad" role="status" {} " "
                        label { input type="checkbox" checked; " refreshed every 5 s" }
                    }
                }
                main { div id="live" { (live(shown, history)) } (configuration(shown)) }
                footer {
                    "Charts show the last 15 minutes, each up to its own highest value. Also here: "
                    a href="metrics" { "/metrics" } " " a href="status" { "/status" } " " a href="livez" { "/livez" } " "
                    a href="readyz" { "/readyz" } " " a href="startupz" { "/startupz" }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string().into_bytes()
}

/// What changes.
fn live(shown: &Shown, history: &History) -> Markup {
    html! {
        (verdict(shown))
        (tiles(shown, history))
        (sources(shown, history))
        (streams(shown, history))
        div class="pair" { (ledger(shown)) (hot_keys(shown)) }
        (problems(shown))
    }
}

fn verdict(shown: &Shown) -> Markup {
    let main = &shown.delivering.main;
    html! {
        section class={ "verdict " (tone(main.level)) } aria-label="Is it delivering?" {
            h2 { span class={ "tag " (tone(main.level)) } { (main.word) } (main.sentence) "." }
            @if let Some(way_out) = &main.way_out { p { b { "To do: " } (way_out) "." } }
            @if !shown.delivering.also.is_empty() {
                ul { @for note in &shown.delivering.also { li { (aside(note)) } } }
            }
        }
    }
}

fn aside(note: &Note) -> Markup {
    html! {
        span class={ "tag " (tone(note.level)) } { (note.word) } (note.sentence) "."
        @if let Some(way_out) = &note.way_out { " " span class="soft" { "To do: " (way_out) "." } }
    }
}

fn tone(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Warn => "warn",
        Level::Bad => "bad",
    }
}

/// A dot in the tab, in the colour of the state.
fn icon(level: Level) -> String {
    let colour = match level {
        Level::Good => "1a9956",
        Level::Warn => "d99a1c",
        Level::Bad => "d5362c",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='4' fill='%23{colour}'/%3E%3C/svg%3E"
    )
}

/// A count as a number that words are made of.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
        assert!(!POLICY.contains("unsafe") && POLICY.contains("default-src 'none'"));
        assert_eq!(POLICY.matches("'sha256-").count(), 2);
        // What would end the element early, and what would have to be fetched.
        for text in [STYLE, SCRIPT] {
            assert!(
                !text.contains("</") && !text.contains("url(") && !text.contains("import") && !text.contains("http")
            );
        }
        // Attributes with code or style in them would be refused by the policy.
        for part in [include_str!("page.rs"), include_str!("page/parts.rs"), include_str!("page/chart.rs")] {
            let templates = part.split("#[cfg(test)]").next().unwrap_or_default();
            assert!(![" style=", " onclick=", " onload="].iter().any(|attribute| templates.contains(attribute)));
        }
    }
}
