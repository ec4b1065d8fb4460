//! The screen: a line that says how things are, tabs, and the page that is open.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Sparkline, TableState, Tabs, Wrap};

use super::model::{Model, State};
use super::tables;
use super::words::{self, Words, number};

/// The one colour.
pub(super) const ACCENT: Color = Color::Green;

/// A page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Overview,
    Shapes,
    Slow,
    Advice,
    Memory,
    Servers,
}

impl Tab {
    pub const ALL: [Tab; 6] = [
        Tab::Overview,
        Tab::Shapes,
        Tab::Slow,
        Tab::Advice,
        Tab::Memory,
        Tab::Servers,
    ];

    fn title(self) -> &'static str {
        match self {
            Tab::Overview => "Overview",
            Tab::Shapes => "Shapes",
            Tab::Slow => "Slow",
            Tab::Advice => "Advice",
            Tab::Memory => "Memory",
            Tab::Servers => "Servers",
        }
    }
}

#[derive(Default)]
pub(super) struct View {
    tab: Tab,
    help: Help,
    form: Form,
    rows: TableState,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Help {
    #[default]
    Closed,
    Open,
}

/// Whether somebody can press keys.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Live,
    Plain,
}

impl View {
    /// A page by itself, for paper.
    pub fn plain(tab: Tab) -> View {
        View {
            tab,
            form: Form::Plain,
            ..View::default()
        }
    }

    /// Lines that a page by itself takes.
    pub fn height(tab: Tab, model: &Model) -> u16 {
        let lines = match tab {
            Tab::Overview => FIGURES.len() + 3,
            _ => tables::height(tab, model) + 2,
        };
        u16::try_from(lines.min(200)).unwrap_or(u16::MAX)
    }

    pub fn toggle_help(&mut self) {
        self.help = match self.help {
            Help::Closed => Help::Open,
            Help::Open => Help::Closed,
        };
    }

    /// Closes the help; whether it was open.
    pub fn close_help(&mut self) -> bool {
        std::mem::replace(&mut self.help, Help::Closed) == Help::Open
    }

    /// Goes so many tabs on.
    pub fn turn(&mut self, by: isize) {
        let at = Tab::ALL.iter().position(|t| *t == self.tab).unwrap_or(0);
        let to = at.cast_signed() + by;
        let to = to.rem_euclid(Tab::ALL.len().cast_signed()).cast_unsigned();
        self.tab = Tab::ALL[to];
        self.rows = TableState::default();
    }

    /// Opens a tab by its number.
    pub fn open(&mut self, digit: char) {
        let number = digit.to_digit(10).unwrap_or(1) as usize;
        if let Some(tab) = Tab::ALL.get(number.saturating_sub(1)) {
            self.tab = *tab;
            self.rows = TableState::default();
        }
    }

    /// Moves the selection.
    pub fn select(&mut self, by: isize, model: &Model) {
        let rows = tables::rows(self.tab, model);
        let Some(last) = rows.checked_sub(1) else {
            return;
        };
        let to = match self.rows.selected() {
            None => 0,
            Some(at) => at.saturating_add_signed(by).min(last),
        };
        self.rows.select(Some(to));
    }

    pub fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let [head, tabs, page] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(1),
        ])
        .areas(frame.area());
        match self.form {
            Form::Live => {
                frame.render_widget(headline(model), head);
                frame.render_widget(self.tabs(), tabs);
            }
            Form::Plain if self.tab == Tab::Overview => {
                frame.render_widget(headline(model), head);
            }
            Form::Plain => {
                let title = self.tab.title().to_uppercase();
                frame.render_widget(Line::from(title).bold(), tabs);
            }
        }
        if matches!(model.state, State::Connecting) || model.status().is_null() {
            return waiting(frame, page, model);
        }
        match self.tab {
            Tab::Overview => overview(frame, page, model),
            tab => tables::draw(
                tab,
                frame,
                page,
                model,
                &mut self.rows,
                self.form == Form::Live,
            ),
        }
        if self.help == Help::Open {
            help(frame);
        }
    }

    fn tabs(&self) -> Tabs<'static> {
        let titles = Tab::ALL.iter().enumerate();
        let titles = titles.map(|(i, tab)| format!("{} {}", i + 1, tab.title()));
        let at = Tab::ALL.iter().position(|t| *t == self.tab);
        Tabs::new(titles)
            .select(at)
            .divider("")
            .style(Style::new().add_modifier(Modifier::DIM))
            .highlight_style(
                Style::new()
                    .fg(ACCENT)
                    .add_modifier(Modifier::BOLD)
                    .remove_modifier(Modifier::DIM),
            )
    }
}

fn headline(model: &Model) -> Line<'static> {
    let status = model.status();
    let name = Span::from(format!(" Petiole {} ", words::text(status, "version"))).bold();
    let place = Span::from(format!("{} ", model.address));
    let state = match &model.state {
        State::Connecting => Span::from("connecting…"),
        State::Live => {
            let clients = words::count(number(status, "/clients/open"));
            Span::from(format!("● live · {clients} clients")).fg(ACCENT)
        }
        State::Lost { since, reason } => {
            let seconds = since.elapsed().as_secs();
            Span::from(format!("✕ lost for {seconds} s, trying again: {reason}")).fg(Color::Yellow)
        }
    };
    Line::from(vec![name, place, state])
}

fn waiting(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let text = match &model.state {
        State::Lost { reason, .. } => format!(
            "{reason}\n\nTrying again every second. Is the proxy running, and is its admin.listen {}?",
            model.address
        ),
        _ => format!("Asking {}…", model.address),
    };
    let block = Block::new().padding(Padding::uniform(1));
    frame.render_widget(
        Paragraph::new(text).wrap(Wrap { trim: true }).block(block),
        area,
    );
}

/// One line of the overview.
struct Figure {
    label: &'static str,
    words: Words,
    value: fn(&Model) -> Vec<Option<f64>>,
}

const FIGURES: &[Figure] = &[
    figure("Requests", words::rate, |m| m.series("requests")),
    figure("  from memory", words::rate, |m| m.series("hits")),
    figure("  reads from a server", words::rate, |m| m.series("reads")),
    figure("  writes", words::rate, |m| m.series("writes")),
    figure("Hit ratio", words::percent, hit_ratio),
    figure("Invalidations", words::rate, |m| m.series("invalidations")),
    figure("Hit, median", words::micros, |m| m.series("hit_p50_us")),
    figure("Hit, p99", words::micros, |m| m.series("hit_p99_us")),
    figure("Server read, median", words::micros, |m| {
        m.series("read_p50_us")
    }),
    figure("Server read, p99", words::micros, |m| {
        m.series("read_p99_us")
    }),
    figure("Write, median", words::micros, |m| m.series("write_p50_us")),
    figure("Write, p99", words::micros, |m| m.series("write_p99_us")),
    figure("Inserts per command", words::count, batch_size),
    figure("Links", words::count, |m| m.series("links")),
    figure("Waiting for a link", words::count, |m| m.series("waiting")),
    figure("Retries", words::rate, retries),
    figure("Own errors", words::rate, |m| m.series("failures")),
    figure("Change stream lag", words::millis, |m| m.series("lag_ms")),
    figure("Memory", words::bytes, |m| m.series("rss")),
    figure("  of it the cache", words::bytes, |m| {
        m.series("cache_bytes")
    }),
];

const fn figure(
    label: &'static str,
    words: Words,
    value: fn(&Model) -> Vec<Option<f64>>,
) -> Figure {
    Figure {
        label,
        words,
        value,
    }
}

fn hit_ratio(model: &Model) -> Vec<Option<f64>> {
    let (hits, joins) = (model.series("cache_hits"), model.series("cache_joins"));
    let misses = model.series("cache_misses");
    let each = hits.iter().zip(&joins).zip(&misses);
    each.map(|((hits, joins), misses)| {
        let good = (*hits)? + joins.unwrap_or(0.0);
        let all = good + misses.unwrap_or(0.0);
        (all > 0.0).then(|| 100.0 * good / all)
    })
    .collect()
}

fn batch_size(model: &Model) -> Vec<Option<f64>> {
    let (writes, commands) = (
        model.series("batched_writes"),
        model.series("batch_commands"),
    );
    let each = writes.iter().zip(&commands);
    each.map(|(writes, commands)| match ((*writes)?, (*commands)?) {
        (writes, commands) if commands > 0.0 => Some(writes / commands),
        _ => None,
    })
    .collect()
}

fn retries(model: &Model) -> Vec<Option<f64>> {
    let kinds = ["read_retries", "write_retries", "overload_retries"].map(|k| model.series(k));
    let [reads, writes, overloads] = kinds;
    let each = reads.iter().zip(&writes).zip(&overloads);
    each.map(|((a, b), c)| Some((*a)? + (*b)? + (*c)?))
        .collect()
}

fn overview(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let shown = FIGURES.len().min(usize::from(area.height));
    let lines = Layout::vertical(vec![Constraint::Length(1); shown]).split(area);
    for (figure, line) in FIGURES.iter().zip(lines.iter()) {
        let [label, value, curve] = Layout::horizontal([
            Constraint::Length(22),
            Constraint::Length(11),
            Constraint::Fill(1),
        ])
        .spacing(1)
        .areas(*line);
        let values = (figure.value)(model);
        let newest = values.last().copied().flatten();
        frame.render_widget(Line::from(format!(" {}", figure.label)).dim(), label);
        let text = Line::from((figure.words)(newest)).bold().right_aligned();
        frame.render_widget(text, value);
        frame.render_widget(sparkline(&values, usize::from(curve.width)), curve);
    }
}

/// The last of a series, as wide as there is room.
fn sparkline(values: &[Option<f64>], width: usize) -> Sparkline<'static> {
    let last = &values[values.len().saturating_sub(width)..];
    let bars = last.iter().map(|v| v.map(|v| (v * 100.0).max(0.0) as u64));
    Sparkline::default()
        .data(bars.collect::<Vec<Option<u64>>>())
        .absent_value_symbol(" ")
        .style(Style::new().fg(ACCENT))
}

fn help(frame: &mut Frame<'_>) {
    let text = "Tab  →  ←  1–6   turn to another page\n\
                ↑  ↓  PgUp  PgDn  choose a line; its whole text is below\n\
                ?               this help\n\
                q  Esc          leave\n\n\
                Figures are those of the last second, curves the time before.\n\
                The same in a browser: the address above.";
    let area = frame
        .area()
        .centered(Constraint::Max(66), Constraint::Max(11));
    let block = Block::bordered()
        .title(" petiole top ")
        .padding(Padding::uniform(1));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::super::source::{News, World};
    use super::*;

    fn screen(view: &mut View, model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame, model)).unwrap();
        super::super::plain(terminal.backend().buffer())
    }

    fn live() -> Model {
        let mut model = Model::new("127.0.0.1:9216");
        let series = json!({"requests": [10, 20], "hit_p50_us": [null, 30]});
        model.past(&json!({"fine": {"at": [1, 2], "series": series}}));
        let shape = json!({"namespace": "shop.users", "command": "find", "shape": "{age: ?}", "count": 5,
            "errors": 0, "per_second": 2.5, "total_ms": 12.0, "latency_ms": {"p50": 0.03, "p95": 1.0, "p99": 2.0},
            "cache": {"hit": 3, "miss": 1, "joined": 0, "bypass": 0}});
        let world = World {
            snapshot: json!({"at": 3, "sample": {"requests": 1234.0}, "status": {
                "version": "0.1.0", "clients": {"open": 7}}}),
            shapes: json!({"shapes": [shape]}),
            slow: json!({"threshold_ms": 100, "slow": []}),
            ..World::default()
        };
        model.learn(News::Answer(Box::new(world)));
        model
    }

    #[test]
    fn the_overview_fits_a_small_terminal() {
        let text = screen(&mut View::default(), &live(), 80, 24);
        for part in [
            "● live · 7 clients",
            "Requests",
            "1234/s",
            "of it the cache",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn tables_show_their_rows_and_empty_ones_say_so() {
        let model = live();
        let mut view = View::default();
        view.turn(1);
        let shapes = screen(&mut view, &model, 80, 24);
        for part in ["shop.users", "{age: ?}", "75.0 %"] {
            assert!(shapes.contains(part), "{part:?} is missing in\n{shapes}");
        }
        view.turn(1);
        let slow = screen(&mut view, &model, 80, 24);
        assert!(slow.contains("No slow queries over 100.0 ms yet"), "{slow}");
    }

    #[test]
    fn a_proxy_that_cannot_be_reached_is_said_in_words() {
        let mut model = Model::new("10.0.0.1:9216");
        let reason = "no proxy answers at 10.0.0.1:9216: refused";
        model.learn(News::Lost(reason.to_owned()));
        let text = screen(&mut View::default(), &model, 100, 24);
        assert!(
            text.contains(reason) && text.contains("Trying again"),
            "{text}"
        );
    }

    #[test]
    fn every_size_of_a_terminal_can_be_drawn_on() {
        let model = live();
        for (width, height) in [(1, 1), (20, 3), (40, 10), (300, 100)] {
            for tab in Tab::ALL {
                let mut view = View {
                    tab,
                    ..View::default()
                };
                view.toggle_help();
                screen(&mut view, &model, width, height);
            }
        }
    }
}
