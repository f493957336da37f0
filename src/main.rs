//! The program: one crypto provider, one runtime, the command line.

use std::process::ExitCode;
use std::time::Duration;

use feishu_relay::cli;

/// A burst of large requests must not stay in memory for good. `.cargo/config.toml` says how soon
/// freed memory goes back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the end waits for what blocks a thread.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // TLS takes the process's provider; a second one in the graph would make it refuse to choose.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        cli::complain("another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    // Before the runtime has threads: it takes them out of the environment.
    let sockets = cli::Sockets::take();
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let code = runtime.block_on(cli::run(sockets));
            // What still reads a file that never answers must not hold up the end.
            runtime.shutdown_timeout(LEFT_BEHIND_MAX);
            code
        }
        Err(error) => {
            cli::complain(&format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}
