//! What the bot says of log lines: a page of them, and why there is none.
//!
//! Pure. A page is a block in a fixed-width face, short enough to be read on a phone; what had to be cut stands whole in a file
//! beside it. Times are the team's.

use std::fmt::Write as _;

use chrono::TimeDelta;
use chrono_tz::Tz;

use crate::domain::answer::sentence;
use crate::domain::draft::Ctx;
use crate::domain::logs::follow::{Batch, FOLLOWED_FOR, FOLLOWED_LINES_MAX, Heard, Over};
use crate::domain::logs::{Ask, Filter, Found, Line, Reach, SERVICES_MAX, filter};
use crate::domain::message::{ButtonStyle, File, Message, Text};
use crate::domain::verbs::logs::{Turn, Wanted};
use crate::domain::workspace::Stage;

/// Room for the lines of a page in a message, in UTF-16 units: a chat takes 2,000, and the head and what escapes need some.
const BLOCK_UNITS_MAX: usize = 1_500;
/// What a line's own words are cut to, in characters: the first of these with which the page fits.
const CUTS: [usize; 8] = [600, 400, 250, 160, 110, 80, 60, 40];

/// There is no such filter.
pub fn no_filter(word: &str) -> String {
    let words: Vec<&str> = Filter::ALL.iter().map(|one| one.word()).collect();
    format!("“{}” is no filter. There are: {}.", super::short(word, 20), words.join(", "))
}

/// More services than one question is about.
pub fn too_many(count: usize) -> String {
    format!(
        "That is {count} services; I look at {SERVICES_MAX} at once. Name those that you mean, with commas between."
    )
}

/// None of them runs at the host.
pub fn no_app(services: &str, stage: Stage) -> String {
    format!(
        "{services} has no Fly app for {} in watchbell.toml: add fly_app to it, and I can read its logs.",
        stage.name()
    )
}

/// There is nothing to look with.
pub fn no_token() -> String {
    "I have no token to read logs with. Make one with `fly tokens create readonly`, give it to me in the environment as \
     `FLY_READ_TOKEN`, and start me again."
        .to_owned()
}

/// The same for whoever typed it in a terminal.
pub fn no_token_here() -> String {
    "FLY_READ_TOKEN is not set: make a token with “fly tokens create readonly” and give it to me in the environment"
        .to_owned()
}

/// The host does not say.
pub fn silent(says: &str, app: &str) -> String {
    format!("I could not read the logs: {says}. Try again in a moment, or ask Fly yourself: `fly logs --app {app}`")
}

/// It took too long.
pub fn too_slow(app: &str) -> String {
    format!("I could not read the logs in time. Try again in a moment, or ask Fly yourself: `fly logs --app {app}`")
}

/// A page for everybody, while observing.
pub fn not_live() -> String {
    "I only observe, and post nothing for everybody before somebody has said `/watchbell live`.".to_owned()
}

/// Under a page that everybody sees.
pub fn shown_by(name: &str) -> String {
    format!("Shown by {name}.")
}

/// Enough threads are written into already.
pub fn enough_followed(count: usize) -> String {
    format!("{count} threads are written into already; press Stop on one that nobody reads any more.")
}

/// What whoever wanted lines followed is told.
pub fn follows(is_here: bool) -> Text {
    let place = if is_here { "a thread here" } else { "the test channel, since I am not live" };
    let (minutes, lines) = (FOLLOWED_FOR.num_minutes(), FOLLOWED_LINES_MAX);
    Text::plain(format!("I post what comes from now on in {place}, for {minutes} min or {lines} lines."))
}

/// What is followed, in a few words: "errors of checkout".
fn followed(wanted: &Wanted) -> String {
    let what = match wanted.filter {
        Filter::Errors => "errors",
        Filter::Slow => "slow answers",
        Filter::Health => "health",
        Filter::All => "all lines",
    };
    let services = wanted.services.replace(',', ", ");
    let stage = if wanted.stage == Stage::Staging { " (staging)" } else { "" };
    let words = wanted.contains.as_ref().map_or(String::new(), |words| format!(" with “{words}”"));
    format!("{what} of {services}{stage}{words}")
}

/// What the thread is called.
pub fn thread_title(wanted: &Wanted) -> String {
    format!("Logs of {}", wanted.services.replace(',', ", "))
}

/// The message that the thread hangs under, with the button that ends it.
pub fn head_of_thread(wanted: &Wanted, by: &str, stop: String) -> Message {
    let (minutes, lines) = (FOLLOWED_FOR.num_minutes(), FOLLOWED_LINES_MAX);
    let what = followed(wanted);
    let line =
        format!("Following {what} for {by}: the next {minutes} min, {lines} lines at most. A restart of mine ends it.");
    Message::line(line).button(stop, "Stop", ButtonStyle::Plain)
}

/// The same once it is over.
pub fn head_over(wanted: &Wanted, by: &str, why: &str) -> String {
    format!("Followed {} for {by}: {why}.", followed(wanted))
}

/// "stopped by ben".
pub fn stopped_by(name: &str) -> String {
    format!("stopped by {name}")
}

/// A press on Stop that comes too late.
pub fn not_followed() -> &'static str {
    "That is not followed any more."
}

/// Why it is over, as it stands behind a colon.
pub fn why_over(over: Over) -> String {
    match over {
        Over::Time => format!("{} min are over", FOLLOWED_FOR.num_minutes()),
        Over::Lines => format!("{FOLLOWED_LINES_MAX} lines were posted"),
        Over::Stopped => "stopped".to_owned(),
        Over::Lost => "Fly does not tell them any more".to_owned(),
    }
}

/// The last message of the thread.
pub fn over(over: Over, shown: usize, unsaid: usize, wanted: &Wanted) -> Message {
    let why = super::capital(&why_over(over));
    let rest = if unsaid == 0 { String::new() } else { format!(", {} not shown", counted(unsaid)) };
    let again = if over == Over::Stopped { String::new() } else { format!(" `{}` goes on.", again(wanted)) };
    Message::line(sentence(&format!("{why}: {} posted{rest}.{again}", counted(shown))))
}

/// What is said in place of a thread that a restart has ended.
pub fn broken_off(wanted: &Wanted, by: &str) -> Message {
    let (what, again) = (followed(wanted), again(wanted));
    Message::line(sentence(&format!(
        "I was restarted, and what {by} had followed has ended: {what}. `{again}` begins anew."
    )))
}

/// The command that begins it anew.
fn again(wanted: &Wanted) -> String {
    let stage = if wanted.stage == Stage::Staging { " stage:staging" } else { "" };
    let words =
        wanted.contains.as_ref().map_or(String::new(), |words| format!(" contains:{}", words.replace('`', "'")));
    format!("/logs service:{} filter:{}{stage}{words} follow:True", wanted.services, wanted.filter.word())
}

/// Lines that have come, for a thread. `ahead`: how far promise time is ahead of the host's clock.
pub fn batch(batch: &Batch, zone: Tz, has_service: bool, ahead: TimeDelta) -> Message {
    let found = Found { lines: batch.lines.clone(), ahead, ..Found::default() };
    let face = Face { found: &found, zone, has_date: false };
    let (block, is_cut) = block(&face, has_service);
    let mut message = Message::default();
    if !block.is_empty() {
        message = message.and(Text::default().code(block));
    }
    if is_cut {
        let text = found.lines.iter().map(|line| face.line(line, has_service, usize::MAX).0 + "\n").collect();
        message.files.push(File { name: "logs.txt".to_owned(), text });
    }
    if batch.left_out > 0 {
        message = message.and(format!("{} more came than I can post here; /logs shows them.", counted(batch.left_out)));
    }
    for news in &batch.news {
        let line = match news {
            Heard::Silent(service, says) => format!("✗ {service} does not tell its lines: {says}. I go on asking."),
            Heard::Back(service) => format!("✓ {service} tells its lines again."),
            Heard::Lost(service, says) => format!("✗ {service} does not tell its lines: {says}. I ask no more."),
            Heard::Lines(_) => continue,
        };
        message = message.and(Text::plain(line));
    }
    message
}

/// A page of lines.
pub fn page(ctx: &Ctx<'_>, wanted: &Wanted, ask: &Ask, found: &Found) -> Message {
    let zone = ctx.workspace.team.zone;
    let (services, face) = (ask.of.len() > 1, Face { found, zone, has_date: has_date(ctx, found) });
    let mut message = Message::line(Text::plain(head(wanted, ask, &face)));
    let (block, is_cut) = block(&face, services);
    if !block.is_empty() {
        message = message.and(Text::default().code(block));
    }
    let note = notes(&face, is_cut);
    if !note.is_empty() {
        message = message.and(Text::plain(note));
    }
    for (service, says) in &found.silent {
        message = message.and(sentence(&format!("✗ {service} does not tell its lines: {says}")));
    }
    if is_cut {
        let text = found.lines.iter().map(|line| face.line(line, services, usize::MAX).0 + "\n").collect();
        message.files.push(File { name: format!("logs-{}.txt", wanted.services.replace(',', "-")), text });
    }
    message
}

/// The newest errors of what an incident touches. The lines themselves go on no record.
pub fn last_errors(ctx: &Ctx<'_>, wanted: &Wanted, ask: &Ask, found: &Found) -> Message {
    let zone = ctx.workspace.team.zone;
    let face = Face { found, zone, has_date: has_date(ctx, found) };
    let mut line = Text::plain(match ask.reach {
        Reach::Last(span) if found.is_whole && found.lines.is_empty() => {
            let services = wanted.services.replace(',', ", ");
            format!("{services}: no errors in the log of the last {}.", in_words(span))
        }
        _ => head(wanted, ask, &face),
    });
    let (block, is_cut) = block(&face, ask.of.len() > 1);
    if !block.is_empty() {
        let more = format!("/logs service:{} filter:{}", wanted.services, wanted.filter.word());
        line = line.text(" More: ").code(more).text(".");
    }
    let mut message = Message::line(line);
    for (service, says) in &found.silent {
        message = message.and(sentence(&format!("✗ {service} does not tell its lines: {says}")));
    }
    if !block.is_empty() {
        let cut = if is_cut { " Long lines are cut." } else { "" };
        message.passing = vec![Text::default().code(block), Text::plain(format!("{}{cut}", notes(&face, false)))];
    }
    message
}

/// Why an incident's thread has no errors.
pub fn no_errors_read(says: &str) -> Text {
    sentence(&format!("✗ The last errors could not be read: {says}"))
}

/// The buttons under a page.
#[must_use]
pub fn with_buttons(mut message: Message, wanted: &Wanted, reach: Reach, found: &Found) -> Message {
    let (older, newer) = (Turn::Page(Reach::Before(found.from_ns)), Turn::Page(Reach::After(found.until_ns)));
    // Before what is whole there is nothing that is kept; before a span there may be.
    if !(found.is_whole && matches!(reach, Reach::Before(_))) {
        message = message.button(wanted.action(older), "Older", ButtonStyle::Plain);
    }
    message = message.button(wanted.action(newer), "Newer", ButtonStyle::Plain);
    if let Some(first) = found.lines.first() {
        let show = Turn::Show(first.at_ns, found.lines.len());
        message = message.button(wanted.action(show), "Show to all", ButtonStyle::Plain);
    }
    message.button(wanted.action(Turn::Follow(found.until_ns)), "Follow", ButtonStyle::Plain)
}

/// How lines of one page are written.
struct Face<'a> {
    found: &'a Found,
    zone: Tz,
    has_date: bool,
}

impl Face<'_> {
    fn time(&self, at_ns: i64) -> String {
        let at = self.found.shown_at(at_ns).with_timezone(&self.zone);
        at.format(if self.has_date { "%d %b %H:%M:%S" } else { "%H:%M:%S" }).to_string()
    }

    /// `03:07:12 error proxy ord 1781000a: what it says`, with at most so many characters of that; and whether it was cut.
    fn line(&self, line: &Line, has_service: bool, chars_max: usize) -> (String, bool) {
        let mut out = self.time(line.at_ns);
        let service = if has_service { line.service.as_str() } else { "" };
        let level = if line.level.eq_ignore_ascii_case("info") { "" } else { line.level.as_str() };
        let provider = if line.provider == "app" { "" } else { line.provider.as_str() };
        for word in [service, level, provider, &line.region, &line.machine].into_iter().filter(|word| !word.is_empty())
        {
            let _ = write!(out, " {word}");
        }
        out.push_str(": ");
        if let Some(status) = line.status.filter(|status| !line.message.contains(&status.to_string())) {
            let _ = write!(out, "{status} ");
        }
        let is_cut = line.message.chars().count() > chars_max;
        if is_cut {
            out.extend(line.message.chars().take(chars_max));
            out.push('…');
        } else {
            out.push_str(&line.message);
        }
        (out, is_cut)
    }
}

/// What a line is to the eye, for whoever can show colours; never the only carrier of its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tint {
    /// An error.
    Bad,
    /// Something slow.
    Warn,
    /// Checks, and machines that come and go.
    Good,
    /// Any other.
    Quiet,
}

/// What a line is to the eye. `slow_ms`: what takes as long is slow, in ms.
pub fn tint(line: &Line, slow_ms: u32) -> Tint {
    match line {
        _ if filter::is_error(line) => Tint::Bad,
        _ if filter::is_slow(&line.message, slow_ms) => Tint::Warn,
        _ if filter::is_health(line) => Tint::Good,
        _ => Tint::Quiet,
    }
}

/// A line as a terminal shows it, whole: what stands before the message, and the message.
pub fn terminal(line: &Line, zone: Tz, has_service: bool) -> (String, String) {
    let found = Found::default();
    let face = Face { found: &found, zone, has_date: true };
    let (whole, _) = face.line(line, has_service, usize::MAX);
    let (before, says) = whole.split_once(": ").unwrap_or((&whole, ""));
    (before.to_owned(), says.to_owned())
}

/// Whether a line is of another day than today, or the page of several.
fn has_date(ctx: &Ctx<'_>, found: &Found) -> bool {
    let zone = ctx.workspace.team.zone;
    let day = |at_ns: i64| found.shown_at(at_ns).with_timezone(&zone).date_naive();
    let today = ctx.now.with_timezone(&zone).date_naive();
    found.lines.iter().any(|line| day(line.at_ns) != today) || (found.lines.is_empty() && day(found.from_ns) != today)
}

/// What the page is: `Errors of checkout: 3 lines, 02:51:10 to 02:59:58.`
fn head(wanted: &Wanted, ask: &Ask, face: &Face<'_>) -> String {
    let found = face.found;
    let names: Vec<&str> = ask.of.iter().map(|source| source.service.as_str()).collect();
    let stage = if wanted.stage == Stage::Staging { " (staging)" } else { "" };
    let words = wanted.contains.as_ref().map_or(String::new(), |words| format!(" with “{words}”"));
    let what = match wanted.filter {
        Filter::Errors => "Errors",
        Filter::Slow => "Slow answers",
        Filter::Health => "Health",
        Filter::All => "Lines",
    };
    let of = format!("{what} of {}{stage}{words}", names.join(", "));
    let (from, until) = (face.time(found.from_ns), face.time(found.until_ns));
    match (found.lines.first(), found.lines.last(), ask.reach) {
        (Some(first), Some(last), _) => {
            let count = found.lines.len();
            let span = if count == 1 {
                face.time(first.at_ns)
            } else {
                format!("{} to {}", face.time(first.at_ns), face.time(last.at_ns))
            };
            let lines = if count == 1 { "1 line" } else { &format!("{count} lines") };
            format!("{of}: {lines}, {span}.")
        }
        (_, _, Reach::Last(span)) if found.is_whole => {
            format!("{of}: none in the last {} ({} looked at).", in_words(span), counted(found.read))
        }
        (_, _, Reach::Before(_)) if found.is_whole => format!("{of}: none before {until} that Fly still has."),
        (_, _, Reach::After(_)) if found.is_whole => format!("{of}: none after {from} so far."),
        (_, _, Reach::After(_)) => {
            format!("{of}: none from {from} to {until} ({} looked at); Newer reads on.", counted(found.read))
        }
        _ => format!("{of}: none from {from} to {until} ({} looked at); Older reads on.", counted(found.read)),
    }
}

/// "1 h", "30 min".
fn in_words(span: TimeDelta) -> String {
    super::span(span)
}

fn counted(lines: usize) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}

/// The lines, cut as little as it takes to fit; and whether one was.
fn block(face: &Face<'_>, has_service: bool) -> (String, bool) {
    let mut last = (String::new(), false);
    for chars_max in CUTS {
        let lines: Vec<(String, bool)> =
            face.found.lines.iter().map(|line| face.line(line, has_service, chars_max)).collect();
        let is_cut = lines.iter().any(|(_, is_cut)| *is_cut);
        let lines: Vec<String> = lines.into_iter().map(|(line, _)| line).collect();
        last = (lines.join("\n"), is_cut);
        if last.0.encode_utf16().count() <= BLOCK_UNITS_MAX {
            break;
        }
    }
    last
}

/// The small print: zone, what was cut, what was masked.
fn notes(face: &Face<'_>, is_cut: bool) -> String {
    let found = face.found;
    if found.lines.is_empty() {
        return String::new();
    }
    let mut notes = vec![format!("Times are {}.", face.zone.name())];
    match found.lines.iter().map(|line| line.masked).sum::<usize>() {
        0 => {}
        1 => notes.push("1 secret is masked.".to_owned()),
        count => notes.push(format!("{count} secrets are masked.")),
    }
    if is_cut {
        notes.push("Long lines are cut here and whole in the file.".to_owned());
    }
    notes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: usize, chars: usize) -> Found {
        let line = |n: usize| Line {
            at_ns: 1_795_510_800_000_000_000 + n as i64 * 1_000_000_000,
            level: "error".to_owned(),
            provider: "proxy".to_owned(),
            region: "ord".to_owned(),
            machine: "3d8d9014f7".to_owned(),
            message: "ä`😀".repeat(chars / 3),
            ..Line::default()
        };
        Found { lines: (0..lines).map(line).collect(), ..Found::default() }
    }

    #[test]
    fn a_page_fits_however_long_its_lines_are() {
        for (lines, chars) in [(1, 3), (1, 16_000), (15, 30), (15, 16_000)] {
            let found = found(lines, chars);
            let face = Face { found: &found, zone: Tz::UTC, has_date: true };
            let (block, is_cut) = block(&face, true);
            assert!(block.encode_utf16().count() <= BLOCK_UNITS_MAX, "{lines} of {chars}");
            assert_eq!((block.lines().count(), is_cut), (lines, chars > 600));
        }
    }

    #[test]
    fn a_line_says_what_is_not_plain() {
        let found = Found { ahead: TimeDelta::hours(1), ..found(1, 3) };
        let face = Face { found: &found, zone: Tz::America__Chicago, has_date: false };
        assert_eq!(face.line(&found.lines[0], false, 600).0, "04:00:00 error proxy ord 3d8d9014f7: ä`😀");
        let plain = Line { level: "info".to_owned(), provider: "app".to_owned(), status: Some(502), ..Line::default() };
        let plain =
            Line { message: "GET /".to_owned(), service: "shop".to_owned(), at_ns: found.lines[0].at_ns, ..plain };
        assert_eq!(face.line(&plain, true, 600).0, "04:00:00 shop: 502 GET /");
    }
}
