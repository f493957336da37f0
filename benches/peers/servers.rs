//! Redis and PostgreSQL as processes, each on a free port of loopback and in a folder of its own.
//!
//! Both write through to the disk before they answer, and are otherwise as they come. What would fall into one run
//! and not into the other is off: Redis's snapshots and rewrites. Dropped, they are stopped and their folder is gone.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::process::{BenchError, file, folder, free_address};
use crate::peers::wire::{NAME, prepare};
use crate::peers::{Peer, Programs};

/// The longest that one may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who runs PostgreSQL where root would: it refuses root. The first that is there.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A Redis that appends every write to its file and syncs before it answers.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(super) fn start(program: &Path, parent: &Path) -> Result<Redis, BenchError> {
        let folder = folder(parent)?;
        let address = free_address()?;
        let settings: [(&str, &str); 8] = [
            ("--bind", &address.ip().to_string()),
            ("--port", &address.port().to_string()),
            ("--dir", &folder.path().to_string_lossy()),
            ("--appendonly", "yes"),
            ("--appendfsync", "always"),
            ("--auto-aof-rewrite-percentage", "0"),
            ("--save", ""),
            // Else its folder, by which it is found, would not stand in its command line.
            ("--set-proc-title", "no"),
        ];
        let child = Command::new(program)
            .args(settings.iter().flat_map(|(name, value)| [name, value]))
            .stdout(log(folder.path())?)
            .stderr(Stdio::null())
            .spawn()
            .map_err(file("redis-server"))?;
        let mut redis = Redis {
            address,
            child,
            _folder: folder,
        };
        let log = redis._folder.path().join(LOG);
        wait(Peer::Redis, address, &mut redis.child, &log)?;
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A PostgreSQL with a fresh cluster and a table.
#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) address: SocketAddr,
    programs: PathBuf,
    owner: Option<Owner>,
    child: Child,
    folder: tempfile::TempDir,
}

impl Postgres {
    pub(super) fn start(programs: &Path, parent: &Path) -> Result<Postgres, BenchError> {
        let folder = folder(parent)?;
        let owner = Owner::needed(folder.path())?;
        if let Some(owner) = &owner {
            owner.give(folder.path())?;
        }
        let data = folder.path().join("data");
        let made = command(programs, "initdb", &owner)
            .arg("--pgdata")
            .arg(&data)
            .args(["--auth=trust", "--no-locale", "--encoding=UTF8"])
            .args(["--username", NAME, "--no-instructions"])
            .output();
        good("initdb", made, &owner)?;
        let address = free_address()?;
        let settings = [
            format!("listen_addresses={}", address.ip()),
            format!("port={}", address.port()),
            String::from("unix_socket_directories="),
            String::from("fsync=on"),
            String::from("synchronous_commit=on"),
        ];
        let child = command(programs, "postgres", &owner)
            .arg("-D")
            .arg(&data)
            .args(settings.iter().flat_map(|one| ["-c", one]))
            .stdout(Stdio::null())
            .stderr(log(folder.path())?)
            .spawn()
            .map_err(file("postgres"))?;
        let mut postgres = Postgres {
            address,
            programs: programs.to_owned(),
            owner,
            child,
            folder,
        };
        let log = postgres.folder.path().join(LOG);
        wait(Peer::Postgres, address, &mut postgres.child, &log)?;
        Ok(postgres)
    }
}

impl Drop for Postgres {
    /// Its own way: killed, it would leave a segment of shared memory behind.
    fn drop(&mut self) {
        let _ = command(&self.programs, "pg_ctl", &self.owner)
            .args(["stop", "--silent", "--mode=immediate", "--pgdata"])
            .arg(self.folder.path().join("data"))
            .output();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another user than root.
#[derive(Debug)]
struct Owner {
    name: &'static str,
    user: u32,
    group: u32,
}

impl Owner {
    /// `None`: we are not root. A folder just made belongs to whoever we are.
    fn needed(ours: &Path) -> Result<Option<Owner>, BenchError> {
        let metadata = std::fs::metadata(ours).map_err(file("the folder"))?;
        if metadata.uid() != 0 {
            return Ok(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").map_err(file("/etc/passwd"))?;
        let found = USERS.iter().find_map(|name| {
            let line = users.lines().find_map(|line| line.strip_prefix(name));
            let mut fields = line?.strip_prefix(':')?.split(':').skip(1);
            Some(Owner {
                name,
                user: fields.next()?.parse().ok()?,
                group: fields.next()?.parse().ok()?,
            })
        });
        match found {
            Some(owner) => Ok(Some(owner)),
            None => Err(BenchError::Answer(format!(
                "PostgreSQL does not run as root, and there is none of the users {USERS:?}"
            ))),
        }
    }

    fn give(&self, folder: &Path) -> Result<(), BenchError> {
        chown(folder, Some(self.user), Some(self.group)).map_err(file("the folder"))?;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder, open).map_err(file("the folder"))
    }
}

/// A program of PostgreSQL, as that user.
fn command(programs: &Path, name: &str, owner: &Option<Owner>) -> Command {
    let program = programs.join(name);
    let mut command = match owner {
        None => Command::new(program),
        Some(owner) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", owner.user))
                .arg(format!("--regid={}", owner.group))
                .args(["--clear-groups", "--"])
                .arg(program);
            command
        }
    };
    // Where it stands now may be closed to that user.
    command
        .current_dir("/")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

fn good(what: &str, ended: io::Result<Output>, owner: &Option<Owner>) -> Result<(), BenchError> {
    let ended = ended.map_err(file(what))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let hint = owner.as_ref().map_or(String::new(), |owner| {
        let name = owner.name;
        format!("\nIt runs as {name}: another folder (--folder) may be open to {name}.")
    });
    Err(BenchError::Answer(format!(
        "{what} failed: {}{hint}",
        said.trim_end()
    )))
}

/// The versions, as the programs say them.
pub(crate) fn versions(programs: &Programs) -> Result<String, BenchError> {
    let ask = |mut command: Command, what: &str| {
        let said = command.arg("--version").output().map_err(file(what))?;
        let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        Ok::<String, BenchError>(said)
    };
    let redis = ask(Command::new(&programs.redis), "redis-server")?;
    let postgres = ask(command(&programs.postgres, "postgres", &None), "postgres")?;
    Ok(format!("{redis}; {postgres}"))
}

/// Until it answers.
fn wait(peer: Peer, address: SocketAddr, child: &mut Child, log: &Path) -> Result<(), BenchError> {
    let since = Instant::now();
    loop {
        let ended = matches!(child.try_wait(), Ok(Some(_)));
        match prepare(peer, address) {
            Ok(()) => return Ok(()),
            Err(error) if ended || since.elapsed() > PATIENCE => {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                return Err(BenchError::Answer(format!(
                    "{peer:?} does not start: {error}; its log: {log}"
                )));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// What a server says, in its folder.
const LOG: &str = "server.log";

fn log(folder: &Path) -> Result<std::fs::File, BenchError> {
    std::fs::File::create(folder.join(LOG)).map_err(file(LOG))
}
