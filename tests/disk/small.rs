//! Disks that can be full at will.
//!
//! `Disk::tmpfs` is a small file system in a namespace of its own, which needs no root where user
//! namespaces are allowed; there a full disk is a real one. `Disk::limited` bounds how large a file of
//! the relay may become, which works everywhere; there a full disk is an error of the disk.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::House;

/// Bytes of the small file system.
const SIZE: u64 = 6 * 1024 * 1024;

pub(crate) enum Disk {
    Tmpfs {
        /// Ends, and the file system with it, when its standard input does.
        holder: Child,
        /// As it is seen from here.
        root: PathBuf,
    },
    Limited,
}

impl Disk {
    /// A small file system with the database of `house` on it; `None`: this machine does not let us.
    pub(crate) fn tmpfs(house: &mut House) -> Option<Disk> {
        let place = house.dir.path().join("disk");
        std::fs::create_dir(&place).unwrap();
        let ways = [
            (
                ["--user", "--map-root-user", "--mount"].as_slice(),
                ["--user", "--preserve-credentials", "--mount"].as_slice(),
            ),
            (&["--mount"], &["--mount"]),
        ];
        for (unshare, nsenter) in ways {
            let mount = format!(
                "mount -t tmpfs -o size={SIZE},mode=0700 tmpfs \"$0\" && echo ready && exec cat"
            );
            let mut holder = Command::new("unshare")
                .args(unshare)
                .args(["sh", "-c", &mount])
                .arg(&place)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            let mut said = String::new();
            let mut out = BufReader::new(holder.stdout.take().unwrap());
            out.read_line(&mut said).unwrap();
            if said != "ready\n" {
                holder.wait().unwrap();
                continue;
            }
            let pid = holder.id().to_string();
            let mut before = vec![String::from("nsenter"), String::from("--target"), pid];
            before.extend(nsenter.iter().map(|word| (*word).to_owned()));
            before.push(String::from("--"));
            house.before = before;
            let database = place.join("relay.db");
            let config = house.config().replace(
                "path = \"relay.db\"",
                &format!("path = \"{}\"", database.display()),
            );
            house.set_config(config);
            let inside = place.strip_prefix("/").unwrap();
            let root = Path::new("/proc")
                .join(holder.id().to_string())
                .join("root")
                .join(inside);
            return Some(Disk::Tmpfs { holder, root });
        }
        None
    }

    /// A limit on the relay's files.
    pub(crate) fn limited(house: &mut House) -> Disk {
        house.before = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]
            .map(String::from)
            .to_vec();
        Disk::Limited
    }

    /// The folder of the database.
    pub(crate) fn folder(&self, house: &House) -> PathBuf {
        match self {
            Disk::Tmpfs { root, .. } => root.clone(),
            Disk::Limited => house.dir.path().to_owned(),
        }
    }

    /// What the relay calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Disk::Tmpfs { .. } => "full",
            Disk::Limited => "failing",
        }
    }

    /// From now on nothing more fits, but for `left` bytes.
    pub(crate) fn fill(&self, house: &House, left: u64) {
        match self {
            Disk::Tmpfs { root, .. } => {
                let ballast = std::fs::File::create(root.join("ballast")).unwrap();
                let all = vec![0; SIZE as usize];
                // As much as there is room for; then a little of it back.
                let _ = std::io::Write::write_all(&mut &ballast, &all);
                let size = ballast.metadata().unwrap().len();
                ballast.set_len(size.saturating_sub(left)).unwrap();
            }
            // Not even over what is there, since the relay empties its log and would have room again. What it says
            // has room: less than two pages.
            Disk::Limited => limit(house, &left.max(6000).to_string()),
        }
    }

    /// There is room again.
    pub(crate) fn make_room(&self, house: &House) {
        match self {
            Disk::Tmpfs { root, .. } => std::fs::remove_file(root.join("ballast")).unwrap(),
            Disk::Limited => limit(house, "unlimited"),
        }
    }
}

fn limit(house: &House, size: &str) {
    let pid = house.pid().to_string();
    let limit = format!("--fsize={size}:");
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(set.unwrap().success());
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Disk::Tmpfs { holder, .. } = self {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
    }
}
