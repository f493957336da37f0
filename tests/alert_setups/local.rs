//! What fails on a machine without any monitoring: a script of cron, a unit of systemd.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use feishu_sandbox::DEFAULT_CHAT;

use crate::support::House;
use crate::{all_sent, block, said, shell, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_cron_tells_of_its_failure_once_and_ends_as_it_would() {
    let mut house = House::new().await;
    let script = house.dir.path().join("nightly");
    let write = |work: &str| {
        let text = block("sh cron").replace("test -d /srv/import", work);
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let run = |house: &House| {
        let told = shell(house).arg("-c").arg("./nightly").output().unwrap();
        (told.status.code(), said(&told))
    };
    write("true");
    assert_eq!(run(&house).0, Some(0));
    write("exit 3");
    for _ in 0..2 {
        let (code, said) = run(&house);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("job_"), "{said}");
    }
    all_sent(&house).await;
    let seen = texts(&house).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains("nightly failed on "), "{seen:?}");
    // A relay that is away changes nothing of how the script ends.
    house.stop();
    let (code, said) = run(&house);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("nobody was told"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_fails_is_told_of() {
    let house = House::new().await;
    let binary = house.binary().get_program().to_str().unwrap().to_owned();
    let env = house.dir.path().join("failed.env");
    std::fs::write(&env, format!("CHAT={DEFAULT_CHAT}\n")).unwrap();
    let unit = block("ini feishu-failed@.service")
        .replace("/usr/bin/feishu-relay", &binary)
        .replace("/etc/feishu-relay/failed.env", env.to_str().unwrap());
    let backup = "[Service]\nType=oneshot\nExecStart=/bin/false\n";
    let backup = format!("{}{backup}", block("ini failed.conf"));
    let path = |name: &str| house.dir.path().join(name);
    std::fs::write(path("feishu-failed@.service"), &unit).unwrap();
    std::fs::write(path("backup.service"), backup).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .args([path("feishu-failed@x.service"), path("backup.service")])
        .env("SYSTEMD_PAGER", "");
    match verify.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        told => {
            let said = said(&told.unwrap());
            let ours: Vec<_> = said
                .lines()
                .filter(|line| line.contains("failed") || line.contains("backup"))
                .collect();
            assert!(ours.is_empty(), "{said}");
        }
    }
    // What systemd would put in, and then start.
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let start = start
        .unwrap()
        .replace("%i", "backup.service")
        .replace("%H", "db-1");
    let told = shell(&house)
        .envs([
            ("MONITOR_SERVICE_RESULT", "exit-code"),
            ("MONITOR_EXIT_STATUS", "3"),
        ])
        .args(["-euc", &start])
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", said(&told));
    all_sent(&house).await;
    let seen = texts(&house).await;
    assert!(
        seen[0].contains("backup.service failed on db-1: exit-code 3"),
        "{seen:?}"
    );
}
