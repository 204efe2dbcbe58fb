//! Pictures of numbers as SVG: bars in groups, with what each is and how long.

use std::fmt::Write;

/// Some bars that belong together.
pub(crate) struct Group {
    pub(crate) name: String,
    /// What each bar is, and how long.
    pub(crate) bars: Vec<(String, f64)>,
}

const WIDTH: f64 = 860.0;
/// For the names of bars.
const MARGIN: f64 = 150.0;
/// For the numbers behind them.
const NUMBERS: f64 = 70.0;
const BAR: f64 = 14.0;
const GAP: f64 = 4.0;
const TITLE: f64 = 44.0;
const GROUP: f64 = 34.0;

/// One for each bar of a group; they are told apart by brightness as well.
const COLOURS: [&str; 6] = ["#1f5fa8", "#6fa8dc", "#d9822b", "#8a8f98", "#b9bec6", "#dfe2e6"];

/// A picture. All bars have one scale.
pub(crate) fn bars(title: &str, unit: &str, groups: &[Group]) -> String {
    let all = groups.iter().flat_map(|group| &group.bars);
    let most = all.map(|(_, value)| *value).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let scale = (WIDTH - MARGIN - NUMBERS) / if most > 0.0 { most } else { 1.0 };
    let (mut body, mut y) = (String::new(), TITLE);
    for group in groups {
        y += GROUP;
        text(&mut body, (8.0, y - 8.0), "font-weight=\"bold\"", &group.name);
        for (index, (name, value)) in group.bars.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let middle = y + BAR - 3.0;
            text(&mut body, (MARGIN - 6.0, middle), "text-anchor=\"end\"", name);
            let length = if value.is_finite() { value.max(0.0) * scale } else { 0.0 };
            let _ = writeln!(
                body,
                "<rect x=\"{MARGIN}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
            );
            let number = if value.is_finite() { format!("{value:.3}") } else { "?".to_owned() };
            text(&mut body, (MARGIN + length + 5.0, middle), "", &number);
            y += BAR + GAP;
        }
    }
    let height = y + 12.0;
    let mut head = String::new();
    text(&mut head, (8.0, 26.0), "font-size=\"16\"", &format!("{title} ({unit})"));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{head}{body}</svg>\n"
    )
}

fn text(out: &mut String, (x, y): (f64, f64), attributes: &str, text: &str) {
    let space = if attributes.is_empty() { "" } else { " " };
    let text = escaped(text);
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\"{space}{attributes}>{text}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_picture_and_the_others_keep_to_its_scale() {
        let bars_of = |values: &[f64]| {
            values.iter().map(|&value| ("a<b".to_owned(), value)).collect::<Vec<_>>()
        };
        let groups = [
            Group { name: "one & two".to_owned(), bars: bars_of(&[4.0, 2.0]) },
            Group { name: "none".to_owned(), bars: bars_of(&[f64::NAN]) },
        ];
        let svg = bars("Title", "GB/s", &groups);
        let widths = svg.match_indices("<rect x=").filter_map(|(at, _)| {
            let (_, rest) = svg[at..].split_once("width=\"")?;
            rest.split('"').next()?.parse::<f64>().ok()
        });
        assert_eq!(widths.collect::<Vec<_>>(), [640.0, 320.0, 0.0]);
        assert!(svg.contains("one &amp; two") && svg.contains("a&lt;b") && svg.contains(">?<"));
    }
}
