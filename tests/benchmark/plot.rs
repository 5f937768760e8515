//! Minimal SVG plots for reports.

use std::fmt::Write;

/// A line with a name.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 260.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 560.0;
const COLORS: [&str; 6] = ["#0b6e99", "#d9730d", "#4d7c0f", "#9d174d", "#6b21a8", "#525252"];

/// A plot from zero upwards.
pub(crate) fn svg(title: &str, x_unit: &str, y_unit: &str, curves: &[Curve]) -> String {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let x_min = all().map(|p| p.0).fold(f64::INFINITY, f64::min).min(1e18);
    let x_max = all().map(|p| p.0).fold(x_min + 1e-9, f64::max);
    let y_max = all().map(|p| p.1).fold(1.0, f64::max) * 1.1;
    let x = |value: f64| LEFT + (value - x_min) / (x_max - x_min) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - value / y_max * (BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/><text x=\"{LEFT}\" y=\"18\">{}</text>\n",
        escape(title)
    );
    for n in 0..=4 {
        let (value, time) = (y_max / 4.0 * f64::from(n), x_min + (x_max - x_min) / 4.0 * f64::from(n));
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {0:.1}H{RIGHT}\" stroke=\"#ddd\"/><text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>\
             <text x=\"{4:.1}\" y=\"{5}\" text-anchor=\"middle\">{time:.1}</text>",
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
            number(value),
            x(time),
            BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">{x_unit}; up: {y_unit}</text>",
        BOTTOM + 34.0
    );
    for (n, curve) in curves.iter().enumerate() {
        let color = COLORS[n % COLORS.len()];
        let points: Vec<String> =
            curve.points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
        let line = TOP + 14.0 * (n as f64 + 1.0);
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{}\"/>\
             <text x=\"{}\" y=\"{line}\" fill=\"{color}\">{}</text>",
            points.join(" "),
            RIGHT + 10.0,
            escape(&curve.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1} M", v / 1e6),
        v if v >= 1e3 => format!("{:.0} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
