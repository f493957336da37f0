//! The order within a lane: of two jobs the one that was accepted first is shown first, when
//! - both stand in one lane and have one priority,
//! - the first was acknowledged before the second was posted, or stands before it in the same request
//!   (two requests that were under way together have no order),
//! - neither has a schedule of its own or waits for another job (an image's upload),
//! - both were shown, and neither was ever in doubt, sent again in spite of doubt, or retried by a person:
//!   a job in doubt lets its lane go on, and a retried one begins anew.
//!
//! And of the children of one message, which stand in its lane from the same moment: the first named first.

use std::collections::HashMap;

use super::super::plan::{Kind, What};
use super::{Asked, Case, Sin, Verdict, text};

/// Finds every job that was shown too early.
pub(super) fn check(case: &Case<'_>, verdict: &mut Verdict) {
    let mut lanes: HashMap<(&str, &str), Vec<Shown<'_>>> = HashMap::new();
    let mut families: HashMap<&str, Vec<Shown<'_>>> = HashMap::new();
    for asked in &case.evidence.asked {
        let Some(shown) = ordered(case, asked) else {
            continue;
        };
        match (&asked.parent, asked.job.kind) {
            (None, Kind::Text) => {
                let lane = asked.job.lane.as_deref().unwrap_or(&asked.job.to);
                lanes
                    .entry((lane, asked.job.priority))
                    .or_default()
                    .push(shown);
            }
            (Some(parent), Kind::Pin | Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone) => {
                families.entry(parent).or_default().push(shown);
            }
            _ => {}
        }
    }
    for ((lane, _), shown) in lanes {
        judge(lane, shown, verdict);
    }
    for (parent, shown) in families {
        judge(parent, shown, verdict);
    }
}

struct Shown<'a> {
    seq: u64,
    asked: &'a Asked,
}

/// Where it stands in the order of what was shown, when it has to keep one.
fn ordered<'a>(case: &Case<'_>, asked: &'a Asked) -> Option<Shown<'a>> {
    let id = asked.id.as_deref()?;
    let [effect] = case.shown(&asked.job.marker) else {
        return None;
    };
    let retried = |id: &str| case.acts(id).iter().any(|act| act.what == What::Retry);
    let job = case.by_id.get(id)?;
    let free = asked.job.delay_s.is_some()
        || asked.job.on_doubt != "hold"
        || case.doubted.contains(id)
        || text(job, "state") == "in_doubt"
        || retried(id)
        || job["parent"].as_str().is_some_and(retried);
    let seq = effect["seq"].as_u64()?;
    (!free).then_some(Shown { seq, asked })
}

/// From the last to the first: who comes later must not have been acknowledged before this one was posted.
fn judge(lane: &str, mut shown: Vec<Shown<'_>>, verdict: &mut Verdict) {
    shown.sort_by_key(|one| std::cmp::Reverse(one.seq));
    let mut earliest: Option<&Asked> = None;
    let mut places: HashMap<u64, &Asked> = HashMap::new();
    for Shown { asked, .. } in shown {
        let before = earliest.filter(|other| other.answered < Some(asked.posted));
        let in_request = places
            .get(&asked.request)
            .filter(|other| other.place < asked.place);
        if let Some(other) = before.or(in_request.copied()) {
            let says = format!(
                "in lane {lane} {} was shown before {}, which was there first",
                asked.job.marker, other.job.marker
            );
            verdict.add(Sin::OutOfOrder, says);
        }
        if asked.answered.is_some() && earliest.is_none_or(|other| asked.answered < other.answered)
        {
            earliest = Some(asked);
        }
        let place = places.entry(asked.request).or_insert(asked);
        if asked.place < place.place {
            *place = asked;
        }
    }
}
