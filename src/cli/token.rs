//! `token`: makes a client's token. It is shown once; the config needs its hash only.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::exit::{Ended, Exit, Trouble};
use super::out;
use crate::config::values;

/// What every token begins with, so that one that leaked is known for what it is.
const PREFIX: &str = "frt_";
/// 256 bits: nobody guesses it.
const BYTES: usize = 32;

/// Make a client's token, with its hash for the config
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// The client's name in the config
    #[arg(value_parser = values::name)]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Token {
    /// Prints the token, and the lines that let its bearer in.
    pub(super) async fn run(self) -> Ended {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| {
            Trouble::new(
                Exit::Failed,
                format!("the system gives no random bytes: {error}"),
            )
        })?;
        let token = format!("{PREFIX}{}", hex(&bytes));
        let hash = hex(&Sha256::digest(token.as_bytes()));
        let name = &self.name;
        if self.json {
            let answer = json!({"name": name, "token": token, "token_sha256": hash});
            out::json(&answer.to_string())?;
            return Ok(Exit::Fine);
        }
        out::line(&token)?;
        out::line(&format!(
            "\n# The token is not kept anywhere: give it to the client. For the config:\n\
             [[clients]]\nname = \"{name}\"\ntoken_sha256 = \"{hash}\""
        ))?;
        Ok(Exit::Fine)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
