//! `kinetail top`: the status page in a terminal, of an agent whose admin server can be reached. What is on the screen is in `top.rs`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::{EXIT_FAILED, answer, complain, healthcheck, runtime};
use crate::ask;
use crate::top::Screen;

/// How long an answer may take: as long as until the next question, about.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The size of what is printed once.
const PRINTED: (u16, u16) = (110, 50);

/// Which agent, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TopArgs {
    /// Where the admin server listens; by default where the configuration says
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The agent's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How often it is asked
    #[arg(long, value_name = "TIME", default_value = "2s")]
    every: humantime::Duration,
    /// Print it once, as text
    #[arg(long)]
    once: bool,
}

/// Shows it until somebody has seen enough.
pub(super) fn top(args: &TopArgs, environment: BTreeMap<String, String>) -> ExitCode {
    let url = match healthcheck::address(args.admin.as_deref(), args.config.as_ref(), environment) {
        Ok(address) => format!("http://{address}/status?history"),
        Err(problem) => return complain(&problem, EXIT_FAILED),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    };
    if args.once {
        let mut screen = Screen::default();
        return match ask(&runtime, &url, &mut screen) {
            Ok(()) => answer(&screen.lines(PRINTED.0, PRINTED.1)),
            Err(why) => complain(&why, EXIT_FAILED),
        };
    }
    if !std::io::stdout().is_terminal() {
        return complain(&"stdout is no terminal; --once prints the page as text", EXIT_FAILED);
    }
    match show(&runtime, &url, args.every.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format_args!("the terminal cannot be used: {error}"), EXIT_FAILED),
    }
}

/// Asks once. The screen shows what came, or why nothing did.
fn ask(runtime: &Runtime, url: &str, screen: &mut Screen) -> Result<(), String> {
    let why = match runtime.block_on(ask::get(url, TIMEOUT)) {
        Ok(reply) if reply.status == 200 => {
            screen.update(&reply.body);
            return Ok(());
        }
        Ok(reply) => format!("{url} answered {}", reply.status),
        Err(error) => error.to_string(),
    };
    screen.fail(why.clone());
    Err(why)
}

fn show(runtime: &Runtime, url: &str, every: Duration) -> std::io::Result<()> {
    let mut screen = Screen::default();
    let mut terminal = ratatui::try_init()?;
    let shown = (|| {
        let mut due = Instant::now();
        loop {
            if due <= Instant::now() {
                // The screen says what went wrong.
                ask(runtime, url, &mut screen).ok();
                due = Instant::now() + every;
            }
            terminal.draw(|frame| screen.draw(frame.area(), frame.buffer_mut()))?;
            if event::poll(due.saturating_duration_since(Instant::now()))? && is_enough(&event::read()?) {
                return Ok(());
            }
        }
    })();
    ratatui::try_restore()?;
    shown
}

/// Whether somebody has seen enough.
fn is_enough(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (is_break || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}
