//! The key with which the tokens of the compatible endpoint are signed. It lives as long as the database.
//!
//! Not here: what a token says (`http`).

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use crate::job::hex;
use crate::store::Store;

/// 256 bits: nobody guesses it.
const KEY_BYTES: usize = 32;

/// Every database has one, from its first start on.
pub(super) async fn make_key(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
    sqlx::query(
        "insert into meta (name, value) values ('token_key', ?1)
         on conflict (name) do nothing",
    )
    .bind(hex(&key))
    .execute(conn)
    .await
    .map(drop)
}

pub(super) async fn key(readers: &SqlitePool) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query_scalar("select unhex(value) from meta where name = 'token_key'")
        .fetch_one(readers)
        .await
}

impl Store {
    /// The key of this database's tokens. Whoever has it makes tokens of nobody: a client's are signed
    /// with the hash of its secret too, which stands in the config alone.
    pub fn token_key(&self) -> &[u8] {
        &self.shared.token_key
    }
}
