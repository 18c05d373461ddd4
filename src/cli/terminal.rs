//! Where text leaves for a terminal. Topics, types and the words of others come from outside: what would steer the terminal, or
//! show other text than there is, is escaped here, for tables and for JSON alike.

use std::io::{self, Stderr, StderrLock, Stdout, StdoutLock, Write};

/// Standard output, locked, with everything escaped that is not to be seen.
pub(super) fn stdout() -> Escaping<StdoutLock<'static>> {
    Escaping(Stdout::lock(&io::stdout()))
}

/// Standard error, likewise.
pub(super) fn stderr() -> Escaping<StderrLock<'static>> {
    Escaping(Stderr::lock(&io::stderr()))
}

/// A writer that escapes control characters other than line feeds and tabs, and characters that reorder or hide text, as
/// `\u001b`: which is what JSON calls them, too.
pub(super) struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Formatted text comes in whole characters; anything else is none of ours.
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(is_unseen) => self.0.write_all(escaped(text).as_bytes())?,
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unseen(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// C0 and C1 controls; marks, embeddings, overrides and isolates of bidirectional text (Unicode Standard Annex 9); characters
/// without width; separators of lines; and tags.
fn is_unseen(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\n' | '\t');
    is_control
        || matches!(
            character,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Escaping(Vec::new());
        write!(out, "{text}").unwrap();
        String::from_utf8(out.0).unwrap()
    }

    #[test]
    fn what_steers_a_terminal_or_hides_text_is_shown() {
        for (text, shown) in [
            ("\u{1b}[2J\u{7}", "\\u001b[2J\\u0007"),
            ("\u{9b}31m", "\\u009b31m"),
            ("cod\u{202e}gpj.exe", "cod\\u202egpj.exe"),
            ("a\rb", "a\\u000db"),
            ("tag \u{e0041}", "tag \\udb40\\udc41"),
        ] {
            assert_eq!(written(text), shown);
        }
    }

    #[test]
    fn text_in_any_script_stays_as_it_is() {
        for text in ["Über uns – レッスン 🎓", "line\nand\tcolumn", "שלום", "│ table │"] {
            assert_eq!(written(text), text);
        }
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "topic": "\u{9b}\u{202e}\u{1b}x" });
        let again: serde_json::Value = serde_json::from_str(&written(&value.to_string())).unwrap();
        assert_eq!(again, value);
    }
}
