//! `completions`: what a shell needs to complete the words of this program.

use clap::CommandFactory;
use clap_complete::Shell;

use super::exit::{Ended, Exit, Trouble};
use super::{Cli, NAME, out};

/// Print completions for a shell (bash, zsh, fish …)
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub(super) async fn run(self) -> Ended {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        let script = String::from_utf8(script)
            .map_err(|error| Trouble::new(Exit::Failed, error.to_string()))?;
        out::line(script.trim_end())?;
        Ok(Exit::Fine)
    }
}
