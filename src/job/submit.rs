//! From a request to jobs: every fault is named with its place, and nothing is stored before all is well.
//!
//! Not here: whether another job that is named exists (`store`), scopes and bodies (`http`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::job::args::{self, Arrived, Upload};
use crate::job::fields::{Fields, Flaw, escaped};
use crate::job::{
    Degraded, JobId, Kind, LaneRule, Makes, OnDoubt, OnRefused, Priority, Role, changes,
    has_ladder, reads,
};

/// The longest `key`, bytes.
const KEY_BYTES_MAX: usize = 200;
/// The longest `lane`, bytes.
const LANE_BYTES_MAX: usize = 200;
/// The most labels of a job.
const LABELS_MAX: usize = 32;
/// The longest label, name or value, bytes.
const LABEL_BYTES_MAX: usize = 200;
/// The most children of a job.
const CHILDREN_MAX: usize = 100;

/// What is known of the producer and the relay when a request is read.
#[derive(Clone, Debug)]
pub struct Door {
    /// The configured apps; the first is the default.
    pub apps: Vec<String>,
    /// The configured custom bots.
    pub bots: Vec<String>,
    /// Apps that this client may use; `None`: all.
    pub allowed_apps: Option<Vec<String>>,
    /// Kinds that this client may use; `None`: all.
    pub allowed_kinds: Option<Vec<String>>,
    /// The client's name; empty without clients.
    pub client: String,
    /// The client's default priority.
    pub priority: Priority,
    /// The client's default life of a job, milliseconds.
    pub expires_in_ms: Option<i64>,
    /// Labels that every job of this client gets.
    pub labels: BTreeMap<String, String>,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// Bytes that came with the request, beside its JSON.
    pub arrived: Vec<Arrived>,
}

/// A producer's name for a job, and what the request was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As given.
    pub text: String,
    /// SHA-256 of the canonical JSON of the request.
    pub hash: [u8; 32],
}

/// A job of which this one needs something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What it needs.
    pub role: Role,
    /// From whom; `None`: the parent (of an image: the upload that comes first).
    pub job: Option<JobId>,
    /// What that job must make; `None`: anything that has an id (of `After`: anything).
    pub makes: Option<Makes>,
    /// Where the request names it.
    pub pointer: String,
}

/// One part of a batch, as accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPart {
    /// Its lists: JSON object.
    pub args: String,
    /// How many ids they hold.
    pub count: i64,
}

/// An upload that a job's own bytes need first.
#[derive(Clone, Debug)]
pub struct First {
    /// The place in the job's args where the upload's id will stand: a JSON pointer.
    pub place: String,
    /// The upload.
    pub job: NewJob,
}

/// A job that was checked and is not stored yet.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it does.
    pub kind: Kind,
    /// With which app, by its configured name.
    pub app: String,
    /// Who asks.
    pub client: String,
    /// The producer's key.
    pub key: Option<Key>,
    /// Hash of a uuid that a call in Feishu's own form had, and of what it is unique within.
    pub uuid: Option<[u8; 32]>,
    /// Its priority.
    pub priority: Priority,
    /// Not before, Unix milliseconds; of a child, `None` unless it said `not_before`.
    pub start_ms: Option<i64>,
    /// A child's wait after its parent's end.
    pub delay_ms: i64,
    /// Not after, Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// The lane as named, or as its kind has it; `None`: known later, or none.
    pub lane: Option<String>,
    /// Receiver, or message acted on, as written.
    pub to: Option<String>,
    /// The producer's labels over the client's.
    pub labels: BTreeMap<String, String>,
    /// What is asked for, aliases resolved, bytes taken out: JSON object.
    pub args: String,
    /// What to do when the outcome cannot be known.
    pub on_doubt: OnDoubt,
    /// What to do when a card is refused for its form.
    pub on_refused: OnRefused,
    /// Its card does not go as it is: where it starts, and why.
    pub degraded: Option<Degraded>,
    /// Jobs that must be done before.
    pub references: Vec<Reference>,
    /// Parts, when it is a batch.
    pub parts: Vec<NewPart>,
    /// People whom one call reaches, as far as the request tells; at least 1.
    pub people: usize,
    /// What to follow after it is done: JSON object, as written.
    pub track: Option<String>,
    /// Bytes to keep beside the database.
    pub upload: Option<Upload>,
    /// Uploads that come first and whose keys this job takes.
    pub first: Vec<First>,
    /// Its children.
    pub then: Vec<NewJob>,
}

/// Reads one job. `at` is the JSON pointer of `value` in the request (empty for the whole).
///
/// # Errors
/// Every fault found, each with its place. Nothing was stored.
pub fn parse(value: &Value, at: &str, door: &Door) -> Result<NewJob, Vec<Flaw>> {
    read(value, at, door, None)
}

fn read(
    value: &Value,
    at: &str,
    door: &Door,
    parent: Option<&Envelope>,
) -> Result<NewJob, Vec<Flaw>> {
    let Value::Object(map) = value else {
        return Err(vec![Flaw {
            pointer: at.to_owned(),
            detail: String::from("must be an object with \"kind\" and \"args\""),
        }]);
    };
    let mut fields = Fields::new(map, at);
    let mut envelope = Envelope::read(&mut fields, door, parent);
    let then = fields.get("then").cloned();
    let args = fields.get("args");
    envelope.message = args::message(args).cloned();
    if !matches!(args, None | Some(Value::Object(_))) {
        fields.flaw("args", "must be an object");
    }
    if parent.is_some() && then.is_some() {
        fields.flaw("then", "children have no children of their own");
    }
    let mut flaws = fields.finish();
    let Some(kind) = envelope.kind else {
        return Err(flaws);
    };
    if envelope.on_refused == OnRefused::Degrade && !has_ladder(kind) {
        flaws.push(Flaw {
            pointer: format!("{at}/on_refused"),
            detail: format!(
                "a {} makes no message that could be a post or a text",
                kind.name()
            ),
        });
    }

    let empty = Map::new();
    let parsed = match args {
        None | Some(Value::Object(_)) => args::read(
            kind,
            args.and_then(Value::as_object).unwrap_or(&empty),
            &format!("{at}/args"),
            parent.and_then(Envelope::as_parent),
            &door.arrived,
            envelope.on_refused,
        ),
        Some(_) => Err(Vec::new()), // said already; nothing more can be said of it
    };
    let parsed = parsed.and_then(|parsed| known_bot(kind, parsed, at, door));
    let children = read_children(then.as_ref(), at, door, &envelope, parent.is_some());
    match (parsed, children) {
        (Ok(parsed), Ok(children)) if flaws.is_empty() => {
            let changed = changes::flaws(kind, args.and_then(Value::as_object), at, &children);
            if !changed.is_empty() {
                return Err(changed);
            }
            Ok(envelope.job(kind, parsed, children, value, door, parent))
        }
        (parsed, children) => {
            flaws.extend(parsed.err().unwrap_or_default());
            flaws.extend(children.err().unwrap_or_default());
            Err(flaws)
        }
    }
}

/// A bot that nobody knows is a fault of the request.
fn known_bot(
    kind: Kind,
    parsed: args::Parsed,
    at: &str,
    door: &Door,
) -> Result<args::Parsed, Vec<Flaw>> {
    let bot = parsed.to.as_deref().filter(|_| kind == Kind::Webhook);
    match bot {
        Some(bot) if !door.bots.iter().any(|one| one == bot) => Err(vec![Flaw {
            pointer: format!("{at}/args/bot"),
            detail: match door.bots.is_empty() {
                true => format!("unknown bot {bot:?}; the config has no [[bots]]"),
                false => format!("unknown bot {bot:?}; configured: {}", door.bots.join(", ")),
            },
        }]),
        Some(_) | None => Ok(parsed),
    }
}

fn read_children(
    then: Option<&Value>,
    at: &str,
    door: &Door,
    envelope: &Envelope,
    is_child: bool,
) -> Result<Vec<NewJob>, Vec<Flaw>> {
    let list = match then {
        None => return Ok(Vec::new()),
        Some(_) if is_child => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= CHILDREN_MAX => list,
        Some(Value::Array(_)) => {
            return Err(vec![Flaw {
                pointer: format!("{at}/then"),
                detail: format!("has more than {CHILDREN_MAX} jobs"),
            }]);
        }
        Some(_) => {
            return Err(vec![Flaw {
                pointer: format!("{at}/then"),
                detail: String::from("must be a list of jobs"),
            }]);
        }
    };
    let mut jobs = Vec::with_capacity(list.len());
    let mut flaws = Vec::new();
    for (n, child) in list.iter().enumerate() {
        match read(child, &format!("{at}/then/{n}"), door, Some(envelope)) {
            Ok(job) => jobs.push(job),
            Err(more) => flaws.extend(more),
        }
    }
    if flaws.is_empty() {
        Ok(jobs)
    } else {
        Err(flaws)
    }
}

/// What every kind has around its args.
pub(super) struct Envelope {
    kind: Option<Kind>,
    app: String,
    key: Option<String>,
    priority: Priority,
    start_ms: Option<i64>,
    delay_ms: Option<i64>,
    expires_ms: Option<i64>,
    lane: Option<String>,
    labels: BTreeMap<String, String>,
    on_doubt: OnDoubt,
    on_refused: OnRefused,
    track: Option<String>,
    /// The message that its args name, as written.
    message: Option<Value>,
}

impl Envelope {
    fn as_parent(&self) -> Option<args::Parent<'_>> {
        let message = self.message.as_ref();
        self.kind.map(|kind| args::Parent { kind, message })
    }

    pub(super) fn read(
        fields: &mut Fields<'_>,
        door: &Door,
        parent: Option<&Envelope>,
    ) -> Envelope {
        let kind = read_kind(fields, door);
        let app = read_app(fields, door, parent);
        let priority = fields.word("priority", Priority::ALL, Priority::name);
        let (start_ms, delay_ms) = read_start(fields);
        let expires_ms = read_expiry(fields, door, parent, start_ms, delay_ms);
        Envelope {
            kind,
            app,
            key: read_key(fields, parent.is_some()),
            priority: priority.unwrap_or(parent.map_or(door.priority, |parent| parent.priority)),
            start_ms,
            delay_ms,
            expires_ms,
            lane: read_short(fields, "lane", LANE_BYTES_MAX),
            labels: read_labels(fields, door, parent),
            on_doubt: fields
                .word("on_doubt", OnDoubt::ALL, OnDoubt::name)
                .unwrap_or(OnDoubt::Hold),
            on_refused: fields
                .word("on_refused", OnRefused::ALL, OnRefused::name)
                .unwrap_or(OnRefused::Fail),
            track: reads::track(fields, kind),
            message: None,
        }
    }

    fn job(
        self,
        kind: Kind,
        parsed: args::Parsed,
        then: Vec<NewJob>,
        whole: &Value,
        door: &Door,
        parent: Option<&Envelope>,
    ) -> NewJob {
        let lane = self.lane.or_else(|| match kind.lane() {
            LaneRule::Receiver | LaneRule::Message => parsed.to.clone(),
            // Whose it is the store finds out.
            LaneRule::MessageReceiver => None,
            LaneRule::Alone => parsed.lane.clone(),
        });
        let start_ms = match (parent, self.start_ms, self.delay_ms) {
            (None, None, Some(delay)) => Some(door.now_ms.saturating_add(delay)),
            (_, start, _) => start,
        };
        let first = parsed.first.into_iter().map(|(place, own)| First {
            place,
            job: own.job(self.app.clone(), door, self.priority, self.expires_ms),
        });
        let first = first.collect();
        NewJob {
            kind,
            app: self.app,
            client: door.client.clone(),
            key: self.key.map(|text| Key {
                text,
                hash: canonical_hash(whole),
            }),
            uuid: None,
            priority: self.priority,
            start_ms,
            delay_ms: if parent.is_some() {
                self.delay_ms.unwrap_or(0)
            } else {
                0
            },
            expires_ms: self.expires_ms,
            lane,
            to: parsed.to,
            labels: self.labels,
            args: parsed.args,
            on_doubt: self.on_doubt,
            on_refused: self.on_refused,
            degraded: parsed.degraded,
            references: parsed.references,
            parts: parsed.parts,
            people: parsed.people,
            track: self.track,
            upload: parsed.upload,
            first,
            then,
        }
    }
}

impl args::Own {
    /// The upload that a message's own bytes need first.
    fn job(self, app: String, door: &Door, priority: Priority, expires_ms: Option<i64>) -> NewJob {
        NewJob {
            kind: self.kind,
            app,
            client: door.client.clone(),
            key: None,
            uuid: None,
            priority,
            start_ms: None,
            delay_ms: 0,
            expires_ms,
            lane: None,
            to: None,
            labels: door.labels.clone(),
            args: self.args,
            on_doubt: OnDoubt::Hold,
            on_refused: OnRefused::Fail,
            degraded: None,
            references: Vec::new(),
            parts: Vec::new(),
            people: 1,
            track: None,
            upload: Some(self.upload),
            first: Vec::new(),
            then: Vec::new(),
        }
    }
}

fn read_kind(fields: &mut Fields<'_>, door: &Door) -> Option<Kind> {
    let Some(name) = fields.text("kind") else {
        if fields.flaws.is_empty() {
            fields.flaw("kind", "is missing");
        }
        return None;
    };
    let kind = Kind::from_name(name).filter(|kind| kind.is_public());
    if kind.is_none() {
        let kinds: Vec<&str> = Kind::all()
            .filter(|kind| kind.is_public())
            .map(Kind::name)
            .collect();
        fields.flaw(
            "kind",
            format!("unknown kind {name:?}; known: {}", kinds.join(", ")),
        );
    }
    if door
        .allowed_kinds
        .as_ref()
        .is_some_and(|kinds| !kinds.iter().any(|kind| kind == name))
    {
        fields.flaw(
            "kind",
            format!("client {:?} may not use {name:?}", door.client),
        );
    }
    kind
}

fn read_app(fields: &mut Fields<'_>, door: &Door, parent: Option<&Envelope>) -> String {
    let allowed = |app: &str| {
        door.allowed_apps
            .as_ref()
            .is_none_or(|apps| apps.iter().any(|one| one == app))
    };
    let default = || {
        door.apps
            .iter()
            .find(|app| allowed(app))
            .or(door.apps.first())
            .cloned()
            .unwrap_or_default()
    };
    let named = fields.text("app");
    let app = match (named, parent) {
        (None, None) => return default(),
        (None, Some(parent)) => return parent.app.clone(),
        (Some(app), Some(parent)) if app != parent.app => {
            fields.flaw(
                "app",
                format!("a child goes through its parent's app, {:?}", parent.app),
            );
            return parent.app.clone();
        }
        (Some(app), _) => app,
    };
    if !door.apps.iter().any(|one| one == app) {
        fields.flaw(
            "app",
            format!("unknown app {app:?}; configured: {}", door.apps.join(", ")),
        );
    } else if !allowed(app) {
        fields.flaw(
            "app",
            format!("client {:?} may not use {app:?}", door.client),
        );
    }
    app.to_owned()
}

fn read_short(fields: &mut Fields<'_>, name: &'static str, bytes_max: usize) -> Option<String> {
    let text = fields.text(name)?;
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        fields.flaw(
            name,
            format!("must be at most {bytes_max} bytes, without control characters"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn read_key(fields: &mut Fields<'_>, is_child: bool) -> Option<String> {
    let key = read_short(fields, "key", KEY_BYTES_MAX)?;
    if is_child {
        fields.flaw("key", "a child has no key; the parent's covers it");
        return None;
    }
    Some(key)
}

fn read_start(fields: &mut Fields<'_>) -> (Option<i64>, Option<i64>) {
    let start = fields.time("not_before");
    let delay = fields.duration("delay");
    if start.is_some() && delay.is_some() {
        fields.flaw("delay", "stands beside \"not_before\"; give one of them");
    }
    (start, delay)
}

fn read_expiry(
    fields: &mut Fields<'_>,
    door: &Door,
    parent: Option<&Envelope>,
    start_ms: Option<i64>,
    delay_ms: Option<i64>,
) -> Option<i64> {
    let at = fields.time("expires_at");
    let within = fields.duration("expires_in");
    let name = if at.is_some() {
        "expires_at"
    } else {
        "expires_in"
    };
    if at.is_some() && within.is_some() {
        fields.flaw(
            "expires_in",
            "stands beside \"expires_at\"; give one of them",
        );
    }
    let given = at.or(within.map(|ms| door.now_ms.saturating_add(ms)));
    let start = start_ms.unwrap_or(door.now_ms.saturating_add(delay_ms.unwrap_or(0)));
    if given.is_some_and(|deadline| deadline <= door.now_ms) {
        fields.flaw(name, "is not in the future");
    } else if given.is_some_and(|deadline| deadline <= start) {
        fields.flaw(name, "is before the job may start");
    }
    match (given, parent) {
        (Some(deadline), _) => Some(deadline),
        (None, None) => door.expires_in_ms.map(|ms| start.saturating_add(ms)),
        (None, Some(parent)) if delay_ms.is_none() && start_ms.is_none() => parent.expires_ms,
        (None, Some(_)) => None,
    }
}

fn read_labels(
    fields: &mut Fields<'_>,
    door: &Door,
    parent: Option<&Envelope>,
) -> BTreeMap<String, String> {
    let mut labels = parent.map_or_else(|| door.labels.clone(), |parent| parent.labels.clone());
    let given = match fields.get("labels") {
        None => return labels,
        Some(Value::Object(given)) => given,
        Some(_) => {
            fields.flaw("labels", "must be an object of strings");
            return labels;
        }
    };
    for (name, value) in given {
        let at = format!("/labels/{}", escaped(name));
        match value.as_str() {
            Some(text)
                if !name.is_empty()
                    && name.len() <= LABEL_BYTES_MAX
                    && text.len() <= LABEL_BYTES_MAX =>
            {
                labels.insert(name.clone(), text.to_owned());
            }
            Some(_) => fields.inner(
                at,
                format!("name and value are at most {LABEL_BYTES_MAX} bytes, the name not empty"),
            ),
            None => fields.inner(at, String::from("must be a string")),
        }
    }
    if labels.len() > LABELS_MAX {
        fields.flaw("labels", format!("has more than {LABELS_MAX} entries"));
    }
    labels
}

/// SHA-256 of the request with its keys sorted and `key` left out: the same request gives the same
/// hash whatever its layout, and whether the key came in the body or in a header.
pub(crate) fn canonical_hash(value: &Value) -> [u8; 32] {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        map.remove("key");
    }
    // serde_json keeps objects sorted by name, so printing is canonical.
    Sha256::digest(value.to_string()).into()
}
