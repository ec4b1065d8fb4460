//! `petiole top`: what a running proxy does, in a terminal.
//!
//! It asks the admin HTTP as the dashboard does, once a second in a thread of its own, so that a
//! proxy that doesn't answer never holds up a key. A proxy that can't be reached is said in words
//! and tried again.
//!
//! - `source.rs`: asking. `model.rs`: what was answered, and the past. `view.rs`, `tables.rs`: drawing.
//! - `words.rs`: numbers as people read them. `ending.rs`: signals, and terminals that go away.

mod ending;
mod model;
mod source;
mod tables;
mod view;
mod words;

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::ending::ending;
use self::model::Model;
use self::source::{News, Source};
use self::view::{Tab, View};

/// `petiole top`.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Address of the proxy's HTTP side, as admin.listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9216")]
    admin: String,
    /// The proxy's admin.token; better given as PETIOLE_ADMIN_TOKEN, which other users can't see
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print one picture of everything as plain text, and end
    #[arg(long)]
    once: bool,
}

/// Runs until the user quits. Without a terminal it prints once.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let token = args.token.clone();
    let token = token.or_else(|| std::env::var("PETIOLE_ADMIN_TOKEN").ok());
    let source = Source::new(&args.admin, token);
    match args.once || !std::io::stdout().is_terminal() {
        true => once(&source),
        false => live(source),
    }
}

fn once(source: &Source) -> anyhow::Result<()> {
    let mut model = Model::new(source.address());
    model.past(&source.history()?);
    model.learn(News::Answer(Box::new(source.world()?)));
    let mut text = String::new();
    for tab in Tab::ALL {
        let height = View::height(tab, &model).max(4);
        let mut terminal = Terminal::new(TestBackend::new(ONCE_WIDTH, height))?;
        let mut view = View::plain(tab);
        terminal.draw(|frame| view.draw(frame, &model))?;
        text.push_str(&plain(terminal.backend().buffer()));
        text.push('\n');
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()) {
        // `petiole top | head` is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The text of a picture, without what is empty at its right and below.
fn plain(picture: &Buffer) -> String {
    let width = usize::from(picture.area.width).max(1);
    let symbols: Vec<&str> = picture.content.iter().map(|cell| cell.symbol()).collect();
    let lines = symbols
        .chunks(width)
        .map(|line| line.concat().trim_end().to_owned());
    let lines: Vec<String> = lines.collect();
    let used = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |i| i + 1);
    lines
        .iter()
        .take(used)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn live(source: Source) -> anyhow::Result<()> {
    let mut model = Model::new(source.address());
    let ending = ending()?;
    let news = follow(source);
    // Puts the terminal back also when something panics.
    let mut terminal = ratatui::try_init()?;
    let ended = turn(&mut terminal, &mut model, &news, &ending);
    let restored = ratatui::try_restore();
    ended?;
    Ok(restored?)
}

fn turn(
    terminal: &mut ratatui::DefaultTerminal,
    model: &mut Model,
    news: &Receiver<News>,
    ending: &Receiver<()>,
) -> anyhow::Result<()> {
    let mut view = View::default();
    let mut drawn: Option<Instant> = None;
    while ending.try_recv().is_err() {
        let mut changed = drawn.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        for piece in news.try_iter() {
            model.learn(piece);
            changed = true;
        }
        if changed {
            terminal.draw(|frame| view.draw(frame, model))?;
            drawn = Some(Instant::now());
        }
        if event::poll(GLANCE)? {
            drawn = None;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && press(&mut view, model, key) == Then::Quit
            {
                break;
            }
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Quit,
}

fn press(view: &mut View, model: &Model, key: KeyEvent) -> Then {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Then::Quit,
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Esc if !view.close_help() => return Then::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => view.toggle_help(),
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => view.turn(1),
        KeyCode::BackTab | KeyCode::Left => view.turn(-1),
        KeyCode::Char(digit @ '1'..='9') => view.open(digit),
        KeyCode::Down | KeyCode::Char('j') => view.select(1, model),
        KeyCode::Up | KeyCode::Char('k') => view.select(-1, model),
        KeyCode::PageDown => view.select(10, model),
        KeyCode::PageUp => view.select(-10, model),
        KeyCode::Home => view.select(isize::MIN, model),
        KeyCode::End => view.select(isize::MAX, model),
        _ => {}
    }
    Then::Stay
}

/// Asks once a second, until nobody listens.
fn follow(source: Source) -> Receiver<News> {
    let (tell, news) = channel();
    std::thread::spawn(move || {
        let mut knows_past = false;
        loop {
            let began = Instant::now();
            // The past first, and again after a break: the proxy went on recording.
            let asked = match knows_past {
                true => source.world().map(|world| News::Answer(Box::new(world))),
                false => source.history().map(News::Past),
            };
            let (piece, wait) = match asked {
                Ok(piece @ News::Past(_)) => {
                    knows_past = true;
                    (piece, Duration::ZERO)
                }
                Ok(piece) => (
                    piece,
                    Duration::from_secs(1).saturating_sub(began.elapsed()),
                ),
                Err(error) => {
                    knows_past = false;
                    (News::Lost(error.to_string()), Duration::from_secs(1))
                }
            };
            if tell.send(piece).is_err() {
                return;
            }
            std::thread::sleep(wait);
        }
    });
    news
}

/// How long a key may wait for news.
const GLANCE: Duration = Duration::from_millis(100);
const ONCE_WIDTH: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_turn_pages_and_quit() {
        let model = Model::new("127.0.0.1:9216");
        let mut view = View::default();
        let mut hit = |code| press(&mut view, &model, KeyEvent::new(code, KeyModifiers::NONE));
        for code in [
            KeyCode::Tab,
            KeyCode::Char('?'),
            KeyCode::Down,
            KeyCode::Char('3'),
        ] {
            assert_eq!(hit(code), Then::Stay);
        }
        assert_eq!(hit(KeyCode::Esc), Then::Stay, "closes the help");
        assert_eq!(hit(KeyCode::Esc), Then::Quit);
        assert_eq!(hit(KeyCode::Char('q')), Then::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut view, &model, control_c), Then::Quit);
    }
}
