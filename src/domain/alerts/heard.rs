//! What webhooks and rules bring: which alerts fire, which have resolved, and what of that is new.
//!
//! Pure. The same again is the same alert and changes nothing, so a sender may repeat itself for as long as it likes. A resolve for
//! what never fired here says nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::telling;
use super::{Alert, Ending, Group, Happened, Labels, LeftOut, Level};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::ids::{AlertId, Service};
use crate::domain::policy::Span;
use crate::domain::refusal::Refusal;
use crate::domain::text;
use crate::domain::workspace::Stage;

/// Alerts of one request, or of one look at a rule.
pub const HEARD_MAX: usize = 2_000;
/// Labels of an alert.
const LABELS_MAX: usize = 40;
/// Characters of a label's name.
const NAME_CHARS_MAX: usize = 100;
/// Characters of a label's value.
const VALUE_CHARS_MAX: usize = 300;
/// Characters of a summary.
const SUMMARY_CHARS_MAX: usize = 500;
/// Characters of an address; a longer one leads nowhere once it is cut, so it is left out.
const URL_CHARS_MAX: usize = 1_000;
/// Characters of a title.
const TITLE_CHARS_MAX: usize = 120;
/// What an alert says of itself is as it was for this long, before other words are taken in.
const SAID_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(5);
/// The label with an alert's name.
pub const NAME: &str = "alertname";
/// Labels that name the service, in the order in which they are looked at.
const SERVICE_LABELS: [&str; 5] = ["service", "app", "fly_app", "job", "component"];

/// What a sender said in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The hook, or the rules.
    pub source: String,
    /// Its alerts.
    pub alerts: Vec<Incoming>,
    /// Alerts of the same group that its sender knows of and did not send, where it says so.
    pub left_out: Option<LeftOut>,
}

impl Heard {
    /// The same, cut to what is kept of it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.left_out = self.left_out.filter(|left_out| left_out.alerts > 0);
        if let Some(left_out) = &mut self.left_out {
            // Where it shows them needs no more than its address.
            let at = left_out.at.take().filter(|url| fits(url));
            left_out.at = at.map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned());
        }
        self
    }
}

/// Whether an address may stand on a card.
fn fits(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    // A name and a password before the host are nobody's to read.
    let host = host.and_then(|rest| rest.split(['/', '?', '#']).next());
    url.chars().count() <= URL_CHARS_MAX && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
}

/// One alert as its sender says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// What the sender tells it by.
    pub fingerprint: String,
    /// Whether it fires; it has resolved otherwise.
    pub firing: bool,
    /// Its name.
    pub name: String,
    /// How bad, in the sender's word.
    pub severity: String,
    /// What it is about.
    pub labels: Labels,
    /// By which labels the sender put it together with others; the policy's when none.
    pub group: Option<Labels>,
    /// A sentence.
    pub summary: String,
    /// Where the sender shows it.
    pub url: Option<String>,
    /// What to do about it.
    pub runbook: Option<String>,
    /// When it began.
    pub began: Option<DateTime<Utc>>,
    /// When it resolved.
    pub ended: Option<DateTime<Utc>>,
    /// The service that it is about, where the sender knows; else its labels say.
    pub service: Option<Service>,
}

impl Incoming {
    /// The same, cut to what is kept of it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |text: &str, most: usize| text::short(text.trim(), most);
        self.labels = self
            .labels
            .iter()
            .take(LABELS_MAX)
            .map(|(name, value)| (cut(name, NAME_CHARS_MAX), cut(value, VALUE_CHARS_MAX)))
            .collect();
        self.name = cut(&self.name, TITLE_CHARS_MAX);
        if self.name.is_empty() {
            self.name = self.labels.get(NAME).cloned().unwrap_or_else(|| "alert".to_owned());
        }
        self.labels.entry(NAME.to_owned()).or_insert_with(|| self.name.clone());
        self.summary = cut(&self.summary, SUMMARY_CHARS_MAX);
        self.url = self.url.filter(|url| fits(url));
        self.runbook = self.runbook.filter(|url| fits(url));
        self
    }
}

/// Takes in what was heard.
///
/// # Errors
/// When far too much fires.
pub fn decide(draft: &mut Draft<'_>, heard: &Heard) -> Result<(), Refusal> {
    let mut groups: BTreeMap<String, Vec<&Incoming>> = BTreeMap::new();
    // What was left out belongs to the group that was sent.
    let sent = heard.alerts.first().map(|first| key(&heard.source, &labels_of_group(&draft.ctx, first)));
    for incoming in heard.alerts.iter().take(HEARD_MAX) {
        let labels = labels_of_group(&draft.ctx, incoming);
        let key = key(&heard.source, &labels);
        let key = if incoming.firing { key } else { key_of_its_end(draft, &heard.source, key, &incoming.fingerprint) };
        groups.entry(key).or_default().push(incoming);
    }
    let told = heard.left_out.as_ref();
    // A group of which something is left out is not over; one that is sent whole again is over only by what was sent of it.
    if let (Some(key), Some(_)) = (&sent, told) {
        left_out(draft, key, told)?;
    }
    for (key, alerts) in groups {
        group(draft, &heard.source, &key, &alerts)?;
    }
    sent.map_or(Ok(()), |key| left_out(draft, &key, told))
}

/// What its sender did not send of a group is said on its card, until it sends all again.
fn left_out(draft: &mut Draft<'_>, key: &str, told: Option<&LeftOut>) -> Result<(), Refusal> {
    let known = draft.alerts().of_key(key).filter(|group| group.left_out.as_ref() != told).cloned();
    let Some(known) = known else { return Ok(()) };
    draft.alert(known.id, Happened::LeftOut { left_out: told.cloned() });
    if known.over.is_none() { settle(draft, known.id, Some(&known)) } else { Ok(()) }
}

/// Alerts that were said to be over, and have stayed so for as long as their hook's `resolve_delay`, are.
///
/// # Errors
/// When far too many incidents are open.
pub fn ended(draft: &mut Draft<'_>, id: AlertId) -> Result<(), Refusal> {
    let now = draft.now();
    let Some(known) = draft.group(id).filter(|group| group.ending_at.is_some_and(|at| at <= now)).cloned() else {
        return Ok(());
    };
    let over = known.alerts.values().filter(|alert| alert.firing).filter_map(|alert| {
        let ending = alert.ending.filter(|ending| ending.over_at <= now)?;
        Some(Alert { firing: false, ended: Some(ending.since), ending: None, ..alert.clone() })
    });
    let alerts = over.collect();
    draft.alert(id, Happened::Changed { alerts });
    settle(draft, id, Some(&known))
}

/// The group that an alert's end belongs to: it is told by its fingerprint, and whoever says that it is over may leave its labels out.
fn key_of_its_end(draft: &Draft<'_>, source: &str, key: String, fingerprint: &str) -> String {
    let fires = |group: &Group| group.alerts.get(fingerprint).is_some_and(|alert| alert.firing);
    if draft.alerts().of_key(&key).is_some_and(fires) {
        return key;
    }
    let found =
        draft.alerts().iter().rev().find(|group| group.source == source && group.over.is_none() && fires(group));
    found.map_or(key, |group| group.key.clone())
}

fn labels_of_group(ctx: &Ctx<'_>, incoming: &Incoming) -> Labels {
    let by = || {
        let by = ctx.policy.alerts.group_by.iter();
        by.filter_map(|name| Some((name.clone(), incoming.labels.get(name)?.clone()))).collect()
    };
    incoming.group.clone().unwrap_or_else(by)
}

/// What makes a group this one: never ambiguous, whatever stands in names and values.
fn key(source: &str, labels: &Labels) -> String {
    serde_json::to_string(&(source, labels)).unwrap_or_default()
}

fn group(draft: &mut Draft<'_>, source: &str, key: &str, alerts: &[&Incoming]) -> Result<(), Refusal> {
    let now = draft.now();
    let reopens = draft.ctx.policy.incidents.reopen_within.delta();
    let of_key = draft.alerts().of_key(key);
    let known = of_key.filter(|group| group.over.is_none_or(|over| now - over <= reopens)).cloned();
    // An incoming request may name an alert twice; the last word counts.
    let mut changed: BTreeMap<&str, Alert> = BTreeMap::new();
    let delay = resolve_delay(&draft.ctx, source);
    for incoming in alerts {
        let before = changed.get(incoming.fingerprint.as_str());
        // What resolved long ago is still known by when it began, so that a late resend is no new firing.
        let before = before.or_else(|| of_key.and_then(|group| group.alerts.get(&incoming.fingerprint)));
        if let Some(alert) = change(&draft.ctx, before, incoming, delay, now) {
            changed.insert(&incoming.fingerprint, alert);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let changed: Vec<Alert> = changed.into_values().collect();
    let fires = changed.iter().any(|alert| alert.firing);
    let id = match &known {
        Some(group) => group.id,
        // A resolve of what is forgotten.
        None if !fires => return Ok(()),
        None => opened(draft, source, key, alerts, &changed)?,
    };
    if fires && known.as_ref().is_some_and(|group| group.over.is_some()) {
        draft.alert(id, Happened::Again);
    }
    draft.alert(id, Happened::Changed { alerts: changed });
    settle(draft, id, known.as_ref())
}

/// A group has changed: it is over when nothing of it fires, and people are told what follows.
fn settle(draft: &mut Draft<'_>, id: AlertId, before: Option<&Group>) -> Result<(), Refusal> {
    // Of what was left out nobody knows that it is over.
    if draft.group(id).is_some_and(|group| group.firing().is_empty() && group.beyond == 0 && group.left_out.is_none()) {
        draft.alert(id, Happened::Over);
    }
    telling::changed(draft, id, before)
}

/// How long what a hook says is over must have stayed so. The team's own rules have a time of their own for that.
fn resolve_delay(ctx: &Ctx<'_>, source: &str) -> TimeDelta {
    let hook = ctx.workspace.hooks.iter().find(|hook| hook.name == source);
    hook.and_then(|hook| hook.resolve_delay).map_or(TimeDelta::zero(), Span::delta)
}

/// When it ended, by its sender; by this clock where that was before it was heard of, or is yet to come.
fn ended_at(incoming: &Incoming, before: &Alert, now: DateTime<Utc>) -> DateTime<Utc> {
    incoming.ended.filter(|at| (before.since..=now).contains(at)).unwrap_or(now)
}

/// An alert as it is from now on, when that is another than it was. `delay`: how long an end must last before it is one.
fn change(
    ctx: &Ctx<'_>,
    before: Option<&Alert>,
    incoming: &Incoming,
    delay: TimeDelta,
    now: DateTime<Utc>,
) -> Option<Alert> {
    let level = ctx.policy.alerts.level(&incoming.severity);
    let alert = |since, ended| Alert {
        fingerprint: incoming.fingerprint.clone(),
        firing: incoming.firing,
        name: incoming.name.clone(),
        level,
        labels: incoming.labels.clone(),
        summary: incoming.summary.clone(),
        said_at: None,
        url: incoming.url.clone(),
        runbook: incoming.runbook.clone(),
        since,
        began: incoming.began,
        ended,
        ending: None,
    };
    match (before, incoming.firing) {
        (None, false) => None,
        (None, true) => Some(alert(now, None)),
        // A resend of a firing that is over.
        (Some(before), true) if !before.firing && incoming.began.is_some() && incoming.began == before.began => None,
        // It was said to be over, and goes on: the same alert, whatever it says of itself now; also when it began when it did, as with a
        // sender that lost sight of it for a while.
        (Some(before), true) if before.ending.is_some() => {
            let level = level.min(before.level);
            Some(Alert { level, ending: None, began: incoming.began, ..before.clone() })
        }
        (Some(before), true) if before.firing => {
            // Getting worse is a transition. That its words change, as with every value, is none, and is taken in now and then: what
            // stands on the card is not to be of an hour ago.
            let said_at = before.said_at.unwrap_or(before.since);
            let says_else = incoming.summary != before.summary && !incoming.summary.is_empty();
            match () {
                () if level < before.level => Some(alert(before.since, None)),
                () if says_else && now - said_at >= SAID_AGAIN_AFTER => {
                    Some(Alert { summary: incoming.summary.clone(), said_at: Some(now), ..before.clone() })
                }
                () => None,
            }
        }
        (Some(_), true) => Some(alert(now, None)),
        (Some(before), false) if !before.firing || before.ending.is_some() => None,
        (Some(before), false) if delay > TimeDelta::zero() => {
            let since = ended_at(incoming, before, now);
            Some(Alert { ending: Some(Ending { since, over_at: now + delay }), ..before.clone() })
        }
        (Some(before), false) => {
            Some(Alert { firing: false, ended: Some(ended_at(incoming, before, now)), ..before.clone() })
        }
    }
}

fn opened(
    draft: &mut Draft<'_>,
    source: &str,
    key: &str,
    alerts: &[&Incoming],
    changed: &[Alert],
) -> Result<AlertId, Refusal> {
    if draft.alerts().firing().count() >= super::GROUPS_MAX {
        return Err(Refusal::because(text::alerts::too_many()));
    }
    let Some(first) = alerts.iter().find(|one| one.firing) else { return Err(Refusal::because("Nothing fires.")) };
    let labels = labels_of_group(&draft.ctx, first);
    let about = alerts.iter().find_map(|one| about(&draft.ctx, one));
    let (service, stage) = about.map_or((None, Stage::Production), |(service, stage)| (Some(service), stage));
    let level = changed.iter().filter(|alert| alert.firing).map(|alert| alert.level).min().unwrap_or(Level::Warning);
    let id = draft.next_alert();
    let wait = draft.ctx.policy.alerts.wait.delta();
    // Whoever has to be pinged is not made to wait for what else may come: the card grows. What finds no room in this decision is
    // due at once.
    let wait_until = Some(if level == Level::Critical { draft.now() } else { draft.now() + wait });
    let title = title(first, &labels, service.as_ref());
    let (source, key) = (source.to_owned(), key.to_owned());
    draft.alert(id, Happened::Opened { source, key, title, labels, service, stage, level, wait_until });
    Ok(id)
}

fn title(first: &Incoming, labels: &Labels, service: Option<&Service>) -> String {
    let name = labels.get(NAME).unwrap_or(&first.name);
    let words = match service {
        Some(service) => format!("{service}: {name}"),
        None => {
            // What only its sender tells it from others by says nothing to people.
            let says = |(key, _): &(&String, &String)| *key != NAME && first.labels.contains_key(*key);
            let others: Vec<&str> = labels.iter().filter(says).map(|(_, value)| value.as_str()).collect();
            if others.is_empty() { name.clone() } else { format!("{name} ({})", others.join(", ")) }
        }
    };
    text::short(&words, TITLE_CHARS_MAX)
}

/// The service that an alert is about, and which copy.
fn about(ctx: &Ctx<'_>, incoming: &Incoming) -> Option<(Service, Stage)> {
    let stage = match incoming.labels.get("stage").or_else(|| incoming.labels.get("env")).map(String::as_str) {
        Some("staging" | "stage") => Stage::Staging,
        _ => Stage::Production,
    };
    if let Some(service) = &incoming.service {
        return Some((service.clone(), stage));
    }
    SERVICE_LABELS.iter().filter_map(|name| incoming.labels.get(*name)).find_map(|value| {
        if let Some(service) = ctx.workspace.service(value) {
            return Some((service.name.clone(), stage));
        }
        ctx.workspace.services.iter().find_map(|service| {
            let mut stages = service.stages();
            let (stage, _) = stages.find(|(_, spec)| spec.fly_app.as_deref() == Some(value))?;
            Some((service.name.clone(), stage))
        })
    })
}

/// The labels that silences and rules between alerts are held against: the alert's, and what is known of its group.
pub fn labels_of(group: &Group, alert: &Alert) -> Labels {
    let mut labels = alert.labels.clone();
    labels.entry(NAME.to_owned()).or_insert_with(|| alert.name.clone());
    labels.entry("severity".to_owned()).or_insert_with(|| alert.level.name().to_owned());
    labels.insert("level".to_owned(), alert.level.name().to_owned());
    labels.insert("source".to_owned(), group.source.clone());
    if let Some(service) = &group.service {
        labels.insert("service".to_owned(), service.to_string());
    }
    labels
}
