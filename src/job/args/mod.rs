//! The args of each kind: checked, aliases brought to one name, bytes taken out, batches cut in parts.
//!
//! Where Feishu has a name for a thing, that name is taken too. What is stored has the contract's names.

mod cards;
mod carried;
mod hooks;
mod messages;

use std::cell::Cell;

use feishu_im::{BatchContent, CONTENT_KEYS, Content, ContentUse, IdType};
use serde_json::{Map, Value, json};

pub(super) use self::carried::Own;
pub use self::carried::{Arrived, UPLOAD_BYTES_MAX, Upload};
use crate::job::fields::{Fields, Flaw};
use crate::job::submit::{NewPart, Reference};
use crate::job::{Degraded, JobId, Kind, Makes, Needs, OnRefused, Role, has_ladder, values};

/// The lists of a batch, under the contract's names and Feishu's.
pub struct BatchLists;

impl BatchLists {
    /// Name in args, and Feishu's.
    pub const NAMES: [(&'static str, &'static str); 4] = [
        ("open_ids", "open_ids"),
        ("user_ids", "user_ids"),
        ("union_ids", "union_ids"),
        ("department_ids", "department_ids"),
    ];
}

impl std::fmt::Debug for BatchLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BatchLists")
    }
}

/// Args that were found good.
pub(super) struct Parsed {
    pub(super) args: String,
    pub(super) to: Option<String>,
    pub(super) lane: Option<String>,
    pub(super) references: Vec<Reference>,
    pub(super) parts: Vec<NewPart>,
    pub(super) people: usize,
    pub(super) upload: Option<Upload>,
    /// Its card starts on a lower rung.
    pub(super) degraded: Option<Degraded>,
    /// With the place in `args` where the upload's id will stand.
    pub(super) first: Vec<(String, Own)>,
}

/// The job above one in `then`.
#[derive(Clone, Copy)]
pub(super) struct Parent<'a> {
    pub(super) kind: Kind,
    /// The message that it acts on, as its args name it.
    pub(super) message: Option<&'a Value>,
}

/// The message that args name, as written.
pub(super) fn message(args: Option<&Value>) -> Option<&Value> {
    let args = args?;
    let named = ["message", "message_id"].map(|name| args.get(name));
    named.into_iter().flatten().next()
}

/// Checks `map`, the args of a `kind`, standing at `at`. `parent`: the job above it.
pub(super) fn read(
    kind: Kind,
    map: &Map<String, Value>,
    at: &str,
    parent: Option<Parent<'_>>,
    arrived: &[Arrived],
    on_refused: OnRefused,
) -> Result<Parsed, Vec<Flaw>> {
    let mut reader = Reader {
        arrived,
        degrades: on_refused == OnRefused::Degrade && has_ladder(kind),
        ..Reader::new(map, at, parent)
    };
    match kind {
        Kind::Send => reader.send(),
        Kind::BatchSend => reader.batch_send(),
        Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone => {
            reader.target(kind);
            reader.users();
            reader.done(Vec::new(), None)
        }
        Kind::Pin | Kind::Unpin | Kind::Recall | Kind::BatchRecall => {
            reader.target(kind);
            reader.done(Vec::new(), None)
        }
        Kind::UploadImage | Kind::UploadFile => reader.upload(kind),
        Kind::Reply => reader.reply(),
        Kind::Edit => reader.edit(),
        Kind::Forward | Kind::MergeForward | Kind::ForwardThread => reader.forward(kind),
        Kind::FollowUp => reader.follow_up(),
        Kind::React => reader.react(),
        Kind::Unreact => reader.unreact(),
        Kind::UpdateCard => reader.update_card(),
        Kind::DelayUpdateCard => reader.delay_update_card(),
        Kind::SendEphemeral => reader.send_ephemeral(),
        Kind::DeleteEphemeral => {
            reader.target(kind);
            reader.done(Vec::new(), None)
        }
        Kind::UpdateUrlPreviews => reader.update_url_previews(),
        Kind::Webhook => reader.webhook(),
        Kind::BatchProgress | Kind::ReadUsers | Kind::BatchReadUser | Kind::History => {
            reader.fields.flaw("", "the relay makes these jobs itself");
            reader.done(Vec::new(), None)
        }
    }
}

struct Reader<'a> {
    fields: Fields<'a>,
    map: &'a Map<String, Value>,
    at: &'a str,
    out: Map<String, Value>,
    references: Vec<Reference>,
    to: Option<String>,
    lane: Option<String>,
    parent: Option<Parent<'a>>,
    arrived: &'a [Arrived],
    degrades: bool,
    degraded: Option<Degraded>,
    /// Bytes of its own, which come first.
    first: Vec<(String, Own)>,
}

impl<'a> Reader<'a> {
    fn new(map: &'a Map<String, Value>, at: &'a str, parent: Option<Parent<'a>>) -> Reader<'a> {
        Reader {
            fields: Fields::new(map, at),
            map,
            at,
            out: Map::new(),
            references: Vec::new(),
            to: None,
            lane: None,
            parent,
            arrived: &[],
            degrades: false,
            degraded: None,
            first: Vec::new(),
        }
    }

    fn done(mut self, parts: Vec<NewPart>, upload: Option<Upload>) -> Result<Parsed, Vec<Flaw>> {
        if self.parent.is_some()
            && !self
                .references
                .iter()
                .any(|reference| reference.job.is_none() && reference.role != Role::Image)
        {
            self.references.push(Reference {
                role: Role::After,
                job: None,
                makes: None,
                pointer: self.at.to_owned(),
            });
        }
        let flaws = self.fields.finish();
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let buzzed = self
            .out
            .get("users")
            .and_then(Value::as_array)
            .map(Vec::len);
        let named = parts
            .first()
            .and_then(|part| usize::try_from(part.count).ok());
        let people = buzzed.or(named).unwrap_or(1);
        Ok(Parsed {
            args: Value::Object(self.out).to_string(),
            to: self.to,
            lane: self.lane,
            references: self.references,
            people,
            parts,
            upload,
            first: self.first,
            degraded: self.degraded,
        })
    }

    fn send(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.receiver(false);
        self.sent(ContentUse::Send);
        self.done(Vec::new(), None)
    }

    /// The content of a message; a card may go down the ladder, maybe at once.
    fn sent(&mut self, used: ContentUse) {
        if !self.degrades {
            return self.content(|content| Content::checked(content, used).err());
        }
        let lowered = Cell::new(None);
        self.content(|content| match Content::degradable(content) {
            Ok(found) => {
                lowered.set(found);
                None
            }
            Err(flaws) => Some(flaws),
        });
        self.degraded = lowered.take().map(|found| Degraded::to(1, None, found.why));
    }

    /// Takes the content over, checked; bytes of its own come first, as uploads.
    fn content(&mut self, flaws: impl Fn(&Map<String, Value>) -> Option<Vec<feishu_im::Flaw>>) {
        self.fields.leave(CONTENT_KEYS);
        let mut content: Map<String, Value> = self
            .map
            .iter()
            .filter(|(name, _)| CONTENT_KEYS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.own(&mut content);
        for flaw in flaws(&content).into_iter().flatten() {
            self.fields.inner(flaw.pointer, flaw.detail);
        }
        let named = content.get("image").and_then(Value::as_str);
        let job = named.and_then(|name| name.parse::<JobId>().ok());
        if job.is_some() {
            content.remove("image");
            self.references.push(Reference {
                role: Role::Image,
                job,
                makes: Some(Makes::Image),
                pointer: format!("{}/image", self.at),
            });
        }
        for (name, value) in &content {
            // A person's words are words, whatever they look like.
            if !matches!(name.as_str(), "text" | "markdown" | "system" | "msg_type") {
                self.named_in(name, value);
            }
        }
        self.out.append(&mut content);
    }

    /// Jobs that stand in the content of that name where the ids that they make will stand.
    fn named_in(&mut self, name: &str, value: &Value) {
        for (pointer, job) in values::named(name, value) {
            self.references.push(Reference {
                role: Role::Value,
                job: Some(job),
                makes: carried::made_at(name, &pointer),
                pointer: format!("{}/{name}{pointer}", self.at),
            });
        }
    }

    /// `threads`: it may be one.
    fn receiver(&mut self, threads: bool) {
        let kind = self.fields.either(&["to_type", "receive_id_type"]);
        let to = self.fields.either(&["to", "receive_id"]);
        let to =
            match to {
                None => return self.fields.flaw(
                    "to",
                    "is missing: a chat (oc_…), a person (ou_…, on_…, a user id) or a mail address",
                ),
                Some((name, value)) => match value.as_str() {
                    Some(text)
                        if !text.is_empty()
                            && text.len() <= 200
                            && !text.chars().any(char::is_control) =>
                    {
                        text
                    }
                    _ => return self.fields.flaw(name, "must be a string of 1 to 200 bytes"),
                },
            };
        if to.starts_with("om_") || to.starts_with("bm-") || to.starts_with(JobId::PREFIX) {
            self.fields.flaw("to", "is a message, not a receiver");
        }
        let id_type = match kind {
            None => IdType::guess(to),
            Some((name, value)) => match value.as_str().and_then(IdType::from_name) {
                Some(id_type) if threads || id_type != IdType::ThreadId => id_type,
                _ => {
                    let also = if threads { ", thread_id" } else { "" };
                    let detail =
                        format!("must be one of open_id, union_id, user_id, email, chat_id{also}");
                    return self.fields.flaw(name, detail);
                }
            },
        };
        if id_type == IdType::ThreadId && !threads {
            let detail = "is a thread: only forwards go there; reply to a message in it";
            self.fields.flaw("to", detail);
        }
        self.out.insert("to".into(), json!(to));
        self.out.insert("to_type".into(), json!(id_type.name()));
        self.to = Some(to.to_owned());
    }

    fn upload(mut self, kind: Kind) -> Result<Parsed, Vec<Flaw>> {
        let own = match kind {
            Kind::UploadImage => carried::image(&mut self.fields, self.arrived),
            _ => carried::file(&mut self.fields, self.arrived, carried::Sent::Upload),
        };
        match own {
            None => self.done(Vec::new(), None),
            Some(own) => {
                let mut parsed = self.done(Vec::new(), Some(own.upload))?;
                parsed.args = own.args;
                Ok(parsed)
            }
        }
    }

    /// The message or batch that is acted on.
    fn target(&mut self, kind: Kind) {
        let (names, prefix, role, makes): (&[&'static str], _, _, _) = match kind.needs() {
            Needs::Message => (
                &["message", "message_id"],
                "om_",
                Role::Message,
                Makes::Message,
            ),
            Needs::Ephemeral => (
                &["message", "message_id"],
                "om_",
                Role::Message,
                Makes::Ephemeral,
            ),
            Needs::Batch => (
                &["batch", "batch_message_id"],
                "bm-",
                Role::Batch,
                Makes::Batch,
            ),
            Needs::Nothing => return,
        };
        let Some((name, value)) = self.fields.either(names) else {
            return match self.parent.map(|parent| parent.kind) {
                Some(parent) if parent.makes() == makes => self.references.push(Reference {
                    role,
                    job: None,
                    makes: Some(makes),
                    pointer: self.at.to_owned(),
                }),
                Some(parent) => self.fields.flaw(
                    names[0],
                    format!("is missing; the parent, a {}, makes none", parent.name()),
                ),
                None => self.fields.flaw(
                    names[0],
                    format!("is missing: an id ({prefix}…) or a job (job_…)"),
                ),
            };
        };
        self.named_target(name, value, (names[0], prefix), (role, makes));
    }

    /// What is acted on, by its id or by the job that makes it.
    fn named_target(
        &mut self,
        name: &'static str,
        value: &Value,
        (kept_as, prefix): (&'static str, &str),
        (role, makes): (Role, Makes),
    ) {
        match value.as_str() {
            Some(id) if is_id(id, prefix) => {
                self.out.insert(kept_as.into(), json!(id));
                self.to = Some(id.to_owned());
            }
            Some(id) => match id.parse::<JobId>() {
                Ok(job) => self.references.push(Reference {
                    role,
                    job: Some(job),
                    makes: Some(makes),
                    pointer: format!("{}/{name}", self.at),
                }),
                Err(_) => self.fields.flaw(
                    name,
                    format!("must be an id ({prefix}…) or a job (job_ and 32 hex digits)"),
                ),
            },
            None => self.fields.flaw(name, "must be a string"),
        }
    }

    fn users(&mut self) {
        let kind = self.fields.text("user_id_type");
        let Some((name, value)) = self.fields.either(&["users", "user_id_list"]) else {
            return self.fields.flaw("users", "is missing: the people to buzz");
        };
        let users = match strings(value) {
            Ok(users)
                if !users.is_empty() && users.len() <= feishu_im::limits::URGENT_USERS_MAX =>
            {
                users
            }
            Ok(users) => {
                return self.fields.flaw(
                    name,
                    format!(
                        "names {} people; 1 to {} are allowed",
                        users.len(),
                        feishu_im::limits::URGENT_USERS_MAX
                    ),
                );
            }
            Err(n) => {
                return self.fields.flaw_at(
                    name,
                    n,
                    "must be a list of ids, each a string that is not empty",
                );
            }
        };
        let id_type = match kind.map(IdType::from_name) {
            None => IdType::guess(users[0]),
            Some(Some(id_type @ (IdType::OpenId | IdType::UnionId | IdType::UserId))) => id_type,
            Some(_) => {
                return self
                    .fields
                    .flaw("user_id_type", "must be one of open_id, union_id, user_id");
            }
        };
        if !matches!(id_type, IdType::OpenId | IdType::UnionId | IdType::UserId) {
            return self.fields.flaw_at(
                name,
                Some(0),
                "is no person's id (ou_…, on_… or a user id)",
            );
        }
        if kind.is_none()
            && let Some(n) = users.iter().position(|user| IdType::guess(user) != id_type)
        {
            return self.fields.flaw_at(
                name,
                Some(n),
                format!(
                    "is no {}, as the first one is; all must be of one kind",
                    id_type.name()
                ),
            );
        }
        self.out.insert("users".into(), json!(unique(&users)));
        self.out
            .insert("user_id_type".into(), json!(id_type.name()));
    }

    fn batch_send(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.content(|content| BatchContent::from_args(content).err());
        let mut lists: Vec<(&'static str, Vec<String>)> = Vec::new();
        for (name, feishu) in BatchLists::NAMES {
            let Some(value) = self.fields.get(name) else {
                continue;
            };
            match strings(value) {
                Ok(ids) => {
                    if name == "department_ids"
                        && let Some(n) = ids.iter().position(|id| *id == "0")
                    {
                        self.fields.flaw_at(
                            name,
                            Some(n),
                            "is the root department; Feishu refuses it",
                        );
                    }
                    lists.push((feishu, unique(&ids)));
                }
                Err(n) => self.fields.flaw_at(
                    name,
                    n,
                    "must be a list of ids, each a string that is not empty",
                ),
            }
        }
        if lists.iter().all(|(_, ids)| ids.is_empty()) && self.fields.flaws.is_empty() {
            self.fields.flaw(
                "",
                "names nobody: give open_ids, user_ids, union_ids or department_ids",
            );
        }
        let parts = cut(&lists);
        self.done(parts, None)
    }
}

/// The names that args of this kind may have.
#[cfg(test)]
pub(super) fn known(kind: Kind) -> Vec<&'static str> {
    let map = Map::new();
    let mut reader = Reader::new(&map, "", None);
    reader.target(kind);
    match kind {
        Kind::Send => reader.receiver(false),
        Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone => reader.users(),
        Kind::UploadImage => drop(carried::image(&mut reader.fields, &[])),
        Kind::UploadFile => drop(carried::file(
            &mut reader.fields,
            &[],
            carried::Sent::Upload,
        )),
        Kind::BatchSend => reader
            .fields
            .leave(&BatchLists::NAMES.map(|(name, _)| name)),
        Kind::Reply
        | Kind::Edit
        | Kind::Forward
        | Kind::MergeForward
        | Kind::ForwardThread
        | Kind::FollowUp
        | Kind::React
        | Kind::Unreact => reader.known_of_message(kind),
        Kind::UpdateCard
        | Kind::DelayUpdateCard
        | Kind::SendEphemeral
        | Kind::UpdateUrlPreviews => reader.known_of_card(kind),
        Kind::Webhook => reader.bot(),
        Kind::Pin
        | Kind::Unpin
        | Kind::Recall
        | Kind::BatchRecall
        | Kind::DeleteEphemeral
        | Kind::BatchProgress
        | Kind::ReadUsers
        | Kind::BatchReadUser
        | Kind::History => {}
    }
    if matches!(
        kind,
        Kind::Send | Kind::BatchSend | Kind::Reply | Kind::Edit | Kind::Webhook
    ) {
        reader.content(|_| None);
    }
    reader.fields.known
}

/// Has it the form of an id of this prefix?
fn is_id(id: &str, prefix: &str) -> bool {
    id.starts_with(prefix)
        && id.len() > prefix.len()
        && id.len() <= 200
        && !id.chars().any(char::is_control)
}

/// The strings of a list. `Err`: the place of the first that is none, or no list at all.
fn strings(value: &Value) -> Result<Vec<&str>, Option<usize>> {
    let list = value.as_array().ok_or(None)?;
    list.iter()
        .enumerate()
        .map(|(n, item)| {
            item.as_str()
                .filter(|id| !id.is_empty() && id.len() <= 200)
                .ok_or(Some(n))
        })
        .collect()
}

/// In the order given, each once.
fn unique(ids: &[&str]) -> Vec<String> {
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    ids.iter()
        .filter(|id| seen.insert(**id))
        .map(|id| (*id).to_owned())
        .collect()
}

/// Part `n` takes the `n`-th 200 of every list, so there are as many parts as the longest list needs.
fn cut(lists: &[(&'static str, Vec<String>)]) -> Vec<NewPart> {
    const SIZE: usize = feishu_im::limits::BATCH_IDS_MAX;
    let longest = lists.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
    (0..longest.div_ceil(SIZE))
        .map(|n| {
            let mut args = Map::new();
            let mut count = 0;
            for (name, ids) in lists {
                let slice: Vec<&String> = ids.iter().skip(n * SIZE).take(SIZE).collect();
                if !slice.is_empty() {
                    count += slice.len() as i64;
                    args.insert((*name).to_owned(), json!(slice));
                }
            }
            NewPart {
                args: Value::Object(args).to_string(),
                count,
            }
        })
        .collect()
}
