//! The printed table of servers and behaviours.

use anyhow::{Result, bail};
use std::fmt::Write as _;

/// Result of one behaviour with one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// As expected.
    Good,
    /// Not supported by the server, with the reason.
    Cannot(&'static str),
    /// What happened instead.
    Bad(String),
}

/// A server's results, in the order of the columns.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) server: &'static str,
    pub(crate) cells: Vec<(&'static str, Cell)>,
}

impl Row {
    /// An error with all unexpected results.
    pub(crate) fn verdict(&self) -> Result<()> {
        let bad = |(column, cell): &(&str, Cell)| match cell {
            Cell::Bad(what) => Some(format!("{column}: {what}")),
            _ => None,
        };
        let bad: Vec<_> = self.cells.iter().filter_map(bad).collect();
        if !bad.is_empty() {
            bail!("{}", bad.join("\n"));
        }
        Ok(())
    }
}

/// As Markdown, with the reasons below.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut out = String::new();
    let Some(first) = rows.first() else { return out };
    let columns: Vec<_> = first.cells.iter().map(|(column, _)| *column).collect();
    let mut notes: Vec<&str> = Vec::new();
    let mut faults = Vec::new();
    let _ = writeln!(out, "\n| server | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.server);
    for row in rows {
        let _ = write!(out, "| {} |", row.server);
        for (column, cell) in &row.cells {
            let _ = match cell {
                Cell::Good => write!(out, " ok |"),
                Cell::Cannot(why) => {
                    let known = notes.iter().position(|note| note == why);
                    let number = known.unwrap_or_else(|| {
                        notes.push(why);
                        notes.len() - 1
                    });
                    write!(out, " - {} |", number + 1)
                }
                Cell::Bad(what) => {
                    faults.push(format!("{}, {column}: {what}", row.server));
                    write!(out, " **no** |")
                }
            };
        }
        out.push('\n');
    }
    out.push('\n');
    for (number, note) in notes.iter().enumerate() {
        let _ = writeln!(out, "{}. {note}", number + 1);
    }
    for fault in faults {
        let _ = writeln!(out, "- {fault}");
    }
    out
}
