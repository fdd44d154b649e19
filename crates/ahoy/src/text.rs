//! Text on a terminal: what other people wrote made harmless, and how wide things are.
//!
//! Whatever comes from another account goes through [`clean`] or [`clean_line`] before it reaches a terminal: no control
//! character (an escape sequence could move the cursor or set the title), nothing that reorders or hides what stands beside it.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Marks without width that may follow each other: no script stacks more, and a tower of them covers the lines above.
const MARKS_MAX: usize = 4;

/// Columns of a tab.
const TAB: &str = "    ";

/// What other people wrote, fit to be shown; of what moves a cursor only line ends stay.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        match c {
            '\n' | '\u{2028}' | '\u{2029}' | '\u{0b}' | '\u{0c}' | '\u{85}' => shown.push('\n'),
            '\t' => shown.push_str(TAB),
            c if c.is_control() || is_unseen(c) => {}
            c => {
                marks = if unicode_width::UnicodeWidthChar::width(c) == Some(0) { marks + 1 } else { 0 };
                if marks <= MARKS_MAX {
                    shown.push(c);
                }
            }
        }
    }
    shown
}

/// As [`clean`], in one line: for names of groups, moods and previews.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters that show nothing and change how others are shown or compared: direction marks and overrides, fillers,
/// annotations, tags. The joiners that scripts and emoji need are not among them.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
        | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A line that takes no more than `columns`: what is too long ends in `…`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut kept, mut taken) = (String::new(), 0);
    for grapheme in text.graphemes(true) {
        taken += grapheme.width();
        if taken >= columns {
            break;
        }
        kept.push_str(grapheme);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A text in lines of no more than `columns`, broken between words where there are any.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut taken = 0;
        for word in paragraph.split_inclusive(' ') {
            let wide = word.trim_end_matches(' ').width();
            if taken > 0 && taken + wide > columns && wide <= columns {
                end(&mut lines, &mut line, &mut taken);
            }
            for grapheme in word.graphemes(true) {
                let wide = grapheme.width();
                match (taken + wide > columns, grapheme) {
                    // What is wider than a line can't be shown in it.
                    (true, _) if wide > columns => continue,
                    // Spaces at the end of a line show nothing.
                    (true, " ") => continue,
                    (true, _) => end(&mut lines, &mut line, &mut taken),
                    (false, _) => {}
                }
                line.push_str(grapheme);
                taken += wide;
            }
        }
        end(&mut lines, &mut line, &mut taken);
    }
    lines
}

fn end(lines: &mut Vec<String>, line: &mut String, taken: &mut usize) {
    lines.push(std::mem::take(line).trim_end().to_owned());
    *taken = 0;
}

/// Rows as aligned columns, two spaces apart; the last one runs free.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(wide).collect();
    let mut lines = Vec::new();
    for row in rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(wide - width(cell) + 2));
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\x07\x08\r\u{9b}31mc\x7f"), "a[2Jb31mc");
        assert_eq!(clean("one\ntwo\u{2028}three\tfour"), "one\ntwo\nthree    four");
        assert_eq!(clean_line(" one\n two\t "), "one two");
    }

    #[test]
    fn nothing_reorders_or_hides_what_stands_beside_it() {
        assert_eq!(clean("pay \u{202e}0001\u{202c} \u{2066}now\u{2069}"), "pay 0001 now");
        assert_eq!(clean("b\u{200b}o\u{ad}b\u{feff}\u{e0041}"), "bob");
        assert_eq!(clean(&format!("e{}", "\u{301}".repeat(500))), format!("e{}", "\u{301}".repeat(MARKS_MAX)));
    }

    #[test]
    fn scripts_and_emoji_stay_as_they_are() {
        for text in ["Grüße, 世界", "می‌خواهم", "👩‍👩‍👧‍👦 ❤️ 👍🏽", "שלום"] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn lines_break_between_words_and_wide_characters_count_twice() {
        assert_eq!(wrap("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(wrap("it ends here, and goes on", 12), ["it ends", "here, and", "goes on"]);
        assert_eq!(wrap("  kept   indent", 20), ["  kept   indent"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("世界世界世", 4), ["世界", "世界", "世"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(cut("世界世界", 5), "世界…");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn columns_are_aligned_whatever_is_in_them() {
        let rows = [vec!["世界".to_owned(), "x".to_owned()], vec!["a".to_owned(), "y".to_owned()]];
        assert_eq!(columns(&rows), "世界  x\na     y");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_it_may_be(text in "\\PC{0,80}", columns in 2usize..40) {
            for line in wrap(&clean(&text), columns) {
                prop_assert!(width(&line) <= columns, "{line:?}");
            }
            prop_assert!(width(&cut(&clean_line(&text), columns)) <= columns);
        }

        #[test]
        fn what_is_clean_stays_as_it_is(text in any::<String>()) {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
