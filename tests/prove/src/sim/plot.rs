//! The plot of the study: what a setting costs, and what it saves, as SVG.

use std::fmt::Write;

use super::report::{find, name};
use super::study::{Cell, SETTINGS, default_beats};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 360.0;
/// The outages at both ends of the horizontal axis, in milliseconds.
const OUTAGE: (f64, f64) = (50.0, 4_000.0);
/// The largest rate that the vertical axis shows, and the smallest but zero.
const RATE: (f64, f64) = (1.0, 100_000.0);
/// Where zero is, below the smallest rate: a logarithm has no zero.
const ZERO: f64 = BOTTOM - 14.0;

/// The weathers that are drawn, each with its colour.
const DRAWN: [(&str, &str); 6] = [
    ("loss 2 %", "#2b8cbe"),
    ("loss 10 %", "#08519c"),
    ("bursts", "#756bb1"),
    ("pauses 200 ms", "#fdae6b"),
    ("promised", "#d7301f"),
    ("rough", "#636363"),
];

fn x_of(outage_ms: f64) -> f64 {
    let share = (outage_ms / OUTAGE.0).ln() / (OUTAGE.1 / OUTAGE.0).ln();
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

fn y_of(rate: f64) -> f64 {
    if rate < RATE.0 {
        return ZERO;
    }
    let share = (rate / RATE.0).ln() / (RATE.1 / RATE.0).ln();
    let lowest = ZERO - 26.0;
    lowest - share.clamp(0.0, 1.0) * (lowest - TOP)
}

#[expect(clippy::cast_precision_loss, reason = "a plot shows three digits")]
const fn real(number: u64) -> f64 {
    number as f64
}

/// Draws the takeovers of a live peer against the time to take over from a dead one.
#[must_use]
pub(super) fn plot(cells: &[Cell]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">Takeovers of a live peer per 1,000 hours, \
         by the time to take over from a dead one</text>\n"
    );
    axes(&mut out);
    for (place, (weather, colour)) in DRAWN.iter().enumerate() {
        let points: Vec<(f64, f64)> = SETTINGS
            .iter()
            .filter_map(|beats| {
                let outage = find(cells, "fair", *beats)?.convergence_ms.p50;
                Some((x_of(real(outage)), y_of(real(find(cells, weather, *beats)?.rate()))))
            })
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        put(
            &mut out,
            &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            ),
        );
        for (x, y) in points {
            put(
                &mut out,
                &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"),
            );
        }
        let y = TOP + 10.0 + 20.0 * real(place as u64);
        put(
            &mut out,
            &format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{weather}</text>",
                RIGHT + 20.0,
                y - 4.0,
                RIGHT + 30.0
            ),
        );
    }
    settings(&mut out, cells);
    out.push_str("</svg>\n");
    out
}

fn axes(out: &mut String) {
    put(
        out,
        &format!("<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#000000\"/>"),
    );
    let rates = [0.0, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0];
    for (rate, label) in rates.iter().zip(["0", "1", "10", "100", "1,000", "10,000", "100,000"]) {
        let y = y_of(*rate);
        put(
            out,
            &format!(
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                y + 4.0
            ),
        );
    }
    for (outage, label) in
        [(100.0, "100 ms"), (300.0, "300 ms"), (1_000.0, "1 s"), (3_000.0, "3 s")]
    {
        let x = x_of(outage);
        put(
            out,
            &format!(
                "<path d=\"M{x:.1} {BOTTOM}v5\" stroke=\"#000000\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                BOTTOM + 18.0
            ),
        );
    }
    put(
        out,
        &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">from a node's death until its \
         routes point to another (median, API calls of 50 ms)</text>",
            f64::midpoint(LEFT, RIGHT),
            HEIGHT - 12.0
        ),
    );
}

/// Names the settings along their outages.
fn settings(out: &mut String, cells: &[Cell]) {
    for beats in SETTINGS {
        let Some(cell) = find(cells, "fair", beats) else { continue };
        let x = x_of(real(cell.convergence_ms.p50));
        let weight = if beats == default_beats() { " font-weight=\"bold\"" } else { "" };
        put(
            out,
            &format!(
                "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#eeeeee\"/>\
             <text transform=\"translate({:.1} {:.1}) rotate(-90)\" font-size=\"10\" \
             text-anchor=\"start\"{weight}>{}</text>",
                x - 3.0,
                ZERO - 8.0,
                name(beats)
            ),
        );
    }
}

fn put(out: &mut String, element: &str) {
    writeln!(out, "{element}").expect("writing to a String never fails");
}
