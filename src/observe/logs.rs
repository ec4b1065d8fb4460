//! Structured logs on standard error; standard output is left to the ready line and to answers. Slow
//! requests also go to a file of their own, if one is named.
//!
//! Invariants: no document content and no secret is logged by default; a line is one event's, whatever clients have
//! chosen as names (`observe::escape`).

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write, stderr};
use std::path::Path;

use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::escape::escaped_json;
use super::text::Fields;
use crate::config::LogFormat;

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level isn't a filter.
    #[error("log.level is not a filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The file of slow requests can't be written.
    #[error("profile.slow_file = {path:?} can't be opened for appending: {source}")]
    SlowFile {
        /// What the configuration names.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The process logs already.
    #[error("logging was already started")]
    Started,
}

/// Starts logging for the whole process, once. `level` holds filter directives: `info`, or
/// `info,petiole::advice=debug`. `slow_file` gets slow requests, whatever the level; `""` = there is none.
pub fn init(format: LogFormat, level: &str, slow_file: &str) -> Result<(), LogError> {
    let slow = (!slow_file.is_empty()).then(|| slow_layer(slow_file));
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::registry()
        .with(layer(format, level, colour, stderr)?)
        .with(slow.transpose()?)
        .try_init()
        .map_err(|_| LogError::Started)
}

fn layer<S, W>(
    format: LogFormat,
    level: &str,
    colour: bool,
    writer: W,
) -> Result<impl Layer<S>, LogError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(level)?;
    let layer = fmt::layer().with_target(true);
    let layer = match format {
        LogFormat::Text => {
            let layer = layer.fmt_fields(Fields).with_ansi(colour);
            layer.with_writer(writer).boxed()
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true);
            layer.with_writer(Escaping(writer)).boxed()
        }
    };
    Ok(layer.with_filter(filter))
}

/// Slow requests, a JSON object per line, at the end of a file.
///
/// It is written by the thread that answers the request: `profile.slow_per_second` bounds how often.
fn slow_layer<S>(path: &str) -> Result<impl Layer<S> + use<S>, LogError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let file = append(path.as_ref()).map_err(|source| LogError::SlowFile {
        path: path.to_owned(),
        source,
    })?;
    let layer = fmt::layer().json().flatten_event(true);
    let layer = layer.with_writer(Escaping(std::sync::Mutex::new(file)));
    Ok(layer.with_filter(Targets::new().with_target(SLOW, Level::INFO)))
}

/// What writes JSON so that a terminal may show it: serde_json escapes ASCII's control characters only.
struct Escaping<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Escaping<W> {
    type Writer = Escaping<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaping(self.0.make_writer())
    }
}

impl<W: Write> Write for Escaping<W> {
    /// Each event comes whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(escaped_json(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The target of slow requests.
const SLOW: &str = "petiole::slow";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str) -> String {
        logged_by(format, level, || {
            tracing::info!(target: "petiole::server", clients = 3, "accepting");
            tracing::debug!(target: "petiole::advice", "an index");
        })
    }

    fn logged_by(format: LogFormat, level: &str, log: impl Fn()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = layer(format, level, false, move || writer.clone()).expect("a filter");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = sink.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_json_line_is_an_object_with_target_and_fields() {
        let line = logged(LogFormat::Json, "info");
        let event: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(event["target"], "petiole::server");
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["message"], "accepting");
        assert_eq!(event["clients"], 3);
    }

    #[test]
    fn a_text_line_names_level_and_target_and_has_no_colour_codes() {
        let line = logged(LogFormat::Text, "info");
        assert!(
            line.contains("INFO petiole::server: accepting clients=3\n"),
            "{line}"
        );
        assert!(!line.contains('\x1b'), "{line}");
    }

    #[test]
    fn names_that_clients_choose_begin_no_line_and_carry_no_control_character() {
        const EVIL: &str = "c\n2026-01-01 WARN forged\r\x1b[31m\u{9b}\u{202e} ms=0";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged_by(format, "info", || {
                tracing::info!(namespace = %EVIL, command = EVIL, why = ?Some(EVIL), "{EVIL}");
            });
            let line = text.strip_suffix('\n').expect("one line");
            let plain = |c: char| !c.is_control() && c != '\u{202e}';
            assert!(line.chars().all(plain), "{format:?}: {line:?}");
        }
    }

    #[test]
    fn directives_choose_levels_per_target() {
        let lines = logged(LogFormat::Text, "warn,petiole::advice=debug");
        assert!(
            lines.contains("an index") && !lines.contains("accepting"),
            "{lines}"
        );
    }

    #[test]
    fn a_level_that_is_no_filter_is_an_error() {
        let result = init(LogFormat::Text, "petiole=loud", "");
        assert!(matches!(result, Err(LogError::Filter(_))));
    }
}
