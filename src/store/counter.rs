//! How many jobs there are by app and state, and how many have settled: written in the batch that counts them, so
//! that nobody ever goes through the table for it.

use crate::job::State;
use crate::store::writer::Tx;

/// The counter of ends, which belongs to no app.
pub(super) const SETTLED: &str = "settled";
pub(super) const NO_APP: i64 = 0;

/// What the batch changed.
pub(super) fn write(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let mut rows: Vec<serde_json::Value> = tx
        .changes
        .counts
        .iter()
        .filter(|(_, by)| **by != 0)
        .map(|((app, own, state), by)| serde_json::json!([app.0, counter_name(*own, *state), by]))
        .collect();
    if tx.changes.settled > 0 {
        rows.push(serde_json::json!([NO_APP, SETTLED, tx.changes.settled]));
    }
    if rows.is_empty() {
        return Ok(());
    }
    tx.put(
        "insert into counter (app, name, value)
         select value ->> 0, value ->> 1, value ->> 2 from json_each(?1) where true
         on conflict (app, name) do update set value = value + excluded.value",
        &[serde_json::Value::Array(rows).to_string().into()],
    )?;
    Ok(())
}

fn counter_name(own: bool, state: State) -> String {
    if own {
        format!("own:{}", state.name())
    } else {
        state.name().to_owned()
    }
}
