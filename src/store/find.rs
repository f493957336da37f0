//! Which jobs a filter names: where a list looks, and what it takes of what it sees.
//!
//! A look is bounded: behind `ROWS_LOOKED_AT` rows the next page goes on, with or without a match
//! before. Who asks for a message's id or a key is led there by its index, however far back it is.
//! Not here: what is told of a job (`read`, `reads`).

use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::store::Filter;

/// Rows a filtered list looks at before it hands out a cursor.
pub(super) const ROWS_LOOKED_AT: i64 = 10_000;

/// From the newest on.
const EVERYWHERE: &str =
    "select seq as looked_at from job where seq < ?2 order by seq desc limit ?3";

/// By the index of messages' ids.
const BY_MESSAGE: &str = "select seq as looked_at from job where message_id = ?1 ->> 'message_id' and seq < ?2 order by seq desc limit ?3";

/// By the index of keys, which begins with app and client: from each client to the next, few as they are.
const BY_KEY: &str = "
    with recursive who(app, client) as (
      select id, (select client from job where app = app.id and key is not null order by client limit 1) from app
       union all
      select who.app, (select client from job where app = who.app and client > who.client and key is not null order by client limit 1)
        from who where who.client is not null)
    select seq as looked_at
      from who cross join job on job.app = who.app and job.client = who.client and job.key = ?1 ->> 'key'
     where seq < ?2 order by seq desc limit ?3";

/// Every condition is always there and a null turns it off.
const CONDITIONS: &str = "own = 0
    and (json_array_length(?1 -> 'states') = 0 or state in (select value from json_each(?1 -> 'states')))
    and (json_array_length(?1 -> 'kinds') = 0 or kind in (select value from json_each(?1 -> 'kinds')))
    and (?1 ->> 'app' is null or app = ?1 ->> 'app')
    and (?1 ->> 'apps' is null or app in (select value from json_each(?1 -> 'apps')))
    and (?1 ->> 'lane' is null or lane = ?1 ->> 'lane')
    and (?1 ->> 'client' is null or client = ?1 ->> 'client')
    and (?1 ->> 'to' is null or receiver = ?1 ->> 'to' or message = ?1 ->> 'to')
    and (?1 ->> 'key' is null or key = ?1 ->> 'key')
    and (?1 ->> 'message_id' is null or message_id = ?1 ->> 'message_id')
    and (?1 ->> 'code' is null or error ->> 'code' = ?1 ->> 'code')
    and (?1 ->> 'since' is null or created_ms >= ?1 ->> 'since')
    and (?1 ->> 'until' is null or created_ms < ?1 ->> 'until')
    and not exists (select 1 from json_each(?1 -> 'labels') wanted
                     where not exists (select 1 from json_each(job.labels) has
                                        where has.key = wanted.value ->> 0 and has.value = wanted.value ->> 1))";

/// Where to look: rows below ?2, newest first, at most ?3.
fn window(filter: &Filter) -> &'static str {
    match filter {
        Filter {
            message_id: Some(_),
            ..
        } => BY_MESSAGE,
        Filter { key: Some(_), .. } => BY_KEY,
        _ => EVERYWHERE,
    }
}

/// `columns` of the jobs that a filter names, newest first, at most `limit`.
pub(super) async fn rows(
    conn: &mut SqliteConnection,
    columns: &'static str,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    // In the order of the look, so that it ends with the page; a plain join might begin with the whole table.
    let statement = format!(
        "select {columns} from ({}) looked cross join job on job.seq = looked.looked_at
          where {CONDITIONS} order by looked.looked_at desc limit ?4",
        window(filter)
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(wanted(&mut *conn, filter).await?)
        .bind(filter.cursor.unwrap_or(i64::MAX))
        .bind(ROWS_LOOKED_AT)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await
}

/// The last row that such a list looks at, if there may be more behind it.
pub(super) async fn looked_at(
    conn: &mut SqliteConnection,
    filter: &Filter,
) -> Result<Option<i64>, sqlx::Error> {
    let statement = format!(
        "select looked_at from ({}) order by looked_at desc limit 1 offset ?3 - 1",
        window(filter)
    );
    sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(wanted(&mut *conn, filter).await?)
        .bind(filter.cursor.unwrap_or(i64::MAX))
        .bind(ROWS_LOOKED_AT)
        .fetch_optional(&mut *conn)
        .await
}

/// A filter as the conditions read it. One statement for each window, prepared once.
async fn wanted(conn: &mut SqliteConnection, filter: &Filter) -> Result<String, sqlx::Error> {
    let apps: Vec<(i64, String)> = sqlx::query_as("select id, name from app")
        .fetch_all(&mut *conn)
        .await?;
    let id = |wanted: &String| {
        let found = apps.iter().find(|(_, name)| name == wanted);
        found.map_or(-1, |(id, _)| *id)
    };
    let theirs = filter
        .apps
        .as_ref()
        .map(|names| names.iter().map(id).collect::<Vec<i64>>());
    let wanted = json!({
        "states": filter.states, "kinds": filter.kinds, "app": filter.app.as_ref().map(id), "apps": theirs,
        "lane": filter.lane, "client": filter.client, "to": filter.to, "key": filter.key,
        "message_id": filter.message_id, "code": filter.code, "labels": filter.labels,
        "since": filter.since_ms, "until": filter.until_ms,
    });
    Ok(wanted.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Clock;
    use crate::job::{Door, JobId, Priority, parse};
    use crate::store::{Options, Store, open};

    fn door(client: &str) -> Door {
        Door {
            apps: vec![String::from("ops"), String::from("hr")],
            bots: Vec::new(),
            allowed_apps: None,
            allowed_kinds: None,
            client: String::from(client),
            priority: Priority::Normal,
            expires_in_ms: None,
            labels: BTreeMap::new(),
            now_ms: 0,
            arrived: Vec::new(),
        }
    }

    async fn posted(store: &Store, client: &str, app: &str, key: &str) -> JobId {
        let args = json!({"to": "oc_a", "text": "x"});
        let job = json!({"kind": "send", "app": app, "key": key, "args": args});
        let job = parse(&job, "", &door(client)).unwrap();
        store.accept(vec![job]).await.unwrap()[0].id
    }

    async fn found(store: &Store, filter: Filter) -> (Vec<JobId>, Option<i64>) {
        let filter = Filter { limit: 5, ..filter };
        let page = store.list(&filter).await.unwrap();
        (
            page.jobs.iter().map(|job| job.id).collect(),
            page.next_cursor,
        )
    }

    #[tokio::test]
    async fn a_key_and_a_message_are_found_at_once_however_many_jobs_are_newer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let options = Options {
            path: path.clone(),
            max_pending: 100,
            give_up_ms: 3_600_000,
            retention_ms: 86_400_000,
            content_retention_ms: 86_400_000,
            apps: vec![String::from("ops"), String::from("hr")],
            budgets: Vec::new(),
            months: Vec::new(),
        };
        let (store, closer) = Store::open(options, Clock::system()).await.unwrap();
        let first = posted(&store, "b", "ops", "k").await;
        let other = posted(&store, "a", "hr", "k").await;
        let nobody = posted(&store, "", "hr", "k").await;
        posted(&store, "a", "ops", "else").await;
        let mut conn = open::connect_writer(&path).await.unwrap();
        for statement in [
            "update job set message_id = 'om_1' where id = (select id from job order by seq limit 1)",
            "create temp table newer as select * from job where key = 'else'",
            "update newer set key = null",
            "create temp table n as with recursive n(n) as (select 1 union all select n + 1 from n where n < 10001) select n from n",
        ] {
            sqlx::query(statement).execute(&mut conn).await.unwrap();
        }
        let columns: Vec<String> = sqlx::query_scalar("select name from pragma_table_info('job')")
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let values: Vec<&str> = columns
            .iter()
            .map(|name| match name.as_str() {
                "seq" => "newer.seq + n",
                "id" => "randomblob(16)",
                name => name,
            })
            .collect();
        let fill = format!(
            "insert into job ({}) select {} from newer, n",
            columns.join(", "),
            values.join(", ")
        );
        sqlx::query(AssertSqlSafe(fill))
            .execute(&mut conn)
            .await
            .unwrap();

        let key = |key: &str| Filter {
            key: Some(String::from(key)),
            ..Filter::default()
        };
        assert_eq!(
            found(&store, key("k")).await,
            (vec![nobody, other, first], None)
        );
        let of_client = Filter {
            client: Some(String::from("a")),
            ..key("k")
        };
        assert_eq!(found(&store, of_client).await, (vec![other], None));
        let of_apps = Filter {
            apps: Some(vec![String::from("ops")]),
            ..key("k")
        };
        assert_eq!(found(&store, of_apps).await, (vec![first], None));
        assert_eq!(found(&store, key("none")).await, (vec![], None));
        let message = Filter {
            message_id: Some(String::from("om_1")),
            ..Filter::default()
        };
        assert_eq!(found(&store, message).await, (vec![first], None));
        // What has no index is looked for page by page.
        let to = Filter {
            client: Some(String::from("b")),
            ..Filter::default()
        };
        let (none, cursor) = found(&store, to.clone()).await;
        assert!(none.is_empty() && cursor.is_some());
        assert_eq!(
            found(&store, Filter { cursor, ..to }).await,
            (vec![first], None)
        );
        closer.close().await;
    }
}
