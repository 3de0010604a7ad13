//! The only place that prints. Results go to standard output, progress and complaints to standard
//! error; colours and a moving bar only on a terminal.

use std::cell::OnceCell;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::wallclock::Stopwatch;

/// Between two plain lines of progress where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Where words go.
#[derive(Debug)]
pub struct Report {
    colours: bool,
    bar: Option<ProgressBar>,
    plain: Option<(Stopwatch, Duration)>,
    /// The first error of standard output.
    broken: OnceCell<io::Error>,
}

impl Default for Report {
    fn default() -> Self {
        let broken = OnceCell::new();
        Self { colours: io::stdout().is_terminal(), bar: None, plain: None, broken }
    }
}

impl Report {
    /// A line of the result.
    pub fn line(&self, text: impl Display) {
        self.text(&format!("{text}\n"));
    }

    /// Text of the result that ends its own lines.
    pub fn text(&self, text: &str) {
        self.beside_bar(|| {
            let mut out = io::stdout().lock();
            if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                // The first one counts.
                let _ = self.broken.set(error);
            }
        });
    }

    /// Why a part of the result was lost, if somebody wanted it: not when nobody reads any more
    /// (`| head`).
    #[must_use]
    pub fn lost(&self) -> Option<&io::Error> {
        self.broken.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    /// A line for the person at the terminal, not part of the result.
    pub fn note(&self, text: impl Display) {
        self.beside_bar(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// `PASS`, green on a terminal.
    #[must_use]
    pub fn pass(&self, word: &str) -> String {
        self.coloured("32", word)
    }

    /// `FAIL`, red on a terminal.
    #[must_use]
    pub fn fail(&self, word: &str) -> String {
        self.coloured("1;31", word)
    }

    /// Less important, gray on a terminal.
    #[must_use]
    pub fn aside(&self, word: &str) -> String {
        self.coloured("2", word)
    }

    fn coloured(&self, code: &str, word: &str) -> String {
        if self.colours { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// Begins to show progress: a bar on a terminal (`length`, if known, is what is full), else a
    /// plain line now and then.
    pub fn begin_progress(&mut self, length: Option<u64>) {
        if !io::stderr().is_terminal() {
            self.plain = Some((Stopwatch::new(), PLAIN_EVERY));
            return;
        }
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), "{bar:24.cyan/blue} {percent:>3}% {msg}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a constant"));
        self.bar = Some(bar);
    }

    /// Shows how far it is; `text` is made only when it is shown.
    pub fn progress(&mut self, at: u64, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(at);
            bar.set_message(text());
        } else if let Some((since, next)) = &mut self.plain
            && since.elapsed() >= *next
        {
            *next = since.elapsed() + PLAIN_EVERY;
            self.note(text());
        }
    }

    /// No more progress to show.
    pub fn end_progress(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.plain = None;
    }

    fn beside_bar(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// A number with thin groups of three: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `part` of `whole` in per cent with one digit: `63.2 %`. Whole numbers only.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    let per_mille = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// `count` per second with one digit.
#[must_use]
pub fn rate(count: u64, during: Duration) -> String {
    let tenths = u128::from(count) * 10_000_000 / during.as_micros().max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Simulated time in the unit that suits it.
#[must_use]
pub fn simulated(us: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", us / unit, us % unit / (unit / 10));
    match us {
        0..60_000_000 => format!("{} s", tenths(1_000_000)),
        60_000_000..3_600_000_000 => format!("{} min", tenths(60_000_000)),
        _ => format!("{} h", tenths(3_600_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_numbers_are_written_for_people() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1_000, 1_234_567].map(grouped)[..]);
        assert_eq!(share(632, 1_000), "63.2 %");
        assert_eq!(share(0, 0), "0.0 %");
        assert_eq!(rate(205, Duration::from_secs(10)), "20.5");
        assert_eq!(simulated(59_900_000), "59.9 s");
        assert_eq!(simulated(90_000_000), "1.5 min");
        assert_eq!(simulated(36_360_000_000), "10.1 h");
    }
}
