use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::*;

mod page;

/// The mistakes of a file with this text, as (key, whole line).
fn mistakes(text: &str) -> Vec<Mistake> {
    let (_folder, path) = file(text);
    Config::load(Some(&path), &[]).expect_err("mistakes").0
}

fn keys(mistakes: &[Mistake]) -> Vec<&str> {
    mistakes
        .iter()
        .map(|mistake| mistake.key.as_str())
        .collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proxy.toml");
    std::fs::write(&path, text).expect("a file");
    (folder, path)
}

fn set(sets: &[&str]) -> Result<Config, ConfigErrors> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Config::load(None, &sets)
}

/// The only mistake of a configuration made by `--set`.
fn only_mistake(sets: &[&str]) -> Mistake {
    let errors = set(sets).expect_err("a mistake");
    assert_eq!(errors.0.len(), 1, "{errors}");
    errors.0.into_iter().next().expect("one")
}

fn dotted(prefix: &str, table: &Table, into: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => dotted(&format!("{prefix}{key}."), inner, into),
            _ => into.push(format!("{prefix}{key}")),
        }
    }
}

const SHIPPED: &str = include_str!("../../proxy.toml");

#[test]
fn proxy_toml_holds_every_key_and_its_default() {
    let (_folder, path) = file(SHIPPED);
    assert_eq!(
        Config::load(Some(&path), &[]).expect("right"),
        Config::default()
    );

    let (mut shipped, mut known) = (Vec::new(), Vec::new());
    dotted("", &SHIPPED.parse().expect("TOML"), &mut shipped);
    dotted(
        "",
        &Table::try_from(Config::default()).expect("a table"),
        &mut known,
    );
    assert_eq!(shipped, known);
}

#[test]
fn every_key_in_proxy_toml_follows_a_comment() {
    let mut previous = "";
    for line in SHIPPED.lines() {
        let is_key = line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        assert!(
            !is_key || previous.starts_with("# "),
            "no comment above {line}"
        );
        previous = line;
    }
}

#[test]
fn without_a_file_the_defaults_are_in_force() {
    assert_eq!(set(&[]).expect("right"), Config::default());
}

#[test]
fn every_mistake_is_reported_with_its_key_and_line() {
    let found = mistakes(
        "[cache]\nmax_size = \"banana\"\nmax_sise = \"1MiB\"\nttl = 5\n[server]\nposture = \"shard\"\n\
         compressors = [\"snappy\", \"lz4\", \"brotli\"]\nmax_clients = -1\n[nowhere]\nx = 1\n\
         [upstream]\nuri = \"http://x\"\n",
    );
    let mut places: Vec<String> = Vec::new();
    for mistake in &found {
        let line = mistake
            .origin
            .rsplit_once(':')
            .map_or("?", |(_, line)| line);
        places.push(format!("{}:{line}", mistake.key));
        assert!(!mistake.help.is_empty(), "{mistake}");
    }
    places.sort();
    assert_eq!(
        places,
        [
            "cache.max_sise:3",
            "cache.max_size:2",
            "cache.ttl:4",
            "nowhere:9",
            "server.compressors[1]:7",
            "server.compressors[2]:7",
            "server.max_clients:8",
            "server.posture:6",
            "upstream.uri:12",
        ]
    );
}

#[test]
fn mistakes_say_what_is_wrong_and_what_to_do() {
    let text = ConfigErrors(vec![
        only_mistake(&["cache.max_size=banana"]),
        only_mistake(&["cache.max_sise=1MiB"]),
        only_mistake(&["server.posture=shard"]),
    ])
    .to_string();
    assert_eq!(
        text,
        "3 mistakes in the configuration:\n  \
         cache.max_size (command line): \"banana\" is not a size; write a number and a unit (B, KiB, MiB, GiB), such as \"64MiB\"\n    \
         help: the default is cache.max_size = \"256MiB\"\n  \
         cache.max_sise (command line): there is no such key\n    \
         help: did you mean max_size? (known in [cache]: bypass_namespaces, enabled, external_writes, max_entry, max_lag, max_size, pre_images, principal_ttl, quarantine, rules, shadow_share, ttl)\n  \
         server.posture (command line): unknown variant `shard`, expected one of `auto`, `mongos`, `replica-set`, `standalone`\n    \
         help: the default is server.posture = \"auto\""
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_by_both_types() {
    assert_eq!(
        mistakes("[cache]\nttl = 5")[0].what,
        "must be a string, not an integer"
    );
    assert_eq!(
        mistakes("cache = 5")[0].what,
        "must be a table, not an integer"
    );
    assert_eq!(
        mistakes("[server]\nthreads = \"2\"")[0].what,
        "must be an integer, not a string"
    );
    assert_eq!(keys(&mistakes("[cache.ttl]\nx = 1")), ["cache.ttl"]);
}

#[test]
fn broken_toml_is_reported_once_per_error_with_its_line() {
    let found = mistakes("[cache]\nttl = \n\n[server]\nlisten = @\n");
    let lines: Vec<&str> = found
        .iter()
        .map(|mistake| mistake.origin.as_str())
        .collect();
    assert_eq!(lines, ["line 2", "line 5"], "{found:?}");
    assert_eq!(mistakes("[cache]\nttl = \"1s\"\nttl = \"2s\"").len(), 1);
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let errors = Config::load(
        Some(Path::new("/nowhere/proxy.toml")),
        &["cache.ttl=x".to_owned()],
    )
    .expect_err("mistakes");
    assert_eq!(keys(&errors.0), ["--config", "cache.ttl"]);
}

#[test]
fn a_set_replaces_the_files_value_and_its_mistake() {
    let (_folder, path) = file("[cache]\nmax_size = \"banana\"\nttl = \"2s\"\n");
    let config = Config::load(Some(&path), &["cache.max_size=2GiB".to_owned()]).expect("right");
    assert_eq!(config.cache.max_size, ByteSize(2 << 30));
    assert_eq!(config.cache.ttl, Duration::from_secs(2));
}

#[test]
fn a_set_value_is_toml_and_strings_need_no_quotes() {
    let config = set(&[
        "cache.enabled=false",
        "server.threads = 3",
        "admin.token=1234567890123456",
        "log.level=\"warn\"",
        "cache.bypass_namespaces=[\"shop.carts\", \"audit.*\"]",
        "upstream.uri=mongodb://a:1,b:2/?replicaSet=rs0",
    ])
    .expect("right");
    assert!(!config.cache.enabled);
    assert_eq!(config.server.threads, 3);
    assert_eq!(
        config.admin.token.as_ref().map(Token::expose),
        Some("1234567890123456")
    );
    assert_eq!(config.log.level, "warn");
    assert_eq!(
        config.upstream.uri.expose(),
        "mongodb://a:1,b:2/?replicaSet=rs0"
    );
    let [carts, audit] = config.cache.bypass_namespaces.as_slice() else {
        panic!("not two")
    };
    assert!(carts.matches("shop", "carts") && !carts.matches("shop", "orders"));
    assert!(audit.matches("audit", "x") && !audit.matches("audits", "x"));
}

#[test]
fn a_set_that_names_no_value_or_no_key_is_a_mistake() {
    assert_eq!(only_mistake(&["cache.ttl"]).what, "has no value");
    assert_eq!(only_mistake(&["=1"]).what, "there is no such key");
    assert_eq!(
        only_mistake(&["cache=1"]).what,
        "must be a table, not an integer"
    );
    assert_eq!(
        only_mistake(&["cache.ttl.x=1"]).what,
        "there is no such key"
    );
    assert_eq!(
        only_mistake(&["server.threads=1\nserver.listen=2"]).key,
        "server.threads"
    );
}

#[test]
fn keys_that_do_not_fit_each_other_are_mistakes() {
    for (sets, key) in [
        (&["cache.max_entry=1GiB"][..], "cache.max_entry"),
        (&["cache.max_size=0B"], "cache.max_size"),
        (&["cache.ttl=0s"], "cache.ttl"),
        (&["cache.quarantine=0s"], "cache.quarantine"),
        (&["admin.listen=0.0.0.0:9216"], "admin.token"),
        (&["admin.listen=example.org:9216"], "admin.token"),
        (&["admin.listen=127.0.0.1:27016"], "admin.listen"),
        (&["admin.token=two words and more"], "admin.token"),
        (&["admin.token=fifteen-letters"], "admin.token"),
        (&["admin.console=[\"root\"]"], "admin.console"),
        (
            &["admin.console=[\"anyone\",\"admin.root\"]"],
            "admin.console",
        ),
        (&["server.tls.mode=on"], "server.tls.certificate"),
        (&["server.max_clients=0"], "server.max_clients"),
        (
            &["server.max_clients=9000000000000000000"],
            "server.max_clients",
        ),
        (&["cache.max_lag=99ms"], "cache.max_lag"),
        (&["server.threads=5000"], "server.threads"),
        (&["server.max_message_size=1MiB"], "server.max_message_size"),
        (&["server.max_message_size=2GiB"], "server.max_message_size"),
        (&["server.frame_timeout=0s"], "server.frame_timeout"),
        (&["server.advertise=db.example.org:0"], "server.advertise"),
        (&["upstream.uri=mongodb://localhost:27016"], "upstream.uri"),
        (&["upstream.uri=127.0.0.1:27017"], "upstream.uri"),
        (&["upstream.uri="], "upstream.uri"),
        (&["upstream.max_links=0"], "upstream.max_links"),
        (&["upstream.heartbeat=1ms"], "upstream.heartbeat"),
        (&["upstream.tls.key=/nowhere/key.pem"], "upstream.tls.key"),
        (&["upstream.tls.ca=/nowhere/ca.pem"], "upstream.tls.ca"),
        (&["log.level=inof"], "log.level"),
        (&["log.level=info,petiole=loud"], "log.level"),
        (&["log.level="], "log.level"),
        (&["traces.endpoint=localhost:4318"], "traces.endpoint"),
        (
            &["traces.endpoint=grpc://localhost:4317"],
            "traces.endpoint",
        ),
        (&["traces.share=1.5"], "traces.share"),
        (&["traces.service_name="], "traces.service_name"),
    ] {
        let mistake = only_mistake(sets);
        assert_eq!(mistake.key, key, "{mistake}");
        assert!(!mistake.help.is_empty(), "{mistake}");
    }
}

#[test]
fn keys_that_fit_each_other_are_right() {
    for sets in [
        &["cache.enabled=false", "cache.max_size=0B", "cache.ttl=0s"][..],
        &["cache.external_writes=none", "cache.ttl=0s"],
        &["cache.external_writes=watch", "cache.max_lag=100ms"],
        &["admin.listen=0.0.0.0:9216", "admin.token=s3cret-of-sixteen"],
        &["admin.listen=[::1]:9216"],
        &["admin.listen=127.0.0.1:0", "server.listen=127.0.0.1:0"],
        &["upstream.uri=mongodb+srv://user:pa%2Fss@cluster.example.org/?appName=x"],
        &["log.level=info,petiole::advice=debug"],
        &["server.advertise=proxy.example.org:27016"],
    ] {
        assert_eq!(set(sets).err(), None, "{sets:?}");
    }
}

#[test]
fn a_wrong_value_does_not_also_fail_the_checks_it_takes_part_in() {
    assert_eq!(
        only_mistake(&["cache.max_size=banana", "cache.max_entry=1GiB"]).key,
        "cache.max_size"
    );
    assert_eq!(
        only_mistake(&[
            "server.tls.client_ca=1",
            "server.tls.nothing=x",
            "server.tls.nothing=y"
        ])
        .key,
        "server.tls.nothing"
    );
}

#[test]
fn a_file_that_cannot_be_read_does_not_also_fail_the_checks_between_keys() {
    let (_folder, path) = file("[admin]\ntoken = \n");
    let sets = ["admin.listen=0.0.0.0:9216".to_owned()];
    let errors = Config::load(Some(&path), &sets).expect_err("a mistake");
    assert_eq!(errors.0.len(), 1, "{errors}");
}

#[test]
fn durations_need_a_unit_and_an_end() {
    for text in [
        "5",
        "-1s",
        "",
        "1 fortnight",
        "400d",
        "99999999999999999999s",
        "100000000000y",
    ] {
        assert_eq!(
            only_mistake(&[&format!("cache.ttl={text}")]).key,
            "cache.ttl",
            "{text}"
        );
    }
    let config = set(&["cache.ttl=1m 30s 5ms"]).expect("right");
    assert_eq!(config.cache.ttl, Duration::from_millis(90_005));
}

#[test]
fn namespaces_name_a_database_and_a_collection() {
    for text in ["", "db", "db.", ".c", "*.c", "d*.c"] {
        let set = format!("cache.bypass_namespaces=[\"{text}\"]");
        assert_eq!(
            only_mistake(&[&set]).key,
            "cache.bypass_namespaces[0]",
            "{text}"
        );
    }
}

#[test]
fn tls_files_must_exist_parse_and_belong_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let make = || {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let ((cert, key), (_, other)) = (make(), make());
    let both = write("both.pem", &format!("{key}{cert}"));
    let (cert, key, other) = (
        write("c.pem", &cert),
        write("k.pem", &key),
        write("o.pem", &other),
    );
    let junk = write(
        "junk.pem",
        "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydA==\n-----END CERTIFICATE-----\n",
    );
    let empty = write("empty.pem", "");

    let with = |certificate: &str, key: &str| {
        let sets = [
            "server.tls.mode=on".to_owned(),
            format!("server.tls.certificate={certificate}"),
            format!("server.tls.key={key}"),
        ];
        match Config::load(None, &sets) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.0.into_iter().map(|m| m.key).collect::<Vec<_>>(),
        }
    };
    const NONE: [&str; 0] = [];
    assert_eq!(with(&cert, &key), NONE);
    assert_eq!(with(&both, ""), NONE);
    assert_eq!(with(&cert, &other), ["server.tls.key"]);
    assert_eq!(with(&cert, ""), ["server.tls.key"]);
    assert_eq!(with(&cert, &cert), ["server.tls.key"]);
    assert_eq!(with(&empty, ""), ["server.tls.certificate"]);
    assert_eq!(with(&junk, &key), ["server.tls.certificate"]);
    assert_eq!(
        with("/nowhere.pem", "/nowhere.key"),
        ["server.tls.certificate", "server.tls.key"]
    );

    let ca = format!("upstream.tls.ca={junk}");
    assert_eq!(only_mistake(&[&ca]).key, "upstream.tls.ca");
    let required = only_mistake(&[
        "server.tls.mode=on",
        &format!("server.tls.certificate={both}"),
        "server.tls.require_client_certificate=true",
    ]);
    assert_eq!(required.key, "server.tls.require_client_certificate");
}

#[test]
fn the_printed_configuration_reads_back_as_the_same_one() {
    let config = set(&[
        "cache.max_size=1.5GB",
        "cache.ttl=1500ms",
        "server.listen=[::1]:0",
        "server.posture=replica-set",
        "cache.bypass_namespaces=[\"a.b.c\", \"d.*\"]",
        "upstream.tls.server_name=db.example.org",
    ])
    .expect("right");
    let (_folder, path) = file(&config.to_toml());
    assert_eq!(Config::load(Some(&path), &[]).expect("right"), config);
}

fn with_secrets(
    text: &str,
    variables: &[(&str, &str)],
    sets: &[&str],
) -> Result<Config, ConfigErrors> {
    let (_folder, path) = file(text);
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| (*text).to_owned())
    };
    Config::load_with(Some(&path), variable, &sets)
}

#[test]
fn secrets_from_elsewhere_are_printed_as_where_they_came_from() {
    let (_folder, path) = file("mongodb://joe:hunter2@filed/\n");
    let shown = path.display().to_string();
    let variables = [
        ("PETIOLE_UPSTREAM_URI", "mongodb://joe:hunter2@environed/"),
        ("PETIOLE_ADMIN_TOKEN", "hunter2hunter2hunter2"),
    ];
    let uri_file = format!("upstream.uri_file={shown}");
    let sources = |config: &Config| {
        let all = config.secret_sources().into_iter();
        all.map(|(key, source)| format!("{key} {source}"))
            .collect::<Vec<_>>()
    };
    let environed = with_secrets("", &variables, &[]).expect("right");
    assert_eq!(
        environed.upstream.uri.expose(),
        "mongodb://joe:hunter2@environed/"
    );
    assert_eq!(
        sources(&environed),
        [
            "upstream.uri from the environment variable PETIOLE_UPSTREAM_URI",
            "admin.token from the environment variable PETIOLE_ADMIN_TOKEN"
        ]
    );
    let filed = with_secrets("", &variables, &[&uri_file]).expect("right");
    assert_eq!(filed.upstream.uri.expose(), "mongodb://joe:hunter2@filed/");
    assert!(sources(&filed).contains(&format!("upstream.uri from the file {shown}")));
    for config in [environed, filed] {
        let printed = format!("{}\n{config:?}", config.to_toml());
        assert!(
            !printed.contains("hunter2") && !printed.contains("joe"),
            "{printed}"
        );
    }
}

#[test]
fn the_last_source_of_a_secret_wins() {
    let (_folder, path) = file("mongodb://filed/");
    let filed = format!("uri_file = {:?}", path.display().to_string());
    let in_file = format!("[upstream]\n{filed}\n");
    let environed = [("PETIOLE_UPSTREAM_URI", "mongodb://environed/")];
    let set = ["upstream.uri=mongodb://set/"];
    for (text, variables, sets, wanted) in [
        (in_file.as_str(), &[][..], &[][..], "mongodb://filed/"),
        (&in_file, &environed, &[], "mongodb://environed/"),
        (&in_file, &environed, &set, "mongodb://set/"),
        (&in_file, &[], &set, "mongodb://set/"),
        (
            "[upstream]\nuri = \"mongodb://plain/\"\n",
            &environed,
            &[],
            "mongodb://environed/",
        ),
        (
            "",
            &[("PETIOLE_UPSTREAM_URI", "")],
            &[],
            "mongodb://127.0.0.1:27017",
        ),
        (
            &format!("[upstream]\nuri = \"\"\n{filed}\n"),
            &[],
            &[],
            "mongodb://filed/",
        ),
    ] {
        let config = with_secrets(text, variables, sets).expect("right");
        assert_eq!(
            config.upstream.uri.expose(),
            wanted,
            "{text} {variables:?} {sets:?}"
        );
    }
}

#[test]
fn files_of_secrets_that_can_not_be_meant_are_mistakes() {
    let (_folder, good) = file("mongodb://filed/");
    let (_folder2, lines) = file("mongodb://filed/\nmongodb://other/\n");
    let (_folder3, empty) = file("\n");
    let (_folder4, short) = file("short\n");
    let line = |path: &std::path::Path| format!("uri_file = {:?}\n", path.display().to_string());
    for (text, key) in [
        (
            format!("[upstream]\nuri = \"mongodb://plain/\"\n{}", line(&good)),
            "upstream.uri_file",
        ),
        (format!("[upstream]\n{}", line(&lines)), "upstream.uri_file"),
        (format!("[upstream]\n{}", line(&empty)), "upstream.uri_file"),
        (
            "[upstream]\nuri_file = \"/nonexistent/uri\"".to_owned(),
            "upstream.uri_file",
        ),
        (
            format!("[admin]\ntoken_file = {:?}", short.display().to_string()),
            "admin.token",
        ),
    ] {
        let errors = with_secrets(&text, &[], &[]).expect_err(&text);
        let keys: Vec<_> = errors
            .0
            .iter()
            .map(|mistake| mistake.key.as_str())
            .collect();
        assert_eq!(keys, [key], "{text}: {errors}");
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let config = set(&[
        "upstream.uri=mongodb://joe:hunter2@db.example.org/?authMechanismProperties=AWS_SESSION_TOKEN:tok3n&appName=x",
        "admin.token=t0ken-that-is-long",
    ])
    .expect("right");
    let shown = format!("{}\n{config:?}", config.to_toml());
    for secret in ["hunter2", "tok3n", "t0ken"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(
        shown.contains("mongodb://joe:***@db.example.org/?authMechanismProperties=***&appName=x")
    );
    assert!(shown.contains("token = \"***\""));

    for uri in [
        "mongodb://joe:hunter2@",
        "mongodb://joe:hunt/er2@db:1",
        "mongodb://joe:hunt?er2@db:1",
        "mongodb://joe:hunt@er2@db:1",
        "mongodb://joe:hunter2%@db:1",
        "joe:hunter2@db:1",
        "http://joe:hunter2@db:1",
        "mongodb://joe:hunter2@db:1/?x=y@z",
    ] {
        let mistake = only_mistake(&[&format!("upstream.uri={uri}")]).to_string();
        assert!(
            !mistake.contains("hunt") && !mistake.contains("er2"),
            "{mistake}"
        );
    }
    for url in ["http://joe:hunter2@host", "https://host/?key=hunter2"] {
        let mistake = only_mistake(&[&format!("traces.endpoint={url}")]).to_string();
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
}

#[test]
fn what_is_wrong_in_a_rule_is_found_at_its_own_line() {
    let found = mistakes(
        r#"
        [[cache.rules]]
        namespace = "d.a"
        cache = false
        [[cache.rules]]
        namespace = "d.b"
        [[rewrite.rules]]
        namespace = "d.c"
        deny = "no"
        [[rewrite.rules]]
        namespace = "d.d"
        denny = "no"
        [[cache.rules]]
        namespace = "d.e"
        cache = false
        filter = ["a"]
        filter_includes = []
        "#,
    );
    let places: Vec<(&str, &str)> = found
        .iter()
        .map(|m| (m.key.as_str(), m.origin.rsplit(':').next().unwrap()))
        .collect();
    let expected = [
        ("rewrite.rules[1]", "10"),
        ("cache.rules", "5"),
        ("cache.rules", "13"),
        ("cache.rules", "13"),
    ];
    assert_eq!(places, expected, "{found:?}");
    let inline = mistakes(
        "[rewrite]\nrules = [\n  {namespace = \"d.c\", deny = \"x\"},\n  {namespace = \"d.c\"},\n]\n",
    );
    assert!(inline[0].origin.ends_with(":4"), "{inline:?}");
}

#[test]
fn every_mistake_in_a_rule_is_named_with_its_number() {
    let found = mistakes(
        r#"
        [rewrite]
        off = ["flatten"]
        [[rewrite.rules]]
        namespace = "d.c"
        [[rewrite.rules]]
        namespace = "d.c"
        deny = "no"
        hint = "a_1"
        [[rewrite.rules]]
        name = "x"
        namespace = "d.c"
        command = "insert"
        filter = ["a"]
        hint = "a_1"
        max_limit = 0
        read_preference = "secondary"
        [[rewrite.rules]]
        name = "x"
        namespace = "d.*"
        command = "findAndModify"
        max_time = "0s"
        "#,
    );
    assert!(keys(&found).iter().all(|key| *key == "rewrite.rules"));
    // Each names the line at which its rule begins.
    let lines: Vec<&str> = found
        .iter()
        .filter_map(|m| m.origin.rsplit(':').next())
        .collect();
    assert_eq!(lines, ["4", "6", "10", "10", "10", "10", "10", "18", "18"]);
    let what: Vec<&str> = found.iter().map(|m| m.what.as_str()).collect();
    let expected = [
        "rule 1 (d.c) changes nothing",
        "rule 2 (d.c) denies what it would change",
        "rule 3 (d.c) has a max_limit of 0",
        "rule 3 (d.c) gives insert a hint",
        "rule 3 (d.c) gives insert a max_limit",
        "rule 3 (d.c) gives insert a read_preference",
        "rule 3 (d.c) wants a filter of insert, which has none",
        "rule 4 (d.*) has no max_time left",
        "rule 4 (d.*) has the name of a rule before it",
    ];
    assert_eq!(what, expected);
    let unknown = mistakes("[rewrite]\noff = [\"flaten\"]\n");
    assert_eq!(keys(&unknown), ["rewrite.off[0]"]);
}
