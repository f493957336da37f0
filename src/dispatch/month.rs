//! Which calls count towards the month's quota, and what is said when it runs short.
//!
//! An answer with a status of 400 or more does not count, whoever gave it; a call whose answer never
//! came does, for it may have been done: the count is rather too high than too low.
//! Source: feishu/limits.md, section 1.3.
//! Not here: who is held back (`core::month`), the rows (`store::month`).

use feishu_im::{Client, Exchange, Fault as Failure, op};
use tokio::task::JoinSet;

use crate::dispatch::core::Spent;
use crate::dispatch::handle::App;
use crate::job::month::{RESERVE_PERCENT, SAVED_PERCENT};
use crate::job::{AppId, Marked};
use crate::store::{Counted, MonthStart, MonthWord, Store};

/// How this attempt counts, if it does.
pub(super) fn counted(marked: &Marked, exchange: &Exchange) -> Option<Counted> {
    let again = is_repeat(marked);
    lost(exchange).map(|lost| Counted { again, lost })
}

/// How an attempt counts whose process ended before its answer.
pub(super) fn left(marked: &Marked) -> Option<Counted> {
    let again = is_repeat(marked);
    let counted = marked.head.api().endpoint().counted;
    counted.then_some(Counted { again, lost: true })
}

/// `None`: it does not count. Else whether its answer never came.
pub(super) fn lost(exchange: &Exchange) -> Option<bool> {
    let lost = match &exchange.answer {
        Ok(reply) => (reply.http < 400).then_some(false),
        Err(Failure::Unknown { http, .. }) => http.is_none_or(|http| http < 400).then_some(true),
        Err(Failure::NotJson { http, .. }) => (*http < 400).then_some(true),
        Err(Failure::NotSent { .. } | Failure::Token(_)) => None,
    };
    lost.filter(|_| exchange.api.endpoint().counted)
}

/// The next page, the next part and the next question are no repeats, though they are later attempts.
fn is_repeat(marked: &Marked) -> bool {
    let goes_on = marked.part.is_some() || !marked.head.kind.is_public();
    marked.spent != Default::default()
        || marked.head.unknown.is_some()
        || (marked.attempt > 1 && !goes_on)
}

/// Reads something, to see whether Feishu is back: whether it was answered, and whether the call counts.
pub(super) async fn look(store: Store, client: Client, app: AppId) -> (bool, bool) {
    let exchange = client.call(&op::BotInfo.request()).await;
    let lost = lost(&exchange);
    if let Some(lost) = lost
        && let Err(error) = store.say_of_month(MonthWord::Probed { app, lost }).await
    {
        tracing::warn!(%error, "a call is missing in the month's ledger");
    }
    (exchange.answer.is_ok(), lost.is_some())
}

/// Places of apps whose tenants' reserve a person opened.
pub(super) fn opened(month: &MonthStart, apps: &[App]) -> Vec<usize> {
    let apps = apps.iter().enumerate();
    apps.filter(|(_, app)| month.open.contains(&app.tenant))
        .map(|(at, _)| at)
        .collect()
}

/// Says that so much of a quota is spent, once a month.
pub(super) fn say(tasks: &mut JoinSet<()>, store: &Store, apps: &[App], spent: Vec<Spent>) {
    for spent in spent {
        tasks.spawn(warn(store.clone(), apps[spent.app].tenant.clone(), spent));
    }
}

/// Says it, unless it was said before.
async fn warn(store: Store, tenant: String, spent: Spent) {
    let Spent {
        month,
        quota,
        used,
        percent,
        ..
    } = spent;
    let word = MonthWord::Warned {
        month,
        tenant: tenant.clone(),
        quota,
        percent,
    };
    // Whether it was said cannot be told: rather twice than never.
    if !store.say_of_month(word).await.unwrap_or(true) {
        return;
    }
    tracing::warn!(
        tenant,
        month = month.name(),
        used,
        quota,
        "{percent} % of the month's calls are spent; of the last {SAVED_PERCENT} % the relay asks for no readers and no progress, the last {RESERVE_PERCENT} % are kept for high"
    );
}
