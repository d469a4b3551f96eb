//! The figures of a service as a chart: a panel each, with the bounds of its target, and the releases drawn in.

use super::{Missing, Of, Over, Reading, Shown};
use crate::domain::chart::{Bound, BoundKind, Chart, PANELS_MAX, Panel};
use crate::domain::chart::{Mark as Moment, Unit};
use crate::domain::draft::Ctx;
use crate::domain::policy::Amount;
use crate::domain::releases::ledger;
use crate::domain::text::metrics as words;

/// What was read of each thing that is shown.
pub type Read<'a> = Vec<(Shown<'a>, Result<Reading, Missing>)>;

/// The chart. What nothing measures has no panel: the words say it.
pub fn chart(ctx: &Ctx<'_>, of: &Of<'_>, over: Over, read: &Read<'_>) -> Chart {
    let zone = ctx.workspace.team.zone;
    let about = words::about(of.service.as_str(), of.stage);
    let said = words::lines(read, ctx.now, zone);
    let measured = read.iter().filter(|(_, reading)| !matches!(reading, Err(Missing::NotMeasured(_))));
    let releases = ledger(ctx, of.service, of.stage).into_iter().flat_map(|ledger| &ledger.releases);
    let mut marks: Vec<Moment> = releases
        .filter_map(|release| Some(Moment { at: release.at?, label: format!("v{}", release.version) }))
        .filter(|mark| mark.at >= over.from && mark.at <= over.to)
        .collect();
    marks.sort_by_key(|mark| mark.at);
    Chart {
        title: about.clone(),
        alt: format!("{about}. {}", said.join(". ")),
        from: over.from,
        to: over.to,
        zone,
        panels: measured.take(PANELS_MAX).map(|(shown, reading)| panel(shown, reading)).collect(),
        marks,
    }
}

fn panel(shown: &Shown<'_>, reading: &Result<Reading, Missing>) -> Panel {
    let unit: Unit = shown.unit();
    let bound = |kind: BoundKind, level: Option<Amount>| Some(Bound { kind, at: level?.value });
    let bounds = shown.target.map_or(Vec::new(), |target| {
        let both = [bound(BoundKind::Warning, target.warn_above), bound(BoundKind::Critical, target.critical_above)];
        both.into_iter().flatten().collect()
    });
    Panel {
        title: words::titled(shown),
        unit,
        lines: reading.as_ref().map_or(Vec::new(), |reading| reading.lines.clone()),
        bounds,
        says: words::beside(shown, reading),
        empty: words::empty(shown, reading),
    }
}
