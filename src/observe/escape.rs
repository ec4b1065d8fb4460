//! Text that others have chosen (names in commands, a server's error), for a log or a terminal.
//!
//! What a reader can't see, or what a terminal obeys, is written as an escape: control characters (a new line would begin
//! a forged line, ESC would begin a command to the terminal), Unicode's line separators, and invisible characters, of
//! which some turn the direction of the text that follows.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The text with such characters as Rust writes them (`\n`, `\u{1b}`).
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_plain(c) {
            true => out.push(c),
            false => out.extend(c.escape_default()),
        }
    }
    Cow::Owned(out)
}

/// The same as JSON text that is written already: such characters can only be in its strings.
#[must_use]
pub(super) fn escaped_json(text: &str) -> Cow<'_, str> {
    let is_plain = |c| is_plain(c) || c == '\n';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

/// Writes a value as one word: as it is if it is one, or else in quotes, so that it can't look like further fields.
pub(super) fn write_word(out: &mut dyn Write, value: &str) -> fmt::Result {
    let is_bare = |c: char| is_plain(c) && !matches!(c, ' ' | '=' | '"');
    if !value.is_empty() && value.chars().all(is_bare) {
        return out.write_str(value);
    }
    write_quoted(out, value)
}

/// Writes a text in quotes.
pub(super) fn write_quoted(out: &mut dyn Write, value: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c if is_plain(c) => out.write_char(c)?,
            c => write!(out, "{}", c.escape_default())?,
        }
    }
    out.write_char('"')
}

/// Whether a character is one that a reader sees, and that no terminal obeys.
fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if c.is_control() => false,
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
        '\u{ad}' | '\u{61c}' | '\u{180e}' => false,
        // Zero width, marks of direction, line and paragraph separators, embeddings, isolates.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        // Byte order mark, interlinear annotations, tags and variation selectors.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_written_as_an_escape() {
        for (text, wanted) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            (
                "\x1b[31m \x07 \x7f \u{9b}2J",
                r"\u{1b}[31m \u{7} \u{7f} \u{9b}2J",
            ),
            (
                "\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}",
                r"\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}",
            ),
            ("naïve \"日本\" \\ e\u{301}", "naïve \"日本\" \\ e\u{301}"),
        ] {
            assert_eq!(escaped(text), wanted);
        }
        let json = "{\"a\":\"\u{9b}\u{202e}\u{e0001}ü\"}\n";
        let escaped = escaped_json(json);
        assert_eq!(escaped, "{\"a\":\"\\u009b\\u202e\\udb40\\udc01ü\"}\n");
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(read(&escaped), read(json));
    }

    #[test]
    fn a_value_that_is_not_one_word_is_quoted() {
        let word = |value: &str| {
            let mut out = String::new();
            write_word(&mut out, value).unwrap();
            out
        };
        assert_eq!(word("game.items"), "game.items");
        assert_eq!(word(""), "\"\"");
        assert_eq!(word("c ms=0"), "\"c ms=0\"");
        assert_eq!(word("c\" ms=0\\\n"), r#""c\" ms=0\\\n""#);
    }
}
