//! Columns of text for people.

use super::visible;
use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: &str = "  ";

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    /// Digits of the same worth stand below each other.
    Right,
}

/// A heading and rows.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings. One that begins with `#` is of a column of numbers.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        let column = |heading: &&'static str| match heading.strip_prefix('#') {
            Some(name) => (name, Side::Right),
            None => (*heading, Side::Left),
        };
        Table { columns: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row. What a terminal would obey is replaced.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.iter().map(|cell| visible::line(cell).into_owned()).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each line, the heading first, without spaces at its end.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths: Vec<_> = (0..self.columns.len()).map(|nth| self.width(nth)).collect();
        let heading: Vec<_> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        [&heading].into_iter().chain(&self.rows).map(|cells| self.line(cells, &widths)).collect()
    }

    /// All of them as one text.
    pub(crate) fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }

    fn width(&self, nth: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[nth].width());
        cells.max().unwrap_or(0).max(self.columns[nth].0.width())
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let padded = cells.iter().zip(widths).zip(&self.columns).map(|((cell, width), (_, side))| {
            let space = " ".repeat(width - cell.width());
            match side {
                Side::Left => format!("{cell}{space}"),
                Side::Right => format!("{space}{cell}"),
            }
        });
        padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

/// What is no table: names on the left, what they are on the right.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let line = |(name, what): &(&str, String)| {
        let space = " ".repeat(width - name.width());
        format!("{name}{space}{GAP}{}", visible::line(what)).trim_end().to_owned() + "\n"
    };
    pairs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_numbers_right() {
        let mut table = Table::new(&["topic", "#records", "note"]);
        table.row(["orders".into(), "7".into(), String::new()]);
        table.row(["世界".into(), "1,234,567".into(), "two wide".into()]);
        assert_eq!(table.lines(), ["topic     records  note", "orders          7", "世界    1,234,567  two wide"],);
    }

    #[test]
    fn a_name_cannot_break_the_table() {
        let mut table = Table::new(&["group", "#members"]);
        table.row(["a\nb\x1b[2J".into(), "1".into()]);
        assert_eq!(table.text(), "group    members\na␊b␛[2J        1\n");
    }

    #[test]
    fn a_table_without_rows_is_its_heading() {
        let table = Table::new(&["a", "#b"]);
        assert!(table.is_empty());
        assert_eq!(table.text(), "a  b\n");
    }

    #[test]
    fn facts_stand_below_each_other() {
        assert_eq!(facts(&[("node", "1".into()), ("version", "a\tb".into())]), "node     1\nversion  a␉b\n");
    }
}
