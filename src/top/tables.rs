//! The pages that are tables: rows, and below them the whole text of the one that is chosen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::Text;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap};
use serde_json::Value;

use super::model::Model;
use super::view::Tab;
use super::words::{bytes, count, micros, millis, number, percent, text};

/// A page's content.
struct Page {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
    /// What is said of a chosen row.
    details: Vec<String>,
    /// What is said if there are no rows.
    empty: String,
}

struct Column(&'static str, Constraint, Side);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

use Side::{Left, Right};

/// How many rows a page has.
pub(super) fn rows(tab: Tab, model: &Model) -> usize {
    page(tab, model).rows.len()
}

/// Lines that a page takes if nothing is left out.
pub(super) fn height(tab: Tab, model: &Model) -> usize {
    rows(tab, model).max(1) + 1
}

pub(super) fn draw(
    tab: Tab,
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    state: &mut TableState,
    live: bool,
) {
    let page = page(tab, model);
    if page.rows.is_empty() {
        let text = Paragraph::new(format!(" {}", page.empty)).wrap(Wrap { trim: false });
        return frame.render_widget(text.dim(), area);
    }
    if state.selected().is_none() && live {
        state.select(Some(0));
    }
    let below = if live { (area.height / 3).min(8) } else { 0 };
    let [list, detail] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(area);
    let line = |texts: Vec<String>| {
        let cells = texts.into_iter().zip(page.columns).map(|(text, column)| {
            let text = Text::from(text);
            Cell::from(match column.2 {
                Left => text,
                Right => text.right_aligned(),
            })
        });
        Row::new(cells.collect::<Vec<_>>())
    };
    let heads = page
        .columns
        .iter()
        .map(|column| column.0.to_owned())
        .collect();
    let table = Table::new(
        page.rows.into_iter().map(line),
        page.columns.iter().map(|column| column.1),
    )
    .header(line(heads).style(Style::new().add_modifier(Modifier::DIM)))
    .column_spacing(1)
    .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, list, state);
    if let Some(text) = state.selected().and_then(|at| page.details.get(at)) {
        let block = Block::new().borders(Borders::TOP);
        let text = Paragraph::new(text.as_str()).wrap(Wrap { trim: false });
        frame.render_widget(text.block(block), detail);
    }
}

fn page(tab: Tab, model: &Model) -> Page {
    match tab {
        Tab::Shapes | Tab::Overview => shapes(&model.world.shapes),
        Tab::Slow => slow(&model.world.slow),
        Tab::Advice => advice(&model.world.advice),
        Tab::Memory => memory(&model.world.memory),
        Tab::Servers => servers(model.status()),
    }
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

const SHAPES: &[Column] = &[
    Column(" Command", Constraint::Length(22), Left),
    Column("Shape", Constraint::Fill(1), Left),
    Column("Per s", Constraint::Length(6), Right),
    Column("Total", Constraint::Length(8), Right),
    Column("p50", Constraint::Length(8), Right),
    Column("p99", Constraint::Length(8), Right),
    Column("Memory", Constraint::Length(7), Right),
];

fn shapes(answer: &Value) -> Page {
    let shapes = list(answer, "shapes");
    let row = |s: &Value| {
        let hits =
            number(s, "/cache/hit").unwrap_or(0.0) + number(s, "/cache/joined").unwrap_or(0.0);
        let all = hits + number(s, "/cache/miss").unwrap_or(0.0);
        vec![
            format!(" {} {}", text(s, "command"), text(s, "namespace")),
            one_line(text(s, "shape")),
            count(number(s, "/per_second")),
            millis(number(s, "/total_ms")),
            millis(number(s, "/latency_ms/p50")),
            millis(number(s, "/latency_ms/p99")),
            percent((all > 0.0).then(|| 100.0 * hits / all)),
        ]
    };
    let detail = |s: &Value| {
        format!(
            " {} · {} calls, {} errors, p95 {}\n {}",
            text(s, "namespace"),
            count(number(s, "/count")),
            count(number(s, "/errors")),
            millis(number(s, "/latency_ms/p95")),
            text(s, "shape")
        )
    };
    Page {
        columns: SHAPES,
        rows: shapes.iter().map(row).collect(),
        details: shapes.iter().map(detail).collect(),
        empty: match answer {
            Value::Null => "Profiling is switched off.".to_owned(),
            _ => "No queries yet.".to_owned(),
        },
    }
}

const SLOW: &[Column] = &[
    Column(" At", Constraint::Length(10), Left),
    Column("Took", Constraint::Length(8), Right),
    Column("Command", Constraint::Length(22), Left),
    Column("Query", Constraint::Fill(1), Left),
    Column("Docs", Constraint::Length(6), Right),
    Column("Cache", Constraint::Length(6), Left),
];

fn slow(answer: &Value) -> Page {
    let slow = list(answer, "slow");
    let query = |s: &Value| match s.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => text(s, "shape").to_owned(),
    };
    let row = |s: &Value| {
        vec![
            format!(" {}", clock(text(s, "at"))),
            millis(number(s, "/ms")),
            format!("{} {}", text(s, "command"), text(s, "namespace")),
            one_line(&query(s)),
            count(number(s, "/documents")),
            text(s, "cache").to_owned(),
        ]
    };
    let detail = |s: &Value| {
        let size = bytes(number(s, "/bytes"));
        format!(
            " {} · {size} · {}\n {}",
            text(s, "at"),
            text(s, "namespace"),
            query(s)
        )
    };
    Page {
        columns: SLOW,
        rows: slow.iter().map(row).collect(),
        details: slow.iter().map(detail).collect(),
        empty: match number(answer, "/threshold_ms") {
            None => "The slow log is switched off.".to_owned(),
            limit => format!("No slow queries over {} yet.", millis(limit)),
        },
    }
}

const ADVICE: &[Column] = &[
    Column(" Do", Constraint::Length(8), Left),
    Column("Namespace", Constraint::Length(18), Left),
    Column("Index or command", Constraint::Fill(1), Left),
    Column("Examined", Constraint::Length(9), Right),
    Column("Returned", Constraint::Length(9), Right),
    Column("Calls", Constraint::Length(7), Right),
    Column("Time", Constraint::Length(8), Right),
];

fn advice(answer: &Value) -> Page {
    let advice = list(answer, "advice");
    let row = |a: &Value| {
        let what = match a.get("index") {
            Some(index) if !index.is_null() => index.to_string(),
            _ => text(a, "command").to_owned(),
        };
        vec![
            format!(" {}", text(a, "action")),
            text(a, "namespace").to_owned(),
            one_line(&what),
            count(number(a, "/examined")),
            count(number(a, "/returned")),
            count(number(a, "/calls")),
            millis(number(a, "/time_ms")),
        ]
    };
    let detail = |a: &Value| {
        let parts = ["command", "why", "effect", "cost"].map(|key| text(a, key));
        format!(" {}", parts.join("\n "))
    };
    Page {
        columns: ADVICE,
        rows: advice.iter().map(row).collect(),
        details: advice.iter().map(detail).collect(),
        empty: match answer {
            Value::Null => "Advice is switched off.".to_owned(),
            _ => "No index would help what is asked at the moment.".to_owned(),
        },
    }
}

const MEMORY: &[Column] = &[
    Column(" What", Constraint::Fill(1), Left),
    Column("Now", Constraint::Length(14), Right),
    Column("Oldest", Constraint::Length(12), Right),
];

fn memory(answer: &Value) -> Page {
    let mut rows = Vec::new();
    let mut line = |what: String, now: String, oldest: String| rows.push(vec![what, now, oldest]);
    if !answer.is_null() {
        line(
            " Resident".into(),
            bytes(number(answer, "/rss")),
            String::new(),
        );
        line(
            " Limit".into(),
            bytes(number(answer, "/limit")),
            String::new(),
        );
        line(
            " Pressure".into(),
            text(answer, "pressure").to_owned(),
            String::new(),
        );
        for (part, name) in [
            ("cache", "   cache"),
            ("buffers", "   buffers"),
            ("allocator_free", "   kept by the allocator"),
            ("other", "   other"),
        ] {
            let size = bytes(number(answer, &format!("/parts/{part}")));
            line(name.into(), size, String::new());
        }
        let trend = number(answer, "/trend_bytes_per_min");
        line(" Trend per minute".into(), bytes(trend), String::new());
        for object in list(answer, "objects") {
            let name = format!(" {}", text(object, "kind").replace('_', " "));
            let oldest = millis(number(object, "/oldest_ms"));
            line(name, count(number(object, "/live")), oldest);
        }
    }
    let leak = answer.get("leak").filter(|leak| !leak.is_null());
    let detail = leak.map(|leak| {
        let kind = text(leak, "kind");
        let growth = bytes(number(leak, "/bytes_per_min"));
        format!(
            " Suspected leak: {kind}, {growth} a minute since {}",
            text(leak, "since")
        )
    });
    Page {
        columns: MEMORY,
        details: vec![detail.unwrap_or_default(); rows.len()],
        rows,
        empty: "Memory isn't watched.".to_owned(),
    }
}

const SERVERS: &[Column] = &[
    Column(" Server", Constraint::Fill(1), Left),
    Column("Role", Constraint::Length(12), Left),
    Column("Round trip", Constraint::Length(11), Right),
    Column("Breaker", Constraint::Length(10), Left),
    Column("Error", Constraint::Fill(1), Left),
];

fn servers(status: &Value) -> Page {
    let servers = list(&status["upstream"], "servers");
    let row = |s: &Value| {
        vec![
            format!(" {}", text(s, "address")),
            text(s, "role").to_owned(),
            micros(number(s, "/rtt_us")),
            text(s, "breaker").replace('_', " "),
            one_line(text(s, "error")),
        ]
    };
    let details = servers.iter().map(|s| format!(" {}", text(s, "error")));
    Page {
        columns: SERVERS,
        rows: servers.iter().map(row).collect(),
        details: details.collect(),
        empty: "No server is known yet.".to_owned(),
    }
}

/// Text in one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The time of day of an ISO-8601 time, as it is (UTC).
fn clock(time: &str) -> &str {
    time.split_once('T')
        .and_then(|(_, rest)| rest.get(..8))
        .unwrap_or(time)
}
