//! Which jobs: the filters of a list, as flags and as a query.

use crate::cli::exit::Trouble;

/// Flags that choose jobs; all given must match.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which jobs")]
pub(in crate::cli) struct Filter {
    /// queued, sending, done, failed, expired …
    #[arg(long)]
    state: Option<String>,
    /// Kind of job: send, batch_send, …
    #[arg(long)]
    kind: Option<String>,
    /// App, by its name in the config
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Lane
    #[arg(long, hide_short_help = true)]
    lane: Option<String>,
    /// Who enqueued it
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    client: Option<String>,
    /// Receiver or message, as it was written
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    /// The producer's key
    #[arg(long)]
    key: Option<String>,
    /// Feishu's id of its message
    #[arg(long, value_name = "ID", hide_short_help = true)]
    message_id: Option<String>,
    /// Feishu's code it ended with
    #[arg(long)]
    code: Option<i64>,
    /// Label, may be repeated
    #[arg(long = "label", value_name = "K=V", value_parser = crate::cli::label)]
    labels: Vec<(String, String)>,
    /// Accepted since: RFC 3339, or a duration back
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Accepted until
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

impl Filter {
    /// The query of it; empty when nothing was chosen.
    ///
    /// # Errors
    /// A label is given twice.
    pub(in crate::cli) fn query(&self) -> Result<Vec<(String, String)>, Trouble> {
        crate::cli::each_label_once(&self.labels)?;
        let code = self.code.map(|code| code.to_string());
        let given = [
            ("state", &self.state),
            ("kind", &self.kind),
            ("app", &self.app),
            ("lane", &self.lane),
            ("client", &self.client),
            ("to", &self.to),
            ("key", &self.key),
            ("message_id", &self.message_id),
            ("code", &code),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let plain = given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let labels = self
            .labels
            .iter()
            .map(|(name, value)| (format!("label.{name}"), value.clone()));
        Ok(plain.chain(labels).collect())
    }
}
