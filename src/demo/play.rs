//! "Show me 3 a.m.": a night played in front of whoever watches, by the same calls that a person's clicks make.
//!
//! Every step waits for what it is about to be seen, with a bound; a step that does not come says so and ends the play.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use watchbell::domain::schedule::{first_instant, local};
use watchbell::sim::discord;

use super::{Demo, apps, behave};

/// The pause between steps, so that a person can follow.
const BEAT: Duration = Duration::from_millis(1_800);
/// How long a step may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// Who sleeps, and who asks for updates.
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
        let played = night(&demo).await;
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
    let began = tokio::time::Instant::now();
    while began.elapsed() < SEEN_WITHIN {
        if let Some(found) = look() {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("it was not seen within {} s", SEEN_WITHIN.as_secs())
}

async fn night(demo: &Demo) -> anyhow::Result<()> {
    let discord = demo.discord().ok_or_else(|| anyhow!("the local Discord is not up"))?;
    let discord = &*discord;
    let app = apps(&demo.fly).into_iter().rfind(|app| !app.ends_with("-staging")).ok_or_else(|| anyhow!("no app"))?;
    let pings_before = pings(discord);

    step(demo, "The clock is put to 3 a.m. Ana sleeps.", async {
        let now = demo.bot.info().await.promise_now.ok_or_else(|| anyhow!("the bot is not up"))?;
        sleeps(discord, true).await?;
        let ahead = until_three(now, demo.zone);
        demo.bot.advance(u64::try_from(ahead.num_seconds() + 1).unwrap_or(0)).await
    })
    .await?;

    let newest = newest_incident(discord);
    step(demo, &format!("{app} dies."), async { behave(&demo.fly, &app, "dead") }).await?;

    let (id, thread) =
        step(demo, "After three failed looks over two minutes: a card, a thread, and Ana's phone rings.", async {
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
    step(demo, "Ana: “I've got it”. Nobody else is woken.", async {
        sleeps(discord, false).await?;
        press(demo, discord, &id, "I've got it").await
    })
    .await?;
    step(demo, "Three minutes on she has restarted the machines, and the service answers again.", async {
        demo.bot.advance(3 * 60).await?;
        behave(&demo.fly, &app, "healthy")?;
        demo.bot.advance(30).await?;
        demo.bot.advance(2 * 60).await
    })
    .await?;
    step(demo, "Ana: “Mitigated”. Ten green minutes are counted.", press(demo, discord, &id, "Mitigated")).await?;
    step(demo, "“Resolve when green”: no more to do but an update.", press(demo, discord, &id, "Resolve when green"))
        .await?;
    step(demo, "The bot is killed with kill -9, just before it would remind her of the update.", async {
        demo.bot.advance(until_reminder(demo).await?).await?;
        // Being seen at work now, the bot knows afterwards since when it was away.
        note(demo, discord, "Both machines were restarted by hand.").await?;
        // Faster now, so that the reminder falls due while nobody is there to send it; yet so that it is not a minute late,
        // which would count, even where the bot takes long to start.
        demo.bot.move_clock(&json!({ "speed": 8.0 })).await?;
        demo.bot.kill().await
    })
    .await?;
    let before = pings(discord);
    step(demo, "It comes back by itself, says how long it was away, and reminds her. One ping, not two.", async {
        demo.bot.wait_up().await?;
        demo.bot.move_clock(&json!({ "speed": 1.0 })).await?;
        demo.bot.still().await?;
        match pings(discord) - before {
            1 => Ok(()),
            n => bail!("{n} pings came"),
        }
    })
    .await?;
    step(
        demo,
        "She gives it. Next update promised.",
        update(demo, discord, &id, "Machines restarted; it answers again."),
    )
    .await?;
    step(demo, "Ten minutes of green, and it resolves by itself.", async {
        for _ in 0..40 {
            demo.bot.advance(30).await?;
            let over = discord.channel(&thread, None).unwrap_or_default();
            if over.iter().any(|message| message["text"].as_str().unwrap_or_default().contains("is resolved")) {
                return Ok(());
            }
        }
        bail!("it was not resolved")
    })
    .await?;
    let counters = discord.counters();
    let late = demo.bot.info().await.late;
    let sent = counters["pings"].as_u64().unwrap_or(0).saturating_sub(pings_before);
    let words = format!("Over. Pings sent: {sent}. Doubled: {}. Late: {late}.", counters["doubled"]);
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

/// Seconds until shortly before the next reminder.
async fn until_reminder(demo: &Demo) -> anyhow::Result<u64> {
    const BEFORE_S: i64 = 12;
    let (now, due) = demo.bot.next_due().await?;
    Ok(u64::try_from((due - now).num_seconds() - BEFORE_S).unwrap_or(0))
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

fn newest_incident(discord: &discord::Handle) -> u64 {
    cards(discord).iter().map(number).max().unwrap_or(0)
}

fn card_after(discord: &discord::Handle, newest: u64) -> Option<Value> {
    cards(discord).into_iter().find(|card| number(card) > newest)
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

/// Puts something on the record, as the sleeper who is awake now.
async fn note(demo: &Demo, discord: &discord::Handle, words: &str) -> anyhow::Result<()> {
    let said = discord.run(SLEEPER, "incidents", "incident note", json!({ "text": words })).await;
    discord.interaction(&said.map_err(|why| anyhow!("{why}"))?, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    demo.bot.still().await
}

/// Fills in the form behind "Update".
async fn update(demo: &Demo, discord: &discord::Handle, card: &str, words: &str) -> anyhow::Result<()> {
    let id = discord.press(SLEEPER, card, "Update").await.map_err(|why| anyhow!("{why}"))?;
    discord.interaction(&id, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    let filled = discord.submit(SLEEPER, &id, json!({ "what": words })).await.map_err(|why| anyhow!("{why}"))?;
    discord.interaction(&filled, SEEN_WITHIN).await.map_err(|why| anyhow!("{why}"))?;
    demo.bot.still().await
}
