//! A small chart of the last quarter of an hour: inline SVG that needs no script and no style of its own. Its numbers are beside it in words.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::admin::history::{POINTS, Ring};

/// The height of the drawing in its own units; the page gives it another.
const HEIGHT: f64 = 32.0;
/// What is left above and below for the width of the line.
const MARGIN: f64 = 1.0;
/// A limit is in the picture if it is no more than so many times what is below it: a rate that is far from its limit would be a flat line.
const LIMIT_IN_VIEW: f64 = 4.0;

/// What is drawn.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// What a screen reader says of it.
    pub(super) label: String,
    /// What it is the course of.
    pub(super) ring: Option<&'a Ring>,
    /// A limit of that, as a dashed line.
    pub(super) limit: Option<&'a Ring>,
    /// The value at the top; by default the highest.
    pub(super) top: Option<f64>,
    /// The class of its colour.
    pub(super) tone: &'static str,
}

impl Chart<'_> {
    /// The drawing.
    pub(super) fn draw(&self) -> Markup {
        let highest = self.ring.and_then(Ring::highest).unwrap_or(0.0);
        let limit = self.limit.filter(|limit| limit.highest().is_some_and(|limit| limit <= highest * LIMIT_IN_VIEW));
        let of_limit = limit.and_then(Ring::highest).unwrap_or(0.0);
        let top = self.top.unwrap_or(0.0).max(highest).max(of_limit);
        let (line, area) = self.ring.map_or_else(Default::default, |ring| paths(ring, top));
        let dashes = limit.map(|limit| paths(limit, top).0).unwrap_or_default();
        let view = format!("0 0 {} {HEIGHT}", POINTS - 1);
        html! {
            svg class={ "chart " (self.tone) } viewBox=(view) preserveAspectRatio="none" role="img" aria-label=(self.label) {
                path class="floor" d={ "M0 " (HEIGHT - 0.5) "H" (POINTS - 1) } {}
                path class="area" d=(area) {}
                path class="line" d=(line) {}
                @if !dashes.is_empty() { path class="limit" d=(dashes) {} }
            }
        }
    }
}

/// A line through the points, and the area below it. Where nothing is known, both have a gap.
fn paths(ring: &Ring, top: f64) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let values: Vec<f64> = ring.iter().collect();
    let first = POINTS - values.len();
    let scale = if top > 0.0 { (HEIGHT - 2.0 * MARGIN) / top } else { 0.0 };
    let mut begun = None;
    for (x, value) in (first..).zip(&values) {
        if value.is_nan() {
            close(&mut area, begun.take(), x);
            continue;
        }
        let y = HEIGHT - MARGIN - value.max(0.0) * scale;
        let word = if begun.is_none() { 'M' } else { 'L' };
        // A string takes everything.
        write!(line, "{word}{x} {y:.1}").unwrap_or_default();
        if begun.is_none() {
            write!(area, "M{x} {HEIGHT}").unwrap_or_default();
            begun = Some(x);
        }
        write!(area, "L{x} {y:.1}").unwrap_or_default();
    }
    close(&mut area, begun, POINTS);
    if values.iter().filter(|value| !value.is_nan()).count() == 1 {
        // A line of one point would not be seen.
        line.push_str("h1");
    }
    (line, area)
}

fn close(area: &mut String, begun: Option<usize>, next: usize) {
    if begun.is_some() {
        write!(area, "L{} {HEIGHT}Z", next - 1).unwrap_or_default();
    }
}
