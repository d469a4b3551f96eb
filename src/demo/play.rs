//! "Show me 3 a.m.": a night played in front of whoever watches, by the same calls that a person's clicks make.
//!
//! A bad deploy past the bot, taken back from the lock screen in two taps, with the bot killed in the middle of it.
//!
//! Every step waits for what it is about to be seen, with a bound; a step that does not come says so and ends the play.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use watchbell::domain::schedule::{first_instant, local};
use watchbell::sim::{discord, fly};

use super::elsewhere::{newest_release, release};
use super::{Demo, apps, behave};

/// The pause between steps, so that a person can follow.
const BEAT: Duration = Duration::from_millis(1_800);
/// How long a step may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// How long a rollback of the demo's machines may take, with the bot away in the middle of it.
const ROLLED_BACK_WITHIN: Duration = Duration::from_secs(120);
/// How long a tap is left to whoever watches, before it is done for them.
const LEFT_TO_A_PERSON: Duration = Duration::from_secs(4);
/// Who sleeps, is woken and takes the deploy back.
const SLEEPER: &str = "ana";

/// What the page shows of the play.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Play {
    /// Whether it runs.
    pub running: bool,
    /// The step it is at.
    pub step: String,
    /// The steps so far.
    pub steps: Vec<PlayStep>,
    /// The incident's thread, so that a page can open it.
    pub thread: Option<String>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct PlayStep {
    /// What happens.
    pub text: String,
    /// Whether it has happened.
    pub done: bool,
    /// When, in promise time.
    pub at: Option<String>,
}

/// Turns the bot live, as the demo is no rehearsal.
///
/// # Errors
/// When the local Discord does not take the command.
pub async fn go_live(demo: &Demo) -> anyhow::Result<()> {
    let discord = demo.discord().ok_or_else(|| anyhow!("the local Discord is not up"))?;
    seen(|| {
        let commands = discord.state()["commands"].as_array().map_or(0, Vec::len);
        (commands > 0).then_some(())
    })
    .await
    .context("the bot did not register its commands")?;
    let id = discord.run("mia", "watchbell-test", "watchbell live", json!({})).await.map_err(|why| anyhow!("{why}"))?;
    discord.interaction(&id, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    Ok(())
}

/// Starts the play.
///
/// # Errors
/// When it runs already.
pub fn start(demo: &Arc<Demo>) -> Result<(), &'static str> {
    {
        let mut play = demo.play.lock().unwrap_or_else(PoisonError::into_inner);
        if play.running {
            return Err("it is running");
        }
        *play = Play { running: true, ..Play::default() };
    }
    let demo = Arc::clone(demo);
    tokio::spawn(async move {
        let speed = demo.bot.info().await.speed;
        let played = night(&demo).await;
        // A bot that is down keeps the pace of the play, which is the clock's own.
        let _ = demo.bot.move_clock(&json!({ "speed": speed })).await;
        let mut play = demo.play.lock().unwrap_or_else(PoisonError::into_inner);
        play.running = false;
        if let Err(error) = played {
            let text = format!("It stopped here: {error:#}");
            play.step.clone_from(&text);
            play.steps.push(PlayStep { text, done: false, at: None });
        }
    });
    Ok(())
}

/// One step on the page: `text` while it happens, ticked off when `act` has come true.
async fn step<T>(demo: &Demo, text: &str, act: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    {
        let mut play = demo.play.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut play.step);
        play.steps.push(PlayStep { text: text.to_owned(), done: false, at: None });
    }
    let value = act.await.with_context(|| text.to_owned())?;
    let now = demo.bot.info().await.promise_now;
    if let Some(last) = demo.play.lock().unwrap_or_else(PoisonError::into_inner).steps.last_mut() {
        last.done = true;
        last.at = now.map(|now| now.to_rfc3339());
    }
    tokio::time::sleep(BEAT).await;
    Ok(value)
}

/// Asks until there is an answer.
async fn seen<T>(look: impl Fn() -> Option<T>) -> anyhow::Result<T> {
    within(SEEN_WITHIN, look).await
}

/// The same, for so long.
async fn within<T>(within: Duration, look: impl Fn() -> Option<T>) -> anyhow::Result<T> {
    let began = tokio::time::Instant::now();
    while began.elapsed() < within {
        if let Some(found) = look() {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("it was not seen within {} s", within.as_secs())
}

async fn night(demo: &Demo) -> anyhow::Result<()> {
    let discord = demo.discord().ok_or_else(|| anyhow!("the local Discord is not up"))?;
    let discord = &*discord;
    let app = apps(&demo.fly).into_iter().rfind(|app| !app.ends_with("-staging")).ok_or_else(|| anyhow!("no app"))?;

    step(demo, "The clock is put to 3 a.m. Ana sleeps.", async {
        behave(&demo.fly, &app, "healthy")?;
        // Machines are real and take their time; a rollback's minutes are counted on the promise clock.
        demo.bot.move_clock(&json!({ "speed": 1.0 })).await?;
        let now = demo.bot.info().await.promise_now.ok_or_else(|| anyhow!("the bot is not up"))?;
        sleeps(discord, true).await?;
        let (_, asked) = demo.fly.requests(0, usize::MAX);
        demo.bot.advance(u64::try_from(until_three(now, demo.zone).num_seconds() + 1).unwrap_or(0)).await?;
        // What Fly has at the bot's first look is nobody's news, so that look comes first.
        seen(|| are_releases_told(&demo.fly, &app, asked).then_some(())).await
    })
    .await?;
    let (pings_before, newest) = (pings(discord), newest_message(discord));

    let version = newest_release(&demo.fly, &app) + 1;
    step(demo, &format!("Carol deploys v{version} by hand, past the bot."), async {
        release(&demo.fly, &app)?;
        if !demo.fly.settled(SEEN_WITHIN).await {
            bail!("the machines did not come up");
        }
        for _ in 0..6 {
            demo.bot.advance(15).await?;
            if says(discord, "incidents", newest, &format!("v{version} by ")) {
                return Ok(());
            }
        }
        bail!("the bot did not see the deploy")
    })
    .await?;

    let bad = format!("Roll back v{version}");
    let (id, thread) = step(demo, "It answers 500, and Ana's phone rings.", async {
        for _ in 0..12 {
            demo.bot.advance(30).await?;
            if let Some(card) = card_after(discord, newest) {
                let of = |key: &str| card[key].as_str().unwrap_or_default().to_owned();
                let (id, thread) = (of("id"), of("thread_id"));
                demo.play.lock().unwrap_or_else(PoisonError::into_inner).thread = Some(thread.clone());
                return Ok((id, thread));
            }
        }
        bail!("no incident was declared")
    })
    .await?;

    let text = format!("Lock screen, tap 1: “{bad}”.");
    step(demo, &text, async {
        let card = || button(&discord.message(&id).ok()?, &bad).map(|label| (id.clone(), label));
        tap(discord, card, || planned(discord, &thread, newest).is_some()).await
    })
    .await?;
    let good = planned(discord, &thread, newest).map(|(_, label)| label).unwrap_or_default();
    step(demo, &format!("Lock screen, tap 2: “{good}”."), async {
        tap(discord, || planned(discord, &thread, newest), || says(discord, &thread, newest, ": started by ")).await
    })
    .await?;
    let pings_then = pings(discord);
    step(demo, "Kill -9, with one machine of two back.", async {
        within(ROLLED_BACK_WITHIN, || says(discord, &thread, newest, "░ 1 of 2").then_some(())).await?;
        demo.bot.kill().await
    })
    .await?;
    step(demo, "It comes back and says so. No second ping.", async {
        demo.bot.wait_up().await?;
        seen(|| says(discord, "incidents", id.parse().unwrap_or(newest), "I was away").then_some(())).await?;
        match pings(discord) - pings_then {
            0 => Ok(()),
            n => bail!("{n} pings came"),
        }
    })
    .await?;
    step(demo, "It goes on, and the service answers.", async {
        within(ROLLED_BACK_WITHIN, || says(discord, &thread, newest, "2 of 2; looked at").then_some(())).await?;
        for _ in 0..8 {
            demo.bot.advance(15).await?;
            if says(discord, &thread, newest, ": succeeded.") {
                return Ok(());
            }
        }
        bail!("the rollback did not succeed")
    })
    .await?;

    let pings_then = pings(discord);
    step(demo, "The update is nearly due: one ping, not two.", async {
        for _ in 0..40 {
            demo.bot.advance(30).await?;
            match pings(discord) - pings_then {
                0 => {}
                1 => return Ok(()),
                n => bail!("{n} pings came"),
            }
        }
        bail!("she was not reminded")
    })
    .await?;
    let words = format!("Rolled back v{version}; it answers again.");
    step(demo, "She gives it. Next update promised.", update(demo, discord, &id, &words)).await?;
    step(demo, "“Mitigated”, then “Resolve when green”.", async {
        press(demo, discord, &id, "Mitigated").await?;
        press(demo, discord, &id, "Resolve when green").await
    })
    .await?;
    step(demo, "Ten green minutes, and it resolves by itself.", async {
        for _ in 0..40 {
            demo.bot.advance(30).await?;
            if says(discord, &thread, newest, "is resolved") {
                return Ok(());
            }
        }
        bail!("it was not resolved")
    })
    .await?;
    let counters = discord.counters();
    let late = demo.bot.info().await.late;
    let sent = counters["pings"].as_u64().unwrap_or(0).saturating_sub(pings_before);
    let words = format!("Pings sent: {sent}. Doubled: {}. Late: {late}.", counters["doubled"]);
    step(demo, &words, async { Ok(()) }).await
}

/// How long until the next 03:00 on the team's clock.
fn until_three(now: DateTime<Utc>, zone: chrono_tz::Tz) -> TimeDelta {
    let today = local(zone, now).date();
    let three = NaiveTime::from_hms_opt(3, 0, 0).unwrap_or(NaiveTime::MIN);
    let at = |date: chrono::NaiveDate| first_instant(zone, date.and_time(three));
    let next = if at(today) > now { at(today) } else { at(today.succ_opt().unwrap_or(today)) };
    next - now
}

fn pings(discord: &discord::Handle) -> u64 {
    discord.counters()["pings"].as_u64().unwrap_or(0)
}

fn cards(discord: &discord::Handle) -> Vec<Value> {
    let messages = discord.channel("incidents", None).unwrap_or_default();
    messages.into_iter().filter(|message| message["thread_id"].is_string()).collect()
}

fn number(message: &Value) -> u64 {
    message["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// The newest message of the incidents channel, by its number.
fn newest_message(discord: &discord::Handle) -> u64 {
    discord.channel("incidents", None).unwrap_or_default().iter().map(number).max().unwrap_or(0)
}

fn card_after(discord: &discord::Handle, newest: u64) -> Option<Value> {
    cards(discord).into_iter().find(|card| number(card) > newest)
}

/// Whether something is said in a channel or thread after message number `since`, in words or on a card.
fn says(discord: &discord::Handle, channel: &str, since: u64, words: &str) -> bool {
    let messages = discord.channel(channel, None).unwrap_or_default();
    let in_words = |message: &Value| message["text"].as_str().is_some_and(|text| text.contains(words));
    let on_card = |message: &Value| message["embeds"].to_string().contains(words);
    messages.iter().any(|message| number(message) > since && (in_words(message) || on_card(message)))
}

/// The button of a message that begins so.
fn button(message: &Value, begins: &str) -> Option<String> {
    let rows = message["components"].as_array().into_iter().flatten();
    let mut labels = rows.flat_map(|row| row["components"].as_array().into_iter().flatten());
    labels.find_map(|part| part["label"].as_str().filter(|label| label.starts_with(begins)).map(str::to_owned))
}

/// The newest message of a channel after number `since` with the button that starts a rollback, and its label; among them what only
/// the sleeper sees.
fn newest_yes(discord: &discord::Handle, channel: &str, since: u64) -> Option<(String, String)> {
    let messages = discord.channel(channel, Some(SLEEPER)).unwrap_or_default();
    messages
        .iter()
        .rev()
        .take_while(|message| number(message) > since)
        .find_map(|message| Some((message["id"].as_str()?.to_owned(), button(message, "Roll back to v")?)))
}

/// The planned rollback: the answer that only the one who tapped sees, wherever they did, else its card in the thread.
fn planned(discord: &discord::Handle, thread: &str, since: u64) -> Option<(String, String)> {
    newest_yes(discord, "incidents", since).or_else(|| newest_yes(discord, thread, since))
}

/// A tap on the lock screen, `what` being the message and its button. Whoever watches may do it: it is done for them only when
/// they leave it, and ends once `came` is seen.
async fn tap(
    discord: &discord::Handle,
    what: impl Fn() -> Option<(String, String)>,
    came: impl Fn() -> bool,
) -> anyhow::Result<()> {
    if within(LEFT_TO_A_PERSON, || came().then_some(())).await.is_ok() {
        return Ok(());
    }
    let (message, button) = seen(what).await?;
    let wish = json!({ "as": SLEEPER, "message": message, "button": button, "on_phone": true });
    let pressed = discord.call("press", wish).await;
    let answered = async {
        let id = pressed.map_err(|why| anyhow!("{why}"))?["interaction_id"].as_str().unwrap_or_default().to_owned();
        discord.interaction(&id, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))
    };
    match answered.await {
        Ok(_) => {}
        // Somebody was quicker.
        Err(_) if came() => return Ok(()),
        Err(why) => return Err(why),
    }
    seen(|| came().then_some(())).await
}

/// Whether the bot was told an app's releases after request number `since`.
fn are_releases_told(fly: &fly::Handle, app: &str, since: u64) -> bool {
    let (requests, _) = fly.requests(since, usize::MAX);
    requests.iter().any(|request| {
        let path = request["path"].as_str().unwrap_or_default();
        request["status"] == 200 && path.contains("releases") && path.contains(&format!("/{app}/"))
    })
}

/// Presses a button of the card, once it is there, and waits for the answer.
async fn press(demo: &Demo, discord: &discord::Handle, card: &str, label: &str) -> anyhow::Result<()> {
    seen(|| {
        let message = discord.message(card).ok()?;
        message["components"].to_string().contains(&format!("\"{label}\"")).then_some(())
    })
    .await
    .with_context(|| format!("the card has no “{label}”"))?;
    let id = discord.press(SLEEPER, card, label).await.map_err(|why| anyhow!("{why}"))?;
    discord.interaction(&id, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    demo.bot.still().await
}

/// Puts the one on call to bed, or has them get up.
async fn sleeps(discord: &discord::Handle, asleep: bool) -> anyhow::Result<()> {
    let done = discord.call(&format!("member/{SLEEPER}"), json!({ "asleep": asleep })).await;
    done.map(|_| ()).map_err(|why| anyhow!("{why}"))
}

/// Fills in the form behind "Update".
async fn update(demo: &Demo, discord: &discord::Handle, card: &str, words: &str) -> anyhow::Result<()> {
    let id = discord.press(SLEEPER, card, "Update").await.map_err(|why| anyhow!("{why}"))?;
    discord.interaction(&id, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    let filled = discord.submit(SLEEPER, &id, json!({ "what": words })).await.map_err(|why| anyhow!("{why}"))?;
    discord.interaction(&filled, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    demo.bot.still().await
}
