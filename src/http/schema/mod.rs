//! What a request may hold, as JSON Schema: a job of each kind with its args, and the bodies of actions.
//!
//! The reader of a job goes through its fields by hand, so that each fault has its place and all are
//! found at once; hence this is written beside it, and a test holds the names here against those that
//! the reader knows, kind by kind. Bounds and words come from where they are enforced.
//! Not here: answers (their types say it), sizes that only the whole content has.

mod acts;

use serde_json::{Map, Value, json};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::job::{Kind, Makes, Needs, OnDoubt, OnRefused, Priority};

macro_rules! bodies {
    ($($(#[$meta:meta])* $body:ident;)+) => {
        $($(#[$meta])*
        pub(super) struct $body;

        /// Only a place: `components` has what stands there.
        impl PartialSchema for $body {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().into()
            }
        }

        impl ToSchema for $body {})+
    };
}

bodies! {
    /// One job, or a list of them.
    NewJobs;
    /// One job with its bytes, as a form.
    NewForm;
    /// The body of a retry.
    Retry;
    /// The body of a settlement.
    Settle;
    /// What is paused, and why.
    Pausing;
    /// What goes on.
    Resuming;
    /// The body of an action without fields.
    Nothing;
}

/// The schemas of requests, by name.
pub(super) fn components() -> Map<String, Value> {
    let mut all = Map::new();
    let public = || Kind::all().filter(|kind| kind.is_public());
    let name = |kind: Kind| format!("job_{}", kind.name());
    let mapping: Map<String, Value> = public()
        .map(|kind| (kind.name().to_owned(), json!(place(&name(kind)))))
        .collect();
    let job = json!({
        "oneOf": public().map(|kind| refer(&name(kind))).collect::<Vec<_>>(),
        "discriminator": {"propertyName": "kind", "mapping": mapping},
        "examples": examples(),
    });
    let job_body = json!({"oneOf": [
        refer("NewJob"),
        {"type": "array", "items": refer("NewJob"), "minItems": 1, "maxItems": crate::http::json::JOBS_MAX},
    ]});
    all.insert("NewJobs".into(), job_body);
    all.insert("NewForm".into(), form());
    all.insert("NewJob".into(), job);
    all.insert("NewChild".into(), child());
    for kind in public() {
        all.insert(name(kind), of_kind(kind));
        all.insert(format!("args_{}", kind.name()), args(kind));
    }
    for (name, said) in envelope(false) {
        all.insert(format!("any_{name}"), said);
    }
    let duration = duration("A new life, from now.");
    all.insert("Retry".into(), closed(json!({"expires_in": duration})));
    let settle = json!({
        "state": {"type": "string", "enum": ["done", "failed"]},
        "message_id": id("Feishu's id of what was done, when it is known: `om_…` of a message, `bm-…` of a batch.", "^(om_|bm-)[!-~]{1,197}$"),
        "part": {"type": "integer", "minimum": 0, "description": "Of a batch: this part only, counted from 0; else every one in doubt."},
    });
    all.insert("Settle".into(), closed_needing(settle, &["state"]));
    let mut reach = json!({
        "app": text("Jobs of this app; else of every one."),
        "lane": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "Jobs of this lane; else of every one."},
        "kind": {"type": "string", "enum": public().map(Kind::name).collect::<Vec<_>>(), "description": "Jobs of this kind; else of every one."},
    });
    all.insert("Resuming".into(), closed(reach.clone()));
    reach["reason"] = json!({"type": "string", "minLength": 1, "maxLength": 500, "description": "For whoever wonders."});
    all.insert("Pausing".into(), closed(reach));
    all.insert("Nothing".into(), closed(json!({})));
    all
}

/// A job whose bytes stand beside it. More words than these are taken: those of its kind's args.
fn form() -> Value {
    let bytes = |said: &str| json!({"type": "string", "format": "binary", "description": said});
    let mut properties = fields(json!({
        "job": {"type": "string", "contentMediaType": "application/json", "contentSchema": refer("NewJob"),
            "description": "The whole job but for its bytes; instead of single words."},
        "data": bytes("The bytes of an upload; `image` and `file` are taken too."),
        "image": bytes("The bytes of a message's image."),
        "file": bytes("The bytes of a message's file."),
        "audio": bytes("The bytes of a message's audio."),
        "media": bytes("The bytes of a message's video."),
        "cover": bytes("The bytes of the image before a message's video."),
    }));
    let kinds = Kind::all().filter(|kind| kind.is_public()).map(Kind::name);
    properties.insert("kind".into(), words("What it does.", kinds));
    for (name, _) in envelope(false) {
        let said = format!("As `{name}` of a job; an object or a list as JSON.");
        properties.insert(name.into(), text(&said));
    }
    json!({"type": "object", "properties": properties, "additionalProperties": {"type": "string"},
        "description": "One job and its files; a file that its job has no place for is refused."})
}

fn place(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

fn refer(name: &str) -> Value {
    json!({"$ref": place(name)})
}

fn closed(properties: Value) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn closed_needing(properties: Value, required: &[&str]) -> Value {
    let mut object = closed(properties);
    object["required"] = json!(required);
    object
}

fn text(said: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": said})
}

fn id(said: &str, pattern: &str) -> Value {
    json!({"type": "string", "maxLength": 200, "pattern": pattern, "description": said})
}

fn duration(said: &str) -> Value {
    json!({"type": "string", "pattern": "^([1-9][0-9]{0,2}(ms|s|m|h|d|w))+$",
           "examples": ["30s", "2h"], "description": said})
}

fn words(said: &str, names: impl Iterator<Item = &'static str>) -> Value {
    json!({"type": "string", "enum": names.collect::<Vec<_>>(), "description": said})
}

/// A job of this kind: its envelope, and its args where they stand.
fn of_kind(kind: Kind) -> Value {
    let mut properties = around(false);
    let name = json!({"type": "string", "const": kind.name()});
    properties.insert("kind".into(), name);
    properties.insert("args".into(), refer(&format!("args_{}", kind.name())));
    let mut object = closed_needing(Value::Object(properties), &["kind", "args"]);
    object["title"] = json!(kind.name());
    object
}

/// A job that hangs on another: what it acts on may be left out, so its args are held loosely.
fn child() -> Value {
    let mut properties = around(true);
    let kinds = Kind::all().filter(|kind| kind.is_public());
    let kind = words("What it does.", kinds.map(Kind::name));
    properties.insert("kind".into(), kind);
    let said = "As `args` of this kind; a message or batch that is left out is the parent's.";
    let args = json!({"type": "object", "description": said});
    properties.insert("args".into(), args);
    closed_needing(Value::Object(properties), &["kind"])
}

fn around(child: bool) -> Map<String, Value> {
    let names = envelope(child).into_iter().map(|(name, _)| name);
    names
        .map(|name| (name.to_owned(), refer(&format!("any_{name}"))))
        .collect()
}

/// Jobs as one would write them.
fn examples() -> Value {
    json!([
        {"kind": "send", "args": {"to": "oc_5a9db0c0000000000000000000000001", "text": "disk full on db-1"},
         "priority": "high", "expires_in": "15m", "labels": {"team": "db"}, "then": [{"kind": "pin"}]},
        {"kind": "batch_send", "args": {"open_ids": ["ou_1"], "text": "maintenance at 22:00"}, "delay": "1h"},
    ])
}

/// What every job may have around its args.
fn envelope(child: bool) -> Vec<(&'static str, Value)> {
    let time = |said: &str| json!({"type": "string", "format": "date-time", "description": said});
    let label = json!({"type": "string", "maxLength": 200});
    let mut fields = vec![
        (
            "app",
            text("With which app; else the first one that this client may use."),
        ),
        (
            "priority",
            words(
                "Which goes first in its lane.",
                Priority::ALL.iter().map(|one| one.name()),
            ),
        ),
        ("not_before", time("It may not begin before.")),
        (
            "delay",
            duration("Instead of `not_before`: from now; of a child, from its parent's end."),
        ),
        ("expires_at", time("It may not begin after.")),
        ("expires_in", duration("Instead of `expires_at`: from now.")),
        (
            "lane",
            json!({"type": "string", "minLength": 1, "maxLength": 200, "description": "Jobs of one lane go in order; else that of the receiver or message."}),
        ),
        (
            "labels",
            json!({"type": "object", "maxProperties": 32, "additionalProperties": label,
            "propertyNames": {"minLength": 1, "maxLength": 200}, "description": "To find it by."}),
        ),
        (
            "on_doubt",
            words(
                "When nobody can know whether it happened.",
                OnDoubt::ALL.iter().map(|one| one.name()),
            ),
        ),
        (
            "on_refused",
            words(
                "When Feishu refuses a card for its form; `degrade` is for `send` and `reply` of a card.",
                OnRefused::ALL.iter().map(|one| one.name()),
            ),
        ),
    ];
    let every = duration("How often Feishu is asked; at least 10s.");
    let whole = duration("For how long; at most 7d for a message, 30d for a batch.");
    let reads = closed_needing(json!({"every": every, "for": whole}), &["every", "for"]);
    let mut track = closed_needing(json!({"reads": reads}), &["reads"]);
    track["description"] =
        json!("What to follow after it is done; only of a job that makes a message or a batch.");
    fields.push(("track", track));
    if !child {
        let key = "The same key and body again is the same job; the header `Idempotency-Key` says the same of a single job.";
        fields.push((
            "key",
            json!({"type": "string", "minLength": 1, "maxLength": 200, "description": key}),
        ));
        let then = "Run after this one is done, canceled with it.";
        fields.push(("then", json!({"type": "array", "maxItems": 100, "items": refer("NewChild"), "description": then})));
    }
    fields
}

fn args(kind: Kind) -> Value {
    let mut properties = match kind {
        Kind::Send => receiver(false),
        Kind::BatchSend => lists(),
        Kind::Reply
        | Kind::Edit
        | Kind::Forward
        | Kind::MergeForward
        | Kind::ForwardThread
        | Kind::FollowUp
        | Kind::React
        | Kind::Unreact
        | Kind::UpdateCard
        | Kind::DelayUpdateCard
        | Kind::SendEphemeral
        | Kind::UpdateUrlPreviews => acts::fields_of(kind),
        Kind::Webhook => {
            fields(json!({"bot": text("One of the custom bots of the config, by its name.")}))
        }
        Kind::UploadImage => image(),
        Kind::UploadFile => file(),
        Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone => people(),
        Kind::Pin
        | Kind::Unpin
        | Kind::Recall
        | Kind::BatchRecall
        | Kind::DeleteEphemeral
        | Kind::BatchProgress
        | Kind::ReadUsers
        | Kind::BatchReadUser
        | Kind::History => Map::new(),
    };
    properties.extend(target(kind.needs()));
    match kind {
        Kind::Send | Kind::Reply | Kind::Edit => properties.extend(content(false)),
        Kind::BatchSend | Kind::Webhook => properties.extend(content(true)),
        _ => {}
    }
    let mut object = closed(Value::Object(properties));
    object["description"] = json!(match kind {
        Kind::Send => "A message to one receiver (`to`), with exactly one content.",
        Kind::BatchSend =>
            "A message to many people, with exactly one content and at least one list that is not empty.",
        Kind::Webhook =>
            "What the custom bot `bot` says in its group, with exactly one content; nothing can be taken back.",
        Kind::UploadImage => "An image; `data` is needed.",
        Kind::UploadFile => "A file; `data` and `file_name` are needed.",
        Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone => "Buzzes `users` about `message`.",
        Kind::Reply
        | Kind::Edit
        | Kind::Forward
        | Kind::MergeForward
        | Kind::ForwardThread
        | Kind::FollowUp
        | Kind::React
        | Kind::Unreact
        | Kind::UpdateCard
        | Kind::DelayUpdateCard
        | Kind::SendEphemeral
        | Kind::UpdateUrlPreviews => acts::said(kind),
        Kind::Pin | Kind::Unpin | Kind::Recall | Kind::DeleteEphemeral | Kind::ReadUsers =>
            "Acts on `message`; in `then`, on the parent's.",
        Kind::BatchRecall | Kind::BatchProgress | Kind::BatchReadUser =>
            "Acts on `batch`; in `then`, on the parent's.",
        Kind::History => "Looks for a message.",
    });
    object
}

/// The properties of a JSON object.
fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// `threads`: it may be one.
fn receiver(threads: bool) -> Map<String, Value> {
    let to = json!({"type": "string", "minLength": 1, "maxLength": 200, "examples": ["oc_…", "ou_…"],
        "description": "A chat, a person or a mail address; the type is told from the prefix."});
    let id_type = words(
        "Which kind of id it is, where its prefix does not tell.",
        ["open_id", "union_id", "user_id", "email", "chat_id"]
            .into_iter()
            .chain(threads.then_some("thread_id")),
    );
    fields(json!({"to": to, "to_type": id_type, "receive_id": to, "receive_id_type": id_type}))
}

fn lists() -> Map<String, Value> {
    let list = |said: &str| {
        json!({"type": "array", "description": said,
               "items": {"type": "string", "minLength": 1, "maxLength": 200}})
    };
    fields(json!({
        "open_ids": list("People, by open_id."),
        "user_ids": list("People, by user_id."),
        "union_ids": list("People, by union_id."),
        "department_ids": list("All people of these departments."),
    }))
}

fn image() -> Map<String, Value> {
    fields(json!({
        "data": {"type": "string", "contentEncoding": "base64", "minLength": 1,
            "description": "The bytes (JPEG, PNG, WEBP, GIF, BMP, ICO, TIFF, HEIC), at most 10 000 000."},
        "file_name": text("Its name."),
        "image_type": words("What it is for.", ["message", "avatar"].into_iter()),
    }))
}

fn file() -> Map<String, Value> {
    fields(json!({
        "data": {"type": "string", "contentEncoding": "base64", "minLength": 1,
            "description": "The bytes, at most 30 000 000."},
        "file_name": {"type": "string", "minLength": 1, "maxLength": 500, "description": "Its name, with its suffix."},
        "file_type": words("What it is; else as the suffix tells.",
            ["opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"].into_iter()),
        "duration": {"type": "integer", "minimum": 0, "description": "Of an audio or a video, milliseconds."},
    }))
}

fn people() -> Map<String, Value> {
    let users = json!({"type": "array", "minItems": 1, "maxItems": 200,
        "items": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": "People's ids, all of one kind."});
    let id_type = words(
        "Which kind.",
        ["open_id", "union_id", "user_id"].into_iter(),
    );
    fields(json!({"users": users, "user_id_list": users, "user_id_type": id_type}))
}

/// What is acted on, under the contract's name and Feishu's.
fn target(needs: Needs) -> Map<String, Value> {
    let makes =
        |what: Makes| Kind::all().filter(move |kind| kind.is_public() && kind.makes() == what);
    let said = |what: Makes, prefix: &str| {
        let kinds: Vec<&str> = makes(what).map(Kind::name).collect();
        let said = format!(
            "`{prefix}…`, or a job that will make one (`job_…`: {}).",
            kinds.join(", ")
        );
        id(&said, &format!("^({prefix}.{{1,100}}|job_[0-9a-f]{{32}})$"))
    };
    match needs {
        Needs::Nothing => Map::new(),
        Needs::Message => {
            let message = said(Makes::Message, "om_");
            fields(json!({"message": message, "message_id": message}))
        }
        Needs::Ephemeral => {
            let message = said(Makes::Ephemeral, "om_");
            fields(json!({"message": message, "message_id": message}))
        }
        Needs::Batch => {
            let batch = said(Makes::Batch, "bm-");
            fields(json!({"batch": batch, "batch_message_id": batch}))
        }
    }
}

/// Exactly one of these is given; `msg_type` and `content` are one together.
fn content(batch: bool) -> Map<String, Value> {
    let object = |said: &str| json!({"type": "object", "description": said});
    let either = |said: &str| json!({"type": ["string", "object"], "description": said});
    let carried = |said: &str, bytes: Map<String, Value>| json!({"type": ["string", "object"], "description": said, "properties": bytes});
    let mut video = file();
    video.insert(
        "cover".into(),
        json!({"type": ["string", "object"], "properties": image()}),
    );
    let mut forms = fields(json!({
        "text": {"type": "string", "description": "Feishu's text as it is."},
        "markdown": text("A post with one `md` node. Not in a batch."),
        "post": object("Feishu's post: by language, or one language's."),
        "card": object("Feishu's card."),
        "template": either("A card template: its id, or Feishu's object."),
        "file": carried("A `file_key`, a job that makes one (`job_…`), the bytes of one, or Feishu's object.", file()),
        "audio": carried("As `file`; opus only.", file()),
        "media": carried("As `file`; mp4 only. `cover` is an image: its key, a job or its bytes.", video),
        "sticker": either("A `file_key`, or Feishu's object."),
        "share_chat": either("A chat's id, or Feishu's object."),
        "share_user": either("A person's open_id, or Feishu's object."),
        "system": either("A divider's text, or Feishu's object."),
        "msg_type": text("Feishu's type; with `content`."),
        "content": either("Feishu's content for `msg_type`: an object, or a string that holds one."),
    }));
    forms.insert("image".into(), json!({
        "description": "An `image_key`, a job that makes one (`job_…`), or the bytes of one.",
        "oneOf": [{"type": "string", "minLength": 1}, {"type": "object", "properties": image(), "additionalProperties": true}],
    }));
    if batch {
        let taken = "text post image card share_chat msg_type content";
        for (name, said) in &mut forms {
            if !taken.split(' ').any(|one| one == name) {
                said["description"] = json!("Not in a batch: 422.");
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::job::known;

    fn names(schema: &Value) -> BTreeSet<&str> {
        let properties = schema["properties"].as_object().unwrap();
        properties.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_job_is_described_with_the_fields_that_its_reader_knows() {
        let all = components();
        for kind in Kind::all().filter(|kind| kind.is_public()) {
            let (envelope, args) = known(kind);
            let job = &all[&format!("job_{}", kind.name())];
            assert_eq!(names(job), envelope.into_iter().collect(), "{kind:?}");
            let described = &all[&format!("args_{}", kind.name())];
            assert_eq!(names(described), args.into_iter().collect(), "{kind:?}");
        }
    }
}
