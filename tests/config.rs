//! The config as a person meets it: the example, every fault at once, secrets from all places.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use feishu_relay::config::{self, Budget, Config, Listen, LogFormat, Scope};
use secrecy::ExposeSecret;

const EXAMPLE: &str = include_str!("../config.example.toml");
const APP: &str = "[[apps]]\nname = \"ops\"\napp_id = \"cli_a\"\napp_secret = \"s\"\n";
const DAY: Duration = Duration::from_secs(86_400);

fn parse(text: &str) -> Result<Config, Vec<String>> {
    parse_in(text, "relay.toml", &[])
}

fn parse_in(text: &str, file: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let env: HashMap<_, _> = env.iter().copied().collect();
    let env = |name: &str| env.get(name).map(|value| (*value).to_owned());
    Config::parse(text, Path::new(file), &env)
        .map_err(|error| error.to_string().lines().map(str::to_owned).collect())
}

/// Asserts that `text` has exactly the faults `expected`, each the start of a line.
fn check(text: &str, expected: &[&str]) {
    let faults = parse(text).map(|_| ()).expect_err("must be refused");
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, start) in faults.iter().zip(expected) {
        assert!(fault.starts_with(start), "{fault:?} is not {start:?}");
    }
}

/// The example with its optional keys switched on: a commented key loses its "# ".
fn example_in_full() -> String {
    let is_key = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        line.starts_with('[') || (line.contains(" = ") && key.chars().all(word))
    };
    let alternatives = [
        "app_secret_file",
        "app_secret_env",
        "token_file",
        "token_env",
        "token_sha256",
    ];
    EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_key(key) && !alternatives.iter().any(|name| key.starts_with(name)) => {
                key
            }
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_says_every_default() {
    let example = parse(EXAMPLE).unwrap();
    let least = parse(&APP.replace("cli_a\"", "cli_a1b2c3d4e5f60718\"")).unwrap();
    assert_eq!(example.server, least.server);
    assert_eq!(example.log, least.log);
    assert_eq!(example.store, least.store);
    assert_eq!(example.queue, least.queue);
    assert_eq!(format!("{:?}", example.apps), format!("{:?}", least.apps));
    assert!(example.bots.is_empty() && example.clients.is_empty());
    assert!(example.routes.is_empty() && example.oncall.is_empty());
    assert!(example.warnings.is_empty());
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = parse(APP).unwrap();
    assert_eq!(
        config.server.listen,
        [Listen::Tcp("127.0.0.1:8787".parse().unwrap())]
    );
    assert_eq!(config.server.socket_mode, 0o660);
    assert_eq!(config.server.max_body, 48 << 20);
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert_eq!(config.store.path, PathBuf::from("relay.db"));
    assert_eq!(config.store.retention, 30 * DAY);
    assert_eq!(config.store.content_retention, 7 * DAY);
    assert_eq!(config.queue.max_pending, 1_000_000);
    assert_eq!(config.queue.give_up_after, 3 * DAY);
    let app = &config.apps[0];
    assert_eq!((app.tenant.as_str(), app.month_quota), ("main", 0));
    assert_eq!(app.base_url, "https://open.feishu.cn");
    assert_eq!(app.timeout, Duration::from_secs(10));
    assert_eq!(app.limits, config::LIMITS);
    let budget = Budget {
        urgent_sms: 50,
        urgent_phone: 20,
    };
    assert_eq!(app.budget, budget);
}

#[test]
fn the_optional_keys_of_the_example_are_real() {
    let config = parse(&example_in_full()).unwrap();
    assert_eq!(config.bots[0].name, "room");
    assert!(config.bots[0].secret.is_some());
    assert!(config.apps[0].proxy.is_some());
    let client = &config.clients[0];
    assert_eq!(client.scopes, [Scope::Enqueue, Scope::Read, Scope::Operate]);
    assert_eq!(client.apps.as_deref(), Some(&["ops".to_owned()][..]));
    assert_eq!(client.wait, Some(Duration::from_secs(3)));
    assert_eq!(client.labels["team"], "db");
    let [route] = &config.routes[..] else {
        panic!("{:?}", config.routes);
    };
    assert_eq!((route.matchers.len(), route.escalate.len()), (2, 2));
    assert!(route.signature.is_some() && route.quiet.is_some());
    assert_eq!(config.oncall["oncall"], PathBuf::from("oncall.txt"));
}

/// An unknown key makes the reader list every key it knows; the example must name each.
#[test]
fn the_example_leaves_no_key_out() {
    let sections = [
        "[server]",
        "[log]",
        "[store]",
        "[queue]",
        "[[apps]]",
        "[apps.limits]",
        "[apps.budget]",
        "[[bots]]",
        "[[clients]]",
        "[[routes]]",
        "[routes.fields]",
    ];
    let text = sections
        .map(|section| format!("{section}\nnonsense = 1\n"))
        .concat();
    let faults = parse(&text).map(|_| ()).unwrap_err();
    let known: Vec<_> = faults
        .iter()
        .filter_map(|fault| fault.split_once("known here: "))
        .collect();
    assert_eq!(known.len(), sections.len(), "{faults:#?}");
    for (fault, keys) in known {
        for key in keys.split(", ") {
            let given = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = "))
                    || line == format!("[apps.{key}]")
                    || line == format!("[routes.{key}]")
            });
            let mentioned =
                EXAMPLE.contains(&format!("or {key}")) || EXAMPLE.contains(&format!(", {key}."));
            assert!(given || mentioned, "{key} of {fault}");
        }
    }
}

#[test]
fn every_fault_is_named_at_once_with_its_place() {
    check(
        "[server]\nlisten = \"0.0.0.0:80\"\nprot = 1\n[queue]\nmax_pending = \"many\"\n[[apps]]\nname = \"a b\"\ntimeout = \"10m\"\n",
        &[
            "relay.toml:2:10: server.listen: 0.0.0.0:80 is open to other machines",
            "relay.toml:3:1: server.prot: is not a known key",
            "relay.toml:5:15: queue.max_pending: must be a whole number, not a string",
            "relay.toml:6:1: apps[0].app_id: is missing",
            "relay.toml:6:1: apps[0].app_secret: is missing",
            "relay.toml:7:8: apps[0].name: \"a b\" is not a name",
            "relay.toml:8:11: apps[0].timeout: must be at most 2m",
        ],
    );
}

#[test]
fn every_fault_of_syntax_is_named_too() {
    check(
        "[server\n[store]\npath = \n[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
        &["relay.toml:1:8: ", "relay.toml:3:8: ", "relay.toml:6:1: "],
    );
}

#[test]
fn fighting_values_are_refused() {
    let of = |name: &str, quota: u64| {
        format!(
            "[[apps]]\nname = \"{name}\"\napp_id = \"cli_{name}\"\napp_secret = \"s\"\nmonth_quota = {quota}\n"
        )
    };
    let fight = "relay.toml:10:15: apps[1].month_quota: fights with another app: tenant \"main\" has one quota, 5 there";
    check(
        &format!("{}{}{}", of("a", 5), of("b", 6), of("c", 0)),
        &[fight],
    );
    check("", &["relay.toml:1:1: apps: is missing"]);
    check("apps = []", &["relay.toml:1:8: apps: is empty"]);
    check(
        &format!("{APP}app_secret_env = \"X\"\n"),
        &["relay.toml:5:18: apps[0].app_secret_env: is a second secret beside app_secret"],
    );
    check(
        &format!("{APP}{APP}"),
        &[
            "relay.toml:6:8: apps[1].name: names two apps",
            "relay.toml:7:10: apps[1].app_id: is the id of two apps",
        ],
    );
    check(
        &format!("[store]\nretention = \"23h\"\ncontent_retention = \"31d\"\n{APP}"),
        &[
            "relay.toml:2:13: store.retention: must be at least 1d",
            "relay.toml:3:21: store.content_retention: is longer than retention (30d)",
        ],
    );
    check(
        &format!("[server]\nlisten = [\"127.0.0.1:80\", \"127.0.0.1:80\"]\n{APP}"),
        &["relay.toml:2:27: server.listen[1]: is listened on twice"],
    );
    check(
        &format!(
            "{APP}base_url = \"open.feishu.cn\"\nlimits = {{ app_minute = 1001, chat_second = 0 }}\n"
        ),
        &[
            "relay.toml:5:12: apps[0].base_url: ",
            "relay.toml:6:25: apps[0].limits.app_minute: must be from 0 to 1000",
        ],
    );
    check(
        &format!("{APP}timeout = \"999ms\"\n"),
        &["relay.toml:5:11: apps[0].timeout: must be at least 1s"],
    );
}

#[test]
fn sections_that_do_not_exist_are_unknown_keys() {
    check(
        &format!("{APP}[[route]]\nname = \"db\"\n[on_call]\nlead = \"x\"\n"),
        &[
            "relay.toml:5:3: route: is not a known key",
            "relay.toml:7:2: on_call: is not a known key",
        ],
    );
}

#[test]
fn a_client_is_held_to_what_exists() {
    check(
        &format!(
            "{APP}[[clients]]\nname = \"c\"\ntoken = [\"t\", \"t\"]\nscopes = [\"enqueue\", \"root\"]\napps = [\"ops\", \"dev\"]\nkinds = [\"sent\"]\npriority = \"top\"\nlabels = {{ team = 1 }}\n"
        ),
        &[
            "relay.toml:7:15: clients[0].token[1]: is a token that was given before",
            "relay.toml:8:22: clients[0].scopes[1]: \"root\" is not enqueue, read, operate or direct",
            "relay.toml:9:16: clients[0].apps[1]: \"dev\" is not the name of one of [[apps]]",
            "relay.toml:10:10: clients[0].kinds[0]: \"sent\" is not a kind",
            "relay.toml:11:12: clients[0].priority: \"top\" is not high, normal or low",
            "relay.toml:12:19: clients[0].labels.team: must be a string, not an integer",
        ],
    );
    check(
        &format!("{APP}[[clients]]\nname = \"c\"\n"),
        &["relay.toml:5:1: clients[0].token: is missing"],
    );
}

#[test]
fn a_route_is_held_to_what_can_be_done() {
    let route = |lines: &[&str]| {
        let lines = lines.join("\n");
        format!(
            "{APP}[oncall]\nduty = \"/dev/null\"\nall = \"x\"\nbad = \"\"\n[[routes]]\n{lines}\n"
        )
    };
    check(
        &route(&[
            "name = \"a b\"",
            "source = \"zabbix\"",
            "to = \"room\"",
            "fallback = \"om_1\"",
            "app = \"dev\"",
            "match = ['severity=critical', 'team']",
            "mention = [\"@lead\", \"oc_1\", \"ou_1\", \"ou_1\"]",
            "until = [\"read\", \"click\"]",
            "escalate = [{ after = \"8d\", do = \"call\", to = [\"a@corp.cn\"] }, { after = \"1m\", do = \"urgent_app\", to = \"@all\" }, { do = \"urgent_sms\" }]",
            "quiet = \"22:00-08:00 Asia/Atlantis\"",
            "stale_after = \"30s\"",
            "on_doubt = \"again\"",
            "labels = { route = \"x\" }",
            "priority = { worst = \"high\", info = \"top\" }",
            "hmac_header = \"Authorization\"",
            "reopen = \"15d\"",
            "continue = \"yes\"",
            "unknown = 1",
        ]),
        &[
            "relay.toml:7:7: oncall.all: @all is everybody",
            "relay.toml:8:7: oncall.bad: \"\" does not name a file",
            "relay.toml:9:1: routes[0].source: is missing",
            "relay.toml:10:8: routes[0].name: \"a b\" is not a name",
            "relay.toml:11:10: routes[0].source: \"zabbix\" is not alertmanager, grafana or generic",
            "relay.toml:12:6: routes[0].to: \"room\" is no receiver",
            "relay.toml:13:12: routes[0].fallback: \"om_1\" is no receiver",
            "relay.toml:14:7: routes[0].app: \"dev\" is not the name of one of [[apps]]",
            "relay.toml:15:31: routes[0].match[1]: needs =, !=, =~ or !~",
            "relay.toml:16:12: routes[0].mention[0]: \"@lead\" is no list of [oncall]",
            "relay.toml:16:21: routes[0].mention[1]: \"oc_1\" is nobody",
            "relay.toml:16:37: routes[0].mention[3]: is named twice",
            "relay.toml:17:9: routes[0].until: must be a list of \"read\" and \"reaction\"",
            "relay.toml:18:23: routes[0].escalate[0].after: must be at most 7d",
            "relay.toml:18:34: routes[0].escalate[0].do: \"call\" is not urgent_app",
            "relay.toml:18:47: routes[0].escalate[0].to: names a mail address",
            "relay.toml:18:104: routes[0].escalate[1].to: names @all",
            "relay.toml:18:114: routes[0].escalate[2].after: is missing",
            "relay.toml:18:114: routes[0].escalate[2].to: is missing",
            "relay.toml:19:9: routes[0].quiet: \"Asia/Atlantis\" is no time zone",
            "relay.toml:20:15: routes[0].stale_after: must be 0s (never) or at least 1m",
            "relay.toml:21:12: routes[0].on_doubt: \"again\" is not hold, resend or drop",
            "relay.toml:22:20: routes[0].labels.route: is the relay's own label",
            "relay.toml:23:22: routes[0].priority.worst: is not a severity",
            "relay.toml:23:37: routes[0].priority.info: \"top\" is not high, normal or low",
            "relay.toml:24:15: routes[0].hmac_header: is where the client's token stands",
            "relay.toml:25:10: routes[0].reopen: must be at most 14d",
            "relay.toml:26:12: routes[0].continue: must be true or false",
            "relay.toml:27:1: routes[0].unknown: is not a known key",
        ],
    );
    for wrong in [
        "22:00 Asia/Shanghai",
        "22:00-08:00",
        "24:00-08:00 UTC",
        "22:60-08:00 UTC",
        "08:00-08:00 UTC",
    ] {
        let text =
            format!("name = \"a\"\nsource = \"generic\"\nto = \"oc_1\"\nquiet = \"{wrong}\"\n");
        check(
            &format!("{APP}[[routes]]\n{text}"),
            &["relay.toml:9:9: routes[0].quiet: "],
        );
    }
}

#[test]
fn a_sink_is_said_once_and_of_all_its_routes() {
    let route = |more: &str| format!("[[routes]]\nname = \"db\"\nto = \"oc_1\"\n{more}\n");
    let first = route(
        "source = \"generic\"\nhmac_secret = \"s\"\nmatch = \"a=b\"\nfields = { id = \"event.id\" }",
    );
    let config = parse(&format!("{APP}{first}{}", route(""))).unwrap();
    assert_eq!(config.routes[0].signature, config.routes[1].signature);
    assert_eq!(config.routes[1].fields.paths["id"], "/event/id");
    check(
        &format!(
            "{APP}{first}{}",
            route("source = \"grafana\"\nhmac_secret = \"t\"\nfields = { id = \"a..b\" }")
        ),
        &[
            "relay.toml:15:10: routes[1].source: fights with the first route named \"db\"",
            "relay.toml:16:15: routes[1].hmac_secret: belongs to the first route",
            "relay.toml:17:10: routes[1].fields: belongs to the first route",
            "relay.toml:17:17: routes[1].fields.id: has an empty name",
        ],
    );
    check(
        &format!(
            "{APP}{}",
            route("source = \"grafana\"\nfields = { id = \"id\" }")
        ),
        &["relay.toml:9:10: routes[0].fields: is only for source = \"generic\""],
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("\"s\""), "{shown}");
}

#[test]
fn a_route_that_nothing_reaches_is_a_fault() {
    let route = |name: &str, more: &str| {
        format!("[[routes]]\nname = \"{name}\"\nsource = \"grafana\"\nto = \"oc_1\"\n{more}\n")
    };
    let after = |first: &str, second: &str| {
        parse(&format!(
            "{APP}{}{}",
            route("db", first),
            route("db", second)
        ))
        .map(|_| ())
    };
    let taken = "relay.toml:10:1: routes[1]: is never reached: routes[0] takes all of its alerts";
    let never = "relay.toml:10:1: routes[1]: is never reached: a=\"b\" and a=\"c\" never hold both";
    for (first, second, fault) in [
        ("", "match = 'a=b'", Some(taken)),
        ("", "", Some(taken)),
        ("match = 'a=b'", "match = 'a=b'", Some(taken)),
        ("match = 'a=b'", "match = ['c=d', 'a=\"b\"']", Some(taken)),
        ("match = 'a=~\"b|c\"'", "match = 'a=c'", Some(taken)),
        ("match = 'a!=x'", "match = 'a=~\"b|c\"'", Some(taken)),
        ("match = 'z=y'", "match = ['a=b', 'a=c']", Some(never)),
        ("continue = true", "match = 'a=b'", None),
        ("match = 'a=b'", "", None),
        ("match = 'a=b'", "match = 'a=c'", None),
        ("match = ['a=b', 'c=d']", "match = 'a=b'", None),
    ] {
        let found = after(first, second);
        match (fault, found) {
            (None, Ok(())) => {}
            (Some(start), Err(faults)) => {
                assert!(
                    faults.len() == 1 && faults[0].starts_with(start),
                    "{faults:?}"
                );
            }
            (fault, found) => panic!("{first} before {second}: {fault:?} {found:?}"),
        }
    }
    let other = parse(&format!("{APP}{}{}", route("db", ""), route("web", "")));
    assert!(other.is_ok());
}

#[test]
fn an_on_duty_list_that_is_not_there_yet_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let text = format!("{APP}[oncall]\nduty = \"duty.txt\"\n");
    let read = || parse_in(&text, file.to_str().unwrap(), &[]).unwrap();
    let [warning] = &read().warnings[..] else {
        panic!("{:?}", read().warnings);
    };
    assert!(
        warning.message.contains("duty.txt cannot be read now"),
        "{warning:?}"
    );
    std::fs::write(folder.path().join("duty.txt"), "ou_1\n").unwrap();
    assert_eq!(read().warnings, []);
    assert_eq!(read().oncall["duty"], folder.path().join("duty.txt"));
}

#[test]
fn with_clients_the_relay_may_listen_to_other_machines() {
    let text = format!(
        "[server]\nlisten = [\"0.0.0.0:80\", \"unix:/run/r.sock\"]\n{APP}[[clients]]\nname = \"c\"\ntoken = \"t\"\n"
    );
    assert_eq!(parse(&text).unwrap().server.listen.len(), 2);
}

#[test]
fn every_way_of_giving_a_token_ends_in_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one"), "abc\n").unwrap();
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for key in [
        "token = \"abc\"",
        "token_file = \"one\"",
        "token_env = \"T\"",
        &format!("token_sha256 = \"{hash}\""),
    ] {
        let text = format!("{APP}[[clients]]\nname = \"c\"\n{key}\n");
        let file = folder.path().join("relay.toml");
        let config = parse_in(&text, file.to_str().unwrap(), &[("T", "abc")]).unwrap();
        let [given] = config.clients[0].token_sha256[..] else {
            panic!("{key}")
        };
        let hex: String = given.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, hash, "{key}");
    }
}

fn secret_of(text: &str, folder: &Path, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let file = folder.join("relay.toml");
    let app = "[[apps]]\nname = \"ops\"\napp_id = \"cli_a\"\n";
    parse_in(
        &format!("{app}{text}\n"),
        file.to_str().expect("temporary names are text"),
        env,
    )
}

#[test]
fn a_secret_file_is_found_among_the_credentials_then_beside_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = tempfile::tempdir().unwrap();
    let env = [(
        "CREDENTIALS_DIRECTORY",
        credentials.path().to_str().unwrap(),
    )];
    let secret = |env: &[(&str, &str)]| {
        let config = secret_of("app_secret_file = \"ops\"", folder.path(), env).unwrap();
        config.apps[0].app_secret.expose_secret().to_owned()
    };
    std::fs::write(folder.path().join("ops"), "beside\n").unwrap();
    assert_eq!(secret(&env), "beside");
    std::fs::write(credentials.path().join("ops"), "given\n").unwrap();
    assert_eq!(secret(&env), "given");
    assert_eq!(secret(&[]), "beside");
}

#[test]
fn an_unreadable_secret_is_a_fault_and_an_open_one_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |text| {
        secret_of(text, folder.path(), &[])
            .map(|_| ())
            .unwrap_err()
            .concat()
    };
    assert!(
        fault("app_secret_file = \"none\"").contains(":4:19: apps[0].app_secret_file: cannot read")
    );
    assert!(fault("app_secret_file = \"./\"").contains("is not a file"));
    assert!(fault("app_secret_env = \"NONE\"").contains("no variable NONE"));
    assert!(fault("app_secret = \" \"").contains("is empty"));
    let path = folder.path().join("ops");
    std::fs::write(&path, "\n").unwrap();
    assert!(fault("app_secret_file = \"ops\"").contains("is empty"));
    std::fs::write(&path, "one\ntwo\n").unwrap();
    assert!(fault("app_secret_file = \"ops\"").contains("more than one line"));

    std::fs::write(&path, "s3cret").unwrap();
    let warnings = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        secret_of("app_secret_file = \"ops\"", folder.path(), &[])
            .unwrap()
            .warnings
    };
    assert_eq!(warnings(0o600), []);
    let [warning] = &warnings(0o644)[..] else {
        panic!()
    };
    assert!(warning.message.contains("can be read by everybody"));
}

#[test]
fn no_secret_is_printed() {
    let text = format!(
        "{APP}proxy = \"http://u:hidden1@p:1\"\n[[bots]]\nname = \"b\"\nurl = \"https://a/hidden2\"\nsecret = \"hidden3\"\n"
    );
    let text = text.replace("app_secret = \"s\"", "app_secret = \"hidden0\"");
    let shown = format!("{:?}", parse(&text).unwrap());
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn the_store_goes_to_the_state_directory_when_there_is_one() {
    let path = |text: &str, env| {
        parse_in(text, "/etc/r/config.toml", env)
            .unwrap()
            .store
            .path
    };
    let state = [("STATE_DIRECTORY", "/var/lib/r:/var/lib/s")];
    assert_eq!(path(APP, &[]), Path::new("/etc/r/relay.db"));
    assert_eq!(path(APP, &state), Path::new("/var/lib/r/relay.db"));
    let absolute = format!("[store]\npath = \"/data/x.db\"\n{APP}");
    assert_eq!(path(&absolute, &state), Path::new("/data/x.db"));
}

#[test]
fn content_never_outlives_its_row_by_default() {
    let config = parse(&format!("[store]\nretention = \"2d\"\n{APP}")).unwrap();
    assert_eq!(config.store.content_retention, 2 * DAY);
}

#[test]
fn under_systemd_the_log_is_json() {
    let format = |env: &[(&str, &str)]| parse_in(APP, "relay.toml", env).unwrap().log.format;
    assert_eq!(format(&[]), LogFormat::Text);
    assert_eq!(format(&[("JOURNAL_STREAM", "8:1")]), LogFormat::Json);
}

/// A leaf cannot ask the other rooms; here what it repeats is compared with them.
#[test]
fn the_bounds_are_those_of_the_platform_and_of_the_jobs() {
    use feishu_im::limits;
    assert_eq!(config::LIMITS.app_minute, limits::API_MINUTE.count);
    assert_eq!(config::LIMITS.app_second, limits::API_SECOND.count);
    assert_eq!(config::LIMITS.chat_second, limits::CHAT_SECOND.count);
    assert_eq!(config::LIMITS.user_second, limits::USER_SECOND.count);
    let longest = i64::try_from(config::TIMEOUT_MAX.as_millis()).unwrap();
    assert_eq!(longest, limits::TIMEOUT_MAX_MS);
    let kinds = feishu_relay::job::Kind::all().filter(|kind| kind.is_public());
    assert!(kinds.map(|kind| kind.name()).eq(config::KINDS));
}

#[test]
fn a_file_that_is_not_there_is_one_fault() {
    let error = Config::load(Some(Path::new("/nonexistent/relay.toml"))).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/relay.toml: cannot be read: ")
    );
}
