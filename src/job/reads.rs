//! Who read it: what a request may ask for (`track`), and how it is answered (`reads`).

use serde_json::{Map, Value};

use crate::clock;
use crate::job::fields::Fields;
use crate::job::record::{Fault, Time};
use crate::job::{JobId, Kind, Makes, State};

/// The shortest gap between two questions: each counts towards the month's quota.
const EVERY_MS_MIN: i64 = 10_000;

/// Reads `track`; faults go to `fields`. Returns it as it is stored.
pub(super) fn track(fields: &mut Fields<'_>, kind: Option<Kind>) -> Option<String> {
    let track = fields.get("track")?;
    let kind = kind?;
    let (longest_ms, longest) = match kind.makes() {
        Makes::Message => (
            feishu_im::limits::READ_USERS_WINDOW_MS,
            "7d: Feishu keeps a message's readers no longer",
        ),
        Makes::Batch => (
            feishu_im::limits::BATCH_READ_WINDOW_MS,
            "30d: Feishu keeps a batch's counts no longer",
        ),
        Makes::Nothing | Makes::Image | Makes::File | Makes::Reaction | Makes::Ephemeral => {
            let detail = format!("a {} makes nothing that could be read", kind.name());
            fields.flaw("track", detail);
            return None;
        }
    };
    let Value::Object(track) = track else {
        fields.flaw(
            "track",
            "must be an object: {\"reads\": {\"every\", \"for\"}}",
        );
        return None;
    };
    let (flaws, reads) = inside(track, |inner| {
        let reads = inner.get("reads");
        match reads {
            Some(Value::Object(reads)) => return Some(reads),
            Some(_) => inner.flaw("reads", "must be an object: {\"every\", \"for\"}"),
            None => inner.flaw("reads", "is missing: {\"every\", \"for\"}"),
        }
        None
    });
    let mut faulty = put(fields, "/track", flaws);
    let reads = reads?;
    let (flaws, ()) = inside(reads, |inner| {
        let every = span(inner, "every");
        let whole = span(inner, "for");
        if every.is_some_and(|every| every < EVERY_MS_MIN) {
            inner.flaw("every", "must be at least 10s");
        }
        if whole.is_some_and(|whole| whole > longest_ms) {
            inner.flaw("for", format!("must be at most {longest}"));
        }
        if let (Some(every), Some(whole)) = (every, whole)
            && every > whole
        {
            inner.flaw("every", "is longer than \"for\", so nothing would be asked");
        }
    });
    faulty |= put(fields, "/track/reads", flaws);
    (!faulty).then(|| Value::Object(track.clone()).to_string())
}

/// A duration that must be there.
fn span(fields: &mut Fields<'_>, name: &'static str) -> Option<i64> {
    let before = fields.flaws.len();
    let ms = fields.duration(name);
    if ms.is_none() && fields.flaws.len() == before {
        fields.flaw(name, "is missing: a duration such as \"10m\"");
    }
    ms
}

fn inside<'a, T>(
    map: &'a Map<String, Value>,
    read: impl FnOnce(&mut Fields<'a>) -> T,
) -> (Vec<crate::job::Flaw>, T) {
    let mut inner = Fields::new(map, "");
    let got = read(&mut inner);
    (inner.finish(), got)
}

/// `true`: there were some.
fn put(fields: &mut Fields<'_>, at: &str, flaws: Vec<crate::job::Flaw>) -> bool {
    let any = !flaws.is_empty();
    for flaw in flaws {
        fields.inner(format!("{at}{}", flaw.pointer), flaw.detail);
    }
    any
}

/// How often and how long, milliseconds, of a stored `track`. `None`: it follows no reads.
pub(crate) fn tracked(track: &str) -> Option<(i64, i64)> {
    let track: Value = serde_json::from_str(track).ok()?;
    let ms = |name: &str| clock::parse_ms(track["reads"][name].as_str()?);
    Some((ms("every")?, ms("for")?))
}

/// One who read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Reader {
    /// An `open_id`.
    pub user_id: String,
    /// Unix milliseconds, as a string: as Feishu gives it.
    #[serde(
        rename = "timestamp",
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_text"
    )]
    #[schema(value_type = Option<String>)]
    pub read_ms: Option<i64>,
}

fn as_text<S: serde::Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match ms {
        Some(ms) => serializer.collect_str(ms),
        None => serializer.serialize_none(),
    }
}

/// What is known of a job's readers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ReadBy)]
pub struct ReadsRecord {
    /// Kind of the ids in `items`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id_type: Option<&'static str>,
    /// Who; only of a message, and only where one job is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<Reader>>,
    /// There are more than `items` has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// How many read it.
    pub read_count: i64,
    /// How many a batch reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_count: Option<i64>,
    /// When Feishu said so; of several parts, the earliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Time>,
    /// Every page, and every part of a batch, was asked for at least once.
    pub complete: bool,
    /// When Feishu is asked next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
    /// Why Feishu is asked no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// One job of a notice, as far as reading goes.
#[derive(Clone, Debug)]
pub struct NoticeJob {
    /// Its name.
    pub id: JobId,
    /// Where it is.
    pub state: State,
    /// Receiver of a send, as written.
    pub to: Option<String>,
    /// It was taken back.
    pub recalled: bool,
    /// It is a batch.
    pub batch: bool,
    /// What is known, without `items`; `None`: nobody asked.
    pub reads: Option<ReadsRecord>,
    /// Who read it.
    pub readers: Vec<Reader>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, track: Value, expected: &[&str]) {
        let map = Map::from_iter([(String::from("track"), track)]);
        let mut fields = Fields::new(&map, "/0");
        let kept = super::track(&mut fields, Some(kind));
        let pointers: Vec<&str> = fields
            .flaws
            .iter()
            .map(|flaw| flaw.pointer.as_str())
            .collect();
        assert_eq!(pointers, expected, "{map:?}");
        assert_eq!(kept.is_some(), expected.is_empty());
    }

    fn reads(every: &str, whole: &str) -> Value {
        serde_json::json!({"reads": {"every": every, "for": whole}})
    }

    #[test]
    fn every_fault_of_a_track_is_named_with_its_place() {
        use serde_json::json;
        check(Kind::Send, reads("10m", "24h"), &[]);
        check(Kind::Send, reads("10s", "10s"), &[]);
        check(Kind::Send, reads("1d", "7d"), &[]);
        check(Kind::BatchSend, reads("1d", "30d"), &[]);
        check(Kind::Send, reads("9s", "1h"), &["/0/track/reads/every"]);
        check(Kind::Send, reads("2h", "1h"), &["/0/track/reads/every"]);
        check(Kind::Send, reads("1h", "8d"), &["/0/track/reads/for"]);
        check(Kind::BatchSend, reads("1h", "31d"), &["/0/track/reads/for"]);
        check(
            Kind::Send,
            reads("often", ""),
            &["/0/track/reads/every", "/0/track/reads/for"],
        );
        check(
            Kind::Send,
            json!({"reads": {}}),
            &["/0/track/reads/every", "/0/track/reads/for"],
        );
        check(Kind::Send, json!({}), &["/0/track/reads"]);
        check(Kind::Send, json!({"reads": 5}), &["/0/track/reads"]);
        check(Kind::Send, json!("reads"), &["/0/track"]);
        check(Kind::Pin, reads("10m", "24h"), &["/0/track"]);
        let mut more = reads("10m", "24h");
        more["clicks"] = json!({});
        more["reads"]["until"] = json!("1h");
        check(
            Kind::Send,
            more,
            &["/0/track/clicks", "/0/track/reads/until"],
        );
    }

    #[test]
    fn what_is_stored_is_read_again() {
        assert_eq!(
            tracked(&reads("10m", "24h").to_string()),
            Some((600_000, 86_400_000))
        );
        assert_eq!(tracked("{}"), None);
    }
}
