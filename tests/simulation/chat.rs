//! The chat and the pager, as bad as the real ones can be: away for minutes, refusing, slow, done but the answer lost.
//!
//! Like Discord it makes no second message with the same mark for a while, and can be read back. Counts what people see.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::{Place, Posted};
use crate::log::torn::Dice;

/// How long a repeated mark is recognised.
const MARK_HELD: TimeDelta = TimeDelta::seconds(60);

/// A request on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Make a message.
    Post { place: String, mark: String, text: String },
    /// Look for a message by its mark, in these places.
    Find { places: Vec<String>, mark: String, since: DateTime<Utc> },
    /// Start a thread under a message.
    Thread { under: String },
    /// Wake a person by another way than the chat.
    Page { mark: String },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Done, or found.
    Made(Posted),
    /// The page went out.
    Paged,
    /// Looked, and it is not there.
    Absent,
    /// Not done; later perhaps.
    NotNow,
    /// Refused, now and later.
    Refused,
    /// Nobody knows.
    InDoubt,
}

/// What happens to a request at the neighbour: at once or late, and what the bot hears after how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// When it is done, if it is, from now; the rest of the story needs no doing.
    pub done_in: Option<TimeDelta>,
    /// What the bot hears instead of the truth.
    pub heard: Option<Reply>,
    /// After how long.
    pub after: TimeDelta,
}

/// A message.
#[derive(Debug, Clone)]
struct Standing {
    place: String,
    mark: String,
    at: DateTime<Utc>,
}

/// Both neighbours.
#[derive(Default)]
pub struct Neighbours {
    /// The chat answers.
    pub chat_down: bool,
    /// The pager answers.
    pub pager_down: bool,
    /// Nothing goes wrong any more.
    pub healed: bool,
    messages: Vec<Standing>,
    created: BTreeMap<String, u32>,
    /// Threads by the card they hang under.
    threads: BTreeMap<String, Place>,
    /// Pages that reached somebody, by mark.
    pub pages: BTreeMap<String, u32>,
}

impl Neighbours {
    /// Rolls what becomes of a request that arrives now.
    pub fn fate(&self, request: &Request, dice: &mut Dice) -> Fate {
        let down = if matches!(request, Request::Page { .. }) { self.pager_down } else { self.chat_down };
        let quick = TimeDelta::milliseconds(50 + dice.below(900) as i64);
        let long = TimeDelta::seconds(10);
        let not_done = |heard, after| Fate { done_in: None, heard: Some(heard), after };
        if self.healed {
            return Fate { done_in: Some(TimeDelta::zero()), heard: None, after: quick };
        }
        let roll = dice.below(200);
        if down {
            return if roll < 40 { not_done(Reply::InDoubt, long) } else { not_done(Reply::NotNow, quick) };
        }
        match roll {
            0..8 => not_done(Reply::NotNow, quick),
            8..14 => not_done(Reply::InDoubt, long),
            14..22 => Fate { done_in: Some(TimeDelta::zero()), heard: Some(Reply::InDoubt), after: long },
            22..26 => {
                let late = TimeDelta::milliseconds(dice.below(20_000) as i64);
                Fate { done_in: Some(late), heard: Some(Reply::InDoubt), after: TimeDelta::seconds(5) }
            }
            26 => not_done(Reply::Refused, quick),
            27..30 => Fate { done_in: Some(TimeDelta::zero()), heard: None, after: TimeDelta::seconds(9) },
            _ => Fate { done_in: Some(TimeDelta::zero()), heard: None, after: quick },
        }
    }

    /// Does it.
    pub fn perform(&mut self, request: &Request, now: DateTime<Utc>) -> Reply {
        match request {
            Request::Post { place, mark, .. } => {
                let repeated = |one: &&Standing| one.mark == *mark && now - one.at <= MARK_HELD;
                if let Some(before) = self.messages.iter().find(repeated) {
                    return Reply::Made(posted(before));
                }
                let standing = Standing { place: place.clone(), mark: mark.clone(), at: now };
                let made = posted(&standing);
                self.messages.push(standing);
                *self.created.entry(mark.clone()).or_default() += 1;
                Reply::Made(made)
            }
            Request::Find { places, mark, since } => {
                let found = |one: &&Standing| places.contains(&one.place) && one.mark == *mark && one.at >= *since;
                self.messages.iter().find(found).map_or(Reply::Absent, |one| Reply::Made(posted(one)))
            }
            Request::Thread { under } => {
                let place = Place::new(format!("discord:thread-{under}"));
                let place = self.threads.entry(under.clone()).or_insert(place).clone();
                Reply::Made(Posted { place, message: under.clone() })
            }
            Request::Page { mark } => {
                *self.pages.entry(mark.clone()).or_default() += 1;
                Reply::Paged
            }
        }
    }

    /// How many messages people ever saw with a mark.
    pub fn seen(&self, mark: &str) -> u32 {
        self.created.get(mark).copied().unwrap_or(0)
    }

    /// A mark that people saw more than once.
    pub fn doubled(&self) -> Option<&str> {
        self.created.iter().find(|(_, count)| **count > 1).map(|(mark, _)| mark.as_str())
    }
}

fn posted(standing: &Standing) -> Posted {
    Posted { place: Place::new(format!("discord:{}", standing.place)), message: format!("m-{}", standing.mark) }
}
