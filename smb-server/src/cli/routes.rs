//! The table of routes as a host has it, for people.

use std::fmt::Write;

use usmbd::datapath::host::{Found, Trial, lacking};
use usmbd::datapath::plan::{Direction, Row, TABLE};

/// What was tried, and then the table: for each row a line, its reason, and what comes in its place where the host has
/// not what it needs.
pub(crate) fn routes(tried_with: &str, trials: &[Trial]) -> String {
    let mut text = format!("tried on this host, with {tried_with}:\n");
    for Trial { what, found, .. } in trials {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {what:<24} {}", told(found));
    }
    text.push_str("\nthe first line that fits a transfer decides:\n");
    for direction in [Direction::Read, Direction::Write] {
        let _ = writeln!(text, "\n{direction}");
        for row in TABLE.iter().filter(|row| row.direction == direction) {
            push(&mut text, row, trials);
        }
    }
    text
}

fn push(text: &mut String, row: &Row, trials: &[Trial]) {
    let Row { route, when, because, .. } = row;
    let _ = writeln!(text, "  {route:<9}  {when}\n             {because}");
    let lacking = lacking(trials);
    if let Some(instead) = row.instead(&lacking) {
        let needs = |trial: &&Trial| {
            trial.need.is_some_and(|need| row.needs.contains(&need))
                && matches!(trial.found, Found::No(_))
        };
        let missing: Vec<_> = trials.iter().filter(needs).map(|trial| trial.what).collect();
        let (route, when) = (instead.route, instead.when);
        let _ = writeln!(text, "             not here, for want of {}:", missing.join(", "));
        let _ = writeln!(text, "             {route}, as where {when}");
    }
}

fn told(found: &Found) -> String {
    match found {
        Found::Yes(more) if more.is_empty() => "yes".to_owned(),
        Found::Yes(more) => format!("yes: {more}"),
        Found::No(why) => format!("no: {why}"),
        Found::Untried(why) => format!("not tried: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use usmbd::datapath::plan::Need;

    /// How wide a terminal is taken to be.
    const WIDTH: usize = 100;

    fn trials(found: &Found) -> Vec<Trial> {
        let trial = |what, need| Trial { what, need: Some(need), found: found.clone() };
        vec![
            trial("pipes", Need::Pipe),
            trial("telling what is cached", Need::Cached),
            trial("mappings", Need::Mapping),
        ]
    }

    #[test]
    fn every_row_is_told_and_no_line_is_too_long() {
        for found in [Found::Yes(String::new()), Found::No("Operation not permitted".to_owned())] {
            let text = routes("the files in /srv", &trials(&found));
            let position = |row: &Row| text.find(&format!("{:<9}  {}", row.route, row.when));
            assert!(TABLE.iter().all(|row| position(row).is_some()), "{text}");
            let long = text.lines().find(|line| line.chars().count() > WIDTH);
            assert_eq!(long, None);
        }
    }

    #[test]
    fn a_row_that_is_not_for_this_host_names_what_is_missing_and_what_takes_over() {
        let text = routes("", &trials(&Found::Yes(String::new())));
        assert!(!text.contains("not here"), "{text}");
        let text = routes("", &trials(&Found::No(String::new())));
        let without = "no byte is copied here\n             not here, for want of pipes, telling what is \
                       cached:\n             buffered, as where the page cache has not all of it\n";
        assert!(text.contains(without), "{text}");
    }
}
