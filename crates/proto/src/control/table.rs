//! A fleet as people see it: the same columns in `ahoyd fleet`, in `ahoy census --operator` and on the page.
//!
//! What stands in them is as supernodes and the roster say it. Whoever shows it makes it harmless first, for a terminal or with
//! [`Escaped`].

use std::fmt::{self, Display, Write as _};

use super::{Fleet, Missing, Supernode};

/// What the columns are called; those that begin with `>` hold numbers and stand to the right.
pub const HEAD: [&str; 11] =
    ["Supernode", "State", "Version", ">Signed in", ">Of", ">Calls", ">Legs", ">Sees", ">Load", ">Lag", "Address"];

/// A row under [`HEAD`].
pub type Cells = [String; HEAD.len()];

impl Fleet {
    /// All that live, then all that are missing.
    pub fn rows(&self) -> impl Iterator<Item = Cells> {
        self.supernodes.iter().map(Supernode::cells).chain(self.missing.iter().map(Missing::cells))
    }
}

impl Supernode {
    /// Its row; `*` marks the one that was asked.
    pub fn cells(&self) -> Cells {
        let mark = if self.own { "*" } else { "" };
        [
            format!("{}{mark}", short(&self.supernode)),
            if self.draining { "draining" } else { "up" }.to_owned(),
            self.version.clone(),
            self.sessions.to_string(),
            self.sessions_max.to_string(),
            self.calls.to_string(),
            self.legs.to_string(),
            self.supernodes.to_string(),
            format!("{} %", self.load_permille / 10),
            format!("{} ms", self.lag_ms),
            place(&self.address, &self.region),
        ]
    }
}

impl Missing {
    /// Its row.
    pub fn cells(&self) -> Cells {
        let mut cells = HEAD.map(|_| "-".to_owned());
        cells[0] = short(&self.supernode).to_owned();
        cells[1] = "missing".to_owned();
        cells[HEAD.len() - 1] = place(&self.address, &self.region);
        cells
    }
}

fn place(address: &str, region: &str) -> String {
    if region.is_empty() { address.to_owned() } else { format!("{address} ({region})") }
}

/// Enough of an id to tell it from others.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Lines under a head, as [`HEAD`] is one; `width` gives the columns that a text takes.
pub fn table(head: &[&str], rows: &[impl AsRef<[String]>], width: impl Fn(&str) -> usize) -> String {
    let names: Vec<String> = head.iter().map(|name| name.trim_start_matches('>').to_uppercase()).collect();
    let lines: Vec<&[String]> = [names.as_slice()].into_iter().chain(rows.iter().map(AsRef::as_ref)).collect();
    let wide = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| wide(column).unwrap_or(0)).collect();
    let mut text = Vec::new();
    for line in lines {
        let mut written = String::new();
        for ((cell, wide), name) in line.iter().zip(&widths).zip(head) {
            let space = " ".repeat(wide - width(cell));
            written += &if name.starts_with('>') { format!("{space}{cell}  ") } else { format!("{cell}{space}  ") };
        }
        text.push(written.trim_end().to_owned());
    }
    text.join("\n")
}

/// Text that stands in HTML or XML as text, also between quotes.
#[derive(Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_told_as_a_table_with_its_numbers_to_the_right() {
        let row = |supernode: &str, own, draining, sessions| Supernode {
            supernode: supernode.to_owned(),
            own,
            address: "a:1".to_owned(),
            version: "0.1.0".to_owned(),
            draining,
            sessions,
            sessions_max: 100_000,
            calls: 5,
            legs: 10,
            supernodes: 3,
            load_permille: 127,
            lag_ms: 1,
            ..Supernode::default()
        };
        let supernodes = vec![row("00112233445566778899", true, false, 1_234), row("ff", false, true, 0)];
        let missing = Missing { supernode: "ee".to_owned(), address: "b:1".to_owned(), region: "north".to_owned() };
        let fleet = Fleet { fresh: true, supernodes, missing: vec![missing], ..Fleet::default() };
        let told = table(&HEAD, &fleet.rows().collect::<Vec<_>>(), |text| text.chars().count());
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(
            lines,
            [
                "SUPERNODE      STATE     VERSION  SIGNED IN      OF  CALLS  LEGS  SEES  LOAD   LAG  ADDRESS",
                "001122334455*  up        0.1.0         1234  100000      5    10     3  12 %  1 ms  a:1",
                "ff             draining  0.1.0            0  100000      5    10     3  12 %  1 ms  a:1",
                "ee             missing   -                -       -      -     -     -     -     -  b:1 (north)",
            ]
        );
    }

    #[test]
    fn text_stays_text_in_a_page_and_in_a_drawing() {
        assert_eq!(Escaped("<b>\"'&\u{1b}").to_string(), "&lt;b&gt;&quot;&#39;&amp;\u{fffd}");
    }
}
