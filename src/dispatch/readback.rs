//! A look at what an earlier attempt did: did it take effect?
//!
//! Only what the answer shows counts. A state that reads otherwise than it was written is taken for
//! another one: the write is then repeated, which does no harm where a look is followed by a write.
//! Not here: when a look is due, what follows from it (`judge`).

use feishu_im::answers::{Message, Messages, Progress, Reactions};
use feishu_im::{Api, Reply};
use serde_json::json;

use crate::dispatch::doubt::same;
use crate::dispatch::{follow, perform};
use crate::job::{Kind, Marked};
use crate::store::{End, Finish};

/// What an answer shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Did it take effect? `None`: the answer does not say.
    pub(super) verified: Option<bool>,
    /// What the lost answer would have said: JSON object.
    pub(super) receipt: Option<String>,
    /// The rest may say it: where the next page begins.
    pub(super) next: Option<String>,
}

impl Shown {
    fn says(verified: bool) -> Shown {
        Shown {
            verified: Some(verified),
            ..Shown::default()
        }
    }

    /// Asks for the next page at once, or leaves no trace of the pages before.
    pub(super) fn turn(&self, marked: &Marked, finish: &mut Finish, now_ms: i64) {
        match (&self.next, &mut finish.end) {
            (Some(token), End::Again { run_ms }) => {
                *run_ms = now_ms;
                finish.progress = Some(json!({"page_token": token}).to_string());
            }
            _ if follow::page_token(marked).is_some() => {
                finish.progress = Some(String::from("{}"));
            }
            _ => {}
        }
    }
}

/// What `reply`, the answer of a look, shows of the job. `app_id`: whose reactions are its own.
pub(super) fn shown(marked: &Marked, reply: &Reply, app_id: &str) -> Shown {
    match (marked.head.kind, marked.head.api()) {
        // A recalled message comes as deleted, as an empty list, or as one of these codes.
        // Source: feishu/endpoints.md, section 2.13.
        (Kind::Recall, Api::GetMessage) if matches!(reply.code, 230_011 | 230_110) => {
            Shown::says(true)
        }
        _ if reply.code != 0 => Shown::default(),
        (Kind::Recall, Api::GetMessage) => {
            let found = reply.data::<Messages>().ok();
            let gone = |found: Messages| found.items.iter().all(|message| message.deleted);
            found.map(gone).map_or_else(Shown::default, Shown::says)
        }
        (_, Api::GetMessage) => {
            let found = reply.data::<Messages>().ok();
            let first = found.and_then(|found| found.items.into_iter().next());
            let same = first.map(|message| is_written(marked, &message));
            same.map_or_else(Shown::default, Shown::says)
        }
        (_, Api::BatchProgress) => {
            let progress = reply.data::<Progress>().ok();
            let recalled = progress.map(|progress| progress.recall.recall);
            recalled.map_or_else(Shown::default, Shown::says)
        }
        (_, Api::ListReactions) => match reply.data::<Reactions>() {
            Ok(page) => reacted(marked, page, app_id),
            Err(_) => Shown::default(),
        },
        _ => Shown::default(),
    }
}

/// Does the message say what the update says?
fn is_written(marked: &Marked, message: &Message) -> bool {
    let written = perform::sent_content(&marked.args, marked.resolved.as_deref(), marked.rung);
    let (Ok((msg_type, sent)), Some(body), false) = (written, &message.body, message.deleted)
    else {
        return false;
    };
    message.msg_type.as_deref() == Some(&*msg_type)
        && same(&msg_type, &sent, &body.content) == Some(true)
}

/// Is the bot's reaction there, or gone, as the job has it?
fn reacted(marked: &Marked, page: Reactions, app_id: &str) -> Shown {
    let [id, emoji] = ["reaction", "emoji"].map(|name| perform::word(marked, name));
    let adds = marked.head.kind == Kind::React;
    let found = page.items.iter().find(|one| match adds {
        true => {
            let own = one.operator.operator_type == "app" && one.operator.operator_id == app_id;
            own && emoji.as_ref() == Some(&one.reaction_type.emoji_type)
        }
        false => id.as_ref() == Some(&one.reaction_id),
    });
    if let Some(one) = found {
        let receipt = json!({
            "reaction_id": one.reaction_id,
            "operator": {"operator_id": one.operator.operator_id, "operator_type": one.operator.operator_type},
            "action_time": one.action_time.map(|ms| ms.to_string()),
            "reaction_type": {"emoji_type": one.reaction_type.emoji_type},
        });
        return Shown {
            receipt: adds.then(|| receipt.to_string()),
            ..Shown::says(adds)
        };
    }
    // A token that comes back would be followed for ever.
    let before = follow::page_token(marked);
    let next = page
        .page_token
        .filter(|token| page.has_more && !token.is_empty() && Some(token) != before.as_ref());
    match next {
        Some(_) => Shown {
            next,
            ..Shown::default()
        },
        None => Shown::says(!adds),
    }
}
