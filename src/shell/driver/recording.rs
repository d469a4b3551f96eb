//! From a batch that is decided to one that is on the disk, and what is done when the disk has no room.
//!
//! A full disk refuses what has to be recorded, and only that; it is tried again by itself. What has happened already (a post
//! that went out) cannot be refused: it is kept until there is room and is recorded before anything else.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Driver, End, Held, aged, alerts_doc, team_doc};
use crate::adapters::clock::Timepiece;
use crate::commands;
use crate::domain::ids::Thing;
use crate::domain::input::InputKind;
use crate::domain::refusal::Refusal;
use crate::domain::state::Decided;
use crate::ports::Watch;
use crate::ports::journal::{AppendError, Entry, Journal, Line, Views};
use crate::shell::door::Inbound;
use crate::shell::record;
use crate::shell::undo::Undo;

/// How soon a full disk is tried again, in real time: it does not follow a clock that is moved.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Why a batch is not on the record although the record can still be used.
pub(super) enum Unrecorded {
    /// There is no room.
    Full(String),
    /// Something in it breaks a limit.
    Unfit(String),
}

impl<J, V, C, W> Driver<J, V, C, W>
where
    J: Journal,
    V: Views,
    C: Timepiece,
    W: Watch,
{
    /// Memory is back where it was. What only reads is answered from there, what has happened is kept until there is room,
    /// and everybody else is told.
    pub(super) fn not_recorded(&mut self, held: Vec<Held>, why: Unrecorded) -> Result<(), End> {
        let (why, full) = match why {
            Unrecorded::Unfit(_) if held.len() > 1 => {
                // One of them is to blame; the others must not suffer for it.
                return held.into_iter().try_for_each(|one| self.decide_and_record(VecDeque::from([one.inbound])));
            }
            Unrecorded::Unfit(why) => {
                error!(reason = %why, "A decision does not fit into the record; it is refused");
                (why, false)
            }
            Unrecorded::Full(why) => {
                warn!(reason = %why, "There is no room on the disk: what has to be recorded is refused");
                self.trouble = Some(why.clone());
                self.room_at = Some(Instant::now() + ROOM_AGAIN_AFTER);
                (why, true)
            }
        };
        let (mut answered, mut owed) = (Vec::new(), VecDeque::new());
        for mut one in held {
            if !one.records {
                // It may have been decided on something that is not true after all.
                let undo = Undo::of(&self.state);
                let (answer, decided) = self.decide(&one.inbound);
                one = Held { answer, records: decided.is_some(), ..one };
                if one.records {
                    undo.go_back(&mut self.state);
                }
            }
            let is_owed = |owed: &VecDeque<Inbound>| owed.iter().any(|owed| owed.input.id == one.inbound.input.id);
            match one.records {
                true if is_owed(&owed) || is_owed(&self.owed) => {}
                false => answered.push(one),
                true if full && has_happened(&one.inbound.input.kind) => owed.push_back(one.inbound),
                true => {
                    if let Some(reply) = one.inbound.reply {
                        reply(commands::refused(&Refusal::because(why.clone())));
                    }
                }
            }
        }
        owed.append(&mut self.owed);
        self.owed = owed;
        self.let_go(&[], answered);
        Ok(())
    }

    /// Nothing waits for the disk, or it is not yet time to try it again.
    pub(super) fn may_record(&self) -> bool {
        self.room_at.is_none_or(|at| at <= Instant::now())
    }

    /// Tries a full disk again with a line that says nothing, unless something that has to be recorded is about to try it.
    pub(super) fn look_for_room(&mut self) -> Result<(), End> {
        if self.room_at.is_none() || !self.may_record() || !self.owed.is_empty() {
            return Ok(());
        }
        self.rooms += 1;
        let entry = Entry {
            at_ms: self.state.latest.map_or(self.now(), |latest| latest.max(self.now())).timestamp_millis(),
            team: self.parts.workspace.team.name.clone(),
            input: format!("room:{}:{}", self.parts.journal.epoch(), self.rooms),
            skip: true,
            ..Entry::default()
        };
        if let Err(Unrecorded::Full(why) | Unrecorded::Unfit(why)) = self.append(vec![entry])? {
            self.trouble = Some(why);
            self.room_at = Some(Instant::now() + ROOM_AGAIN_AFTER);
        }
        Ok(())
    }

    /// One write, one sync.
    pub(super) fn write(&mut self, written: &[Decided]) -> Result<Result<(), Unrecorded>, End> {
        let team = &self.parts.workspace.team.name;
        let entries = written.iter().map(|decided| record::entry(decided, team)).collect();
        self.append(entries)
    }

    fn append(&mut self, entries: Vec<Entry>) -> Result<Result<(), Unrecorded>, End> {
        let epoch = self.parts.journal.epoch();
        let appended = tokio::task::block_in_place(|| self.parts.journal.append(epoch, entries));
        let committed = match appended {
            Ok(committed) => committed,
            Err(AppendError::DiskFull(why)) => return Ok(Err(Unrecorded::Full(why))),
            Err(AppendError::Unfit(why)) => return Ok(Err(Unrecorded::Unfit(why))),
            Err(error @ (AppendError::Fatal(_) | AppendError::Fenced(_))) => {
                return Err(End::Record(error.to_string()));
            }
        };
        if self.trouble.take().is_some() {
            info!("There is room on the disk again");
        }
        self.room_at = (!self.owed.is_empty()).then(Instant::now);
        self.state.seq = self.state.seq.max(committed.last_seq);
        self.bring_views_forward(&committed.lines);
        Ok(Ok(()))
    }

    /// The views follow the journal; when they cannot, the bot goes on without them.
    fn bring_views_forward(&mut self, lines: &[Line]) {
        let mut touched: BTreeSet<Thing> = BTreeSet::new();
        for line in lines {
            let (decided, _) = record::decided(line);
            touched.extend(decided.facts.iter().map(|(on, _)| *on));
            touched.extend(decided.effects.iter().map(|effect| effect.on));
        }
        touched.extend(aged(touched.iter()));
        let open: Vec<(String, bool)> = touched
            .iter()
            .filter_map(|thing| match thing {
                Thing::Team => None,
                Thing::Incident(id) => Some((thing.to_string(), self.state.must_hold(*id))),
                Thing::Deploy(_) => Some((thing.to_string(), self.state.has_pending(*thing))),
                Thing::Alert(id) => Some((thing.to_string(), self.state.is_open_alert(*id))),
            })
            .collect();
        let mut docs = vec![team_doc(&self.state)];
        // In a storm it is large, and most of what happens is about something else.
        if touched.iter().any(|on| matches!(on, Thing::Team | Thing::Alert(_))) {
            docs.push(alerts_doc(&self.state));
        }
        let head = self.parts.journal.head();
        let views = &mut self.parts.views;
        if let Err(error) = tokio::task::block_in_place(|| views.apply(lines, &head, &open, &docs)) {
            warn!(reason = %error, "The database did not take this in; I go on from the log");
        }
    }
}

/// Whether an input tells what has happened already: it is no use to refuse it, and nobody will send it again.
fn has_happened(kind: &InputKind) -> bool {
    matches!(
        kind,
        InputKind::Effect(_)
            | InputKind::Started(_)
            | InputKind::PolicyAdopted { .. }
            | InputKind::PolicyRefused { .. }
            | InputKind::Gone(_)
    )
}
