//! The fields of a line in text format: `message number=1 name="text" name=value`, escaped. Texts are quoted; what is
//! written by its `Display` or `Debug` is if it isn't one word.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use super::escape::{escaped, write_quoted, write_word};

/// Writes them.
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            is_empty: true,
            result: Ok(()),
        };
        fields.record(&mut line);
        line.result
    }
}

/// Writes a value, so that it can't look like further fields.
type Put = fn(&mut dyn fmt::Write, &str) -> fmt::Result;

struct Line<'writer> {
    writer: Writer<'writer>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &str, put: Put) -> fmt::Result {
        // (Of events by the `log` crate: where they come from, which the line says already.)
        if field.name().starts_with("log.") {
            return Ok(());
        }
        if !std::mem::take(&mut self.is_empty) {
            self.writer.write_char(' ')?;
        }
        let value = shortened(value);
        if field.name() == MESSAGE {
            return self.writer.write_str(&escaped(value));
        }
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        match self.writer.has_ansi_escapes() {
            true => write!(self.writer, "{ITALIC}{name}{RESET}{DIM}={RESET}")?,
            false => write!(self.writer, "{name}=")?,
        }
        put(&mut self.writer, value)
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, value, write_quoted);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field, &format!("{value:?}"), write_word);
        }
    }
}

/// The text's beginning, if all of it is too much for a line.
fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST))
        .unwrap_or(text)
}

const MESSAGE: &str = "message";
const ITALIC: &str = "\x1b[3m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
/// A command's name alone may have megabytes.
const LONGEST: usize = 8 * 1024;
