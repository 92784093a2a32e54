//! `--format` and `--json`, the same for every command that lists: a table, a template for each row, or JSON.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::template::Template;

/// How a listing is asked for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Format {
    /// `table`, `table TEMPLATE`, `json` (an object on each line), or a Go template for each row
    #[arg(long, conflicts_with = "json")]
    pub format: Option<String>,
    /// Print one JSON array, with numbers as numbers
    #[arg(long)]
    pub json: bool,
}

impl Format {
    /// Whether nothing in particular was asked for.
    pub fn is_usual(&self) -> bool {
        self.format.is_none() && !self.json
    }
}

/// One column that docker knows: the field in templates, and its heading.
pub type Column = (&'static str, &'static str);

/// The rows of a table, and the columns shown when no template chooses.
pub struct Listing<'a, T> {
    pub columns: &'a [Column],
    /// The template of the plain table.
    pub usual: &'a str,
    /// docker's own object for each row: field names as in `columns`, strings.
    pub rows: Vec<Value>,
    /// Ours, for `--json`.
    pub array: Vec<T>,
}

impl<T: Serialize> Listing<'_, T> {
    /// Prints the listing as it was asked for.
    pub fn print(&self, format: &Format) -> Result<()> {
        if format.json {
            return stage::print_json(&self.array);
        }
        match format.format.as_deref().unwrap_or("table") {
            "json" => self.lines("{{json .}}"),
            "table" => self.table(self.usual),
            other => match other.strip_prefix("table ") {
                Some(template) => self.table(template),
                None => self.lines(other),
            },
        }
    }

    /// The template's text for each row, on a line of its own.
    pub fn lines(&self, template: &str) -> Result<()> {
        let template = Template::parse(&unescaped(template))?;
        let mut text = String::new();
        for row in &self.rows {
            text += &template.render(row)?;
            text.push('\n');
        }
        stage::print(&text)
    }

    fn table(&self, template: &str) -> Result<()> {
        let template = Template::parse(&unescaped(template.trim_start()))?;
        let heading: Value = self.columns.iter().copied().collect();
        let mut lines = vec![template.render(&heading)?];
        for row in &self.rows {
            lines.push(template.render(row)?);
        }
        stage::print(&aligned(&lines))
    }
}

/// What the shell leaves of `\t` and `\n` in single quotes.
fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Cells end with a tab. Each column is as wide as its widest cell and three spaces, and at least ten
/// (docker's text/tabwriter settings).
fn aligned(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column).filter(|_| column + 1 < row.len()));
            cells.map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(10)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let lines = ["ID\tNAMES\tX".to_owned(), "3f2a\ta_long_name\ty".to_owned()];
        assert_eq!(aligned(&lines), "ID        NAMES         X\n3f2a      a_long_name   y\n");
    }
}
