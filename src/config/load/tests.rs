use std::time::Duration;

use super::*;
use crate::config::values::Value;

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn file(text: &str) -> (PathBuf, String) {
    (PathBuf::from("/etc/natha/natha.toml"), text.to_owned())
}

fn problems_of(text: &str) -> Vec<String> {
    let sources = Sources { file: Some(file(text)), ..Sources::default() };
    let Problems(all) = resolve(&sources).expect_err(text);
    all.iter().map(ToString::to_string).collect()
}

fn only_problem(text: &str) -> String {
    let mut all = problems_of(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn nothing_given_is_the_defaults() {
    let resolved = resolve(&Sources::default()).unwrap();
    assert_eq!(resolved.settings, Settings::default());
    assert!(resolved.given.values().all(|given| given.origin == Origin::Default));
    assert_eq!(resolved.given.len(), all().count());
}

#[test]
fn each_place_goes_before_the_next() {
    let tags = texts(&[("natha:cluster", "of-tag"), ("Name", "nat-a")]);
    let mut sources = Sources { tags: Some(&tags), ..Sources::default() };
    let cluster = |sources: &Sources<'_>| resolve(sources).unwrap().settings.cluster.unwrap();
    assert_eq!(cluster(&sources), "of-tag");
    sources.file = Some(file("cluster = \"of-file\""));
    assert_eq!(cluster(&sources), "of-file");
    sources.env = texts(&[("NATHA_CLUSTER", "of-env")]);
    assert_eq!(cluster(&sources), "of-env");
    sources.flags.set = vec!["cluster=of-set".to_owned()];
    assert_eq!(cluster(&sources), "of-set");
    sources.flags.cluster = Some("of-flag".to_owned());
    assert_eq!(cluster(&sources), "of-flag");
    let given = &resolve(&sources).unwrap().given["cluster"];
    assert_eq!(given.origin, Origin::Flag("--cluster".to_owned()));
}

#[test]
fn a_file_sets_what_it_names_and_tells_the_line() {
    let text = "cluster = 'blue'\n\n[heartbeat]\ninterval = '50ms'\nlost_after = 4\n\
                [host]\nsources = ['10.0.0.0/16', '10.1.0.0/16']\nclamp_mss = false\n";
    let sources = Sources { file: Some(file(text)), ..Sources::default() };
    let Resolved { settings, given, .. } = resolve(&sources).unwrap();
    assert_eq!(settings.timing.detection(), Duration::from_millis(200));
    assert_eq!(settings.host.sources.len(), 2);
    assert!(!settings.host.clamp_mss);
    assert_eq!(given["heartbeat.interval"].origin.to_string(), "/etc/natha/natha.toml:4");
}

#[test]
fn groups_are_read_from_the_file() {
    let text = "[[group]]\nname = 'a'\ntables = ['rtb-0123abcd']\nhome = 'eu-west-1a'\n\
                [[group]]\nname = 'b'\ntables = ['rtb-0123abce']\n";
    let sources = Sources { file: Some(file(text)), ..Sources::default() };
    let settings = resolve(&sources).unwrap().settings;
    assert_eq!(settings.groups.len(), 2);
    assert_eq!(settings.groups[0].home.as_ref().unwrap().show(), "eu-west-1a");
    assert_eq!(settings.groups[1].home, None);
    assert_eq!(settings.groups[1].cidr.to_string(), "0.0.0.0/0");
}

#[test]
fn a_misspelt_setting_is_named_with_the_right_one() {
    assert_eq!(
        only_problem("[heartbeat]\nintervall = '50ms'"),
        "heartbeat.intervall (/etc/natha/natha.toml:2): unknown setting; \
         did you mean `heartbeat.interval`?"
    );
    let env = texts(&[("NATHA_CLUSTERS", "x"), ("NATHA_CONFIG", "/x"), ("NATHA_LOG", "debug")]);
    let Problems(all) = resolve(&Sources { env, ..Sources::default() }).unwrap_err();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].remedy, "did you mean NATHA_CLUSTER?");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = "clustre = 'x'\n[heartbeat]\ninterval = 100\nport = 0\n[repair]\nenabled = 'yes'\n\
                [[group]]\nname = 'a b'\ntabels = []\n";
    let all = problems_of(text);
    for part in ["clustre", "interval", "port", "enabled", "tabels", "group.tables"] {
        assert!(all.iter().any(|problem| problem.contains(part)), "{part}: {all:#?}");
    }
    assert_eq!(all.len(), 6, "{all:#?}");
}

#[test]
fn a_refused_value_is_quoted_as_it_is_written_with_what_to_write() {
    for (text, problem) in [
        ("heartbeat.interval = 90", " = 90 (FILE:1): has no unit; write 90ms, for example"),
        ("repair.enabled = 'yes'", " = 'yes' (FILE:1): is not a boolean; write true or false"),
        (
            "host.accept = ['10.0.0.300']",
            " = ['10.0.0.300'] (FILE:1): `10.0.0.300` is not an IPv4 address; write one such as \
             10.0.0.10",
        ),
        (
            "host.accept = [\n'10.0.0.300']",
            " = \"10.0.0.300\" (FILE:1): `10.0.0.300` is not an IPv4 address; write one such as \
             10.0.0.10",
        ),
        ("cluster = \"\"", " = \"\" (FILE:1): is empty; write a value, or remove the setting"),
        ("heartbeat.port = 0", " = 0 (FILE:1): is too small; it may be: 1 to 65535"),
        (
            "host.accept_mode = \"arp\"",
            " = \"arp\" (FILE:1): is not a mode; it may be: lo or redirect",
        ),
    ] {
        let name = text.split(' ').next().unwrap();
        let wanted = format!("{name}{}", problem.replace("FILE", "/etc/natha/natha.toml"));
        assert_eq!(only_problem(text), wanted);
    }
}

#[test]
fn only_a_wrong_flag_is_wrong_usage() {
    let of_set = |set: &str| {
        let flags = Flags { set: vec![set.to_owned()], ..Flags::default() };
        resolve(&Sources { flags, ..Sources::default() }).unwrap_err()
    };
    for (set, problem) in [
        ("foo", "flag --set foo: `=` is missing; write --set KEY=VALUE"),
        ("foo=1", "foo (flag --set): unknown setting"),
        ("heartbeat.port=0", "heartbeat.port = \"0\" (flag --set): is too small"),
        ("api.endpoint=ec2.test", "api.endpoint = \"ec2.test\" (flag --set): is not a URL"),
        ("failover.read_valid=1s", "failover.read_valid = \"1s\" (flag --set), api.timeout"),
    ] {
        let problems = of_set(set);
        assert!(problems.is_wrong_usage(), "{set}");
        assert!(problems.to_string().contains(problem), "{set}: {problems}");
    }
    let env = texts(&[("NATHA_HEARTBEAT_PORT", "0")]);
    let problems = resolve(&Sources { env, ..Sources::default() }).unwrap_err();
    assert!(!problems.is_wrong_usage(), "{problems}");
}

#[test]
fn a_renamed_setting_is_refused_with_its_new_name() {
    let problem = only_problem("notices.heed = false");
    assert!(problem.contains("did you mean `interruptions.enabled`?"), "{problem}");
    let problem = only_problem("notices.lead = '5m'");
    assert!(problem.contains("did you mean `interruptions.lead_time`?"), "{problem}");
}

#[test]
fn the_flags_of_a_pair_take_the_place_of_members_and_groups() {
    let pair = PairFlags {
        peer: Some("i-0000000b".parse().unwrap()),
        peer_table: Some("rtb-0000000b".parse().unwrap()),
        my_table: Some("rtb-0000000a".parse().unwrap()),
    };
    let text = "members = ['i-0000000c']\n[[group]]\nname = 'x'\ntables = ['rtb-0000000c']\n";
    let sources = Sources { pair, file: Some(file(text)), ..Sources::default() };
    let Resolved { settings, given, .. } = resolve(&sources).unwrap();
    assert_eq!(settings.members, ["i-0000000b".parse().unwrap()]);
    assert_eq!(given["members"].origin, Origin::Flag("--peer".to_owned()));
    let names: Vec<&str> = settings.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["rtb-0000000a", "rtb-0000000b"]);
    assert!(settings.moves_default_routes() && settings.timing.repair.enabled);
    let pair = PairFlags { my_table: sources.pair.peer_table.clone(), ..sources.pair };
    let Problems(all) = resolve(&Sources { pair, ..Sources::default() }).unwrap_err();
    assert!(all[0].what.contains("are both rtb-0000000b"), "{all:?}");
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let problem = only_problem("cluster = 'a'\nx = = 1\n");
    assert!(problem.starts_with("/etc/natha/natha.toml:2: "), "{problem}");
}

#[test]
fn a_stagger_that_lets_two_nodes_stop_each_other_is_refused() {
    let problem = only_problem("[repair]\nstagger = '10s'");
    assert!(problem.contains("repair.stagger = '10s' (/etc/natha/natha.toml:2)"), "{problem}");
    assert!(problem.contains("could stop each other"), "{problem}");
    // The same numbers are fine where nobody is stopped.
    let text = "[repair]\nstagger = '10s'\nenabled = false";
    assert!(resolve(&Sources { file: Some(file(text)), ..Sources::default() }).is_ok());
}

#[test]
fn slow_calls_and_slow_detection_ask_for_a_longer_stagger() {
    assert!(problems_of("api.timeout = '30s'").iter().any(|text| text.contains("repair.stagger")));
    let all = problems_of("heartbeat.interval = '3s'");
    assert!(all.iter().any(|text| text.contains("repair.stagger")), "{all:?}");
}

#[test]
fn timings_that_contradict_each_other_are_refused() {
    for (text, part) in [
        ("repair.settle = '5s'", "before it can prove"),
        ("hand_back.hold = '1h'", "hand_back.hold_max"),
        ("failover.read_valid = '4s'", "failover.read_valid"),
        ("heartbeat.interval = '10s'\nrepair = { stagger = '80s', after = '2m' }", "first contact"),
    ] {
        let problem = only_problem(text);
        assert!(problem.contains(part), "{problem}");
    }
    let late = "heartbeat.interval = '10s'\nheartbeat.lost_after = 10\n\
                repair.stagger = '10m'\nfailover.first_contact = '10m'";
    assert!(only_problem(late).contains("before it can prove"));
}

#[test]
fn a_repair_that_comes_before_a_peer_can_show_that_it_lives_is_refused() {
    let problem = only_problem("repair.after = '25s'");
    assert!(problem.contains("set repair.after to at least 25s 540ms"), "{problem}");
    let text = "repair.after = '20s'\napi.timeout = '3s'\nfailover.read_valid = '3s'";
    assert!(resolve(&Sources { file: Some(file(text)), ..Sources::default() }).is_ok());
}

#[test]
fn a_table_belongs_to_one_group() {
    let text = "[[group]]\nname = 'a'\ntables = ['rtb-0123abcd']\n\
                [[group]]\nname = 'b'\ntables = ['rtb-0123abcd']\n";
    assert!(only_problem(text).contains("rtb-0123abcd is in the groups a and b"));
    let text = "[[group]]\nname = 'a'\ntables = ['rtb-0123abcd']\n\
                [[group]]\nname = 'a'\ntables = ['rtb-0123abce']\n";
    assert!(only_problem(text).contains("group a is defined twice"));
}

#[test]
fn places_on_this_host_are_not_taken_from_tags() {
    let tags = texts(&[("natha:state_dir", "/tmp/x"), ("natha:interface", "1")]);
    let Problems(all) = resolve(&Sources { tags: Some(&tags), ..Sources::default() }).unwrap_err();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].subject.contains("natha:state_dir"));
}

#[test]
fn an_endpoint_needs_a_scheme() {
    assert!(only_problem("api.endpoint = 'localhost:5000'").contains("is not a URL"));
}

/// Settings with a key file of this content and mode.
fn with_key(content: &[u8], mode: u32) -> Result<Option<ClusterKey>, Problem> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let env = texts(&[("NATHA_HEARTBEAT_KEY_FILE", path.to_str().unwrap())]);
    read_key(&resolve(&Sources { env, ..Sources::default() }).unwrap(), None)
}

#[test]
fn a_key_is_read_without_the_line_break_behind_it() {
    let key = with_key(b"0123456789abcdef\n", 0o600).unwrap().unwrap();
    assert_eq!(key.0, b"0123456789abcdef");
    assert_eq!(format!("{key:?}"), "ClusterKey(…)");
}

#[test]
fn a_short_or_open_key_is_refused() {
    assert!(with_key(b"0123456789abcde\n", 0o600).unwrap_err().what.contains("15 bytes"));
    let open = with_key(b"0123456789abcdef\n", 0o644).unwrap_err();
    assert!(open.what.contains("644"), "{open}");
    assert!(!open.to_string().contains("0123456789abcdef"));
}

#[test]
fn a_key_that_is_refused_does_not_hide_the_other_settings_from_a_diagnosis() {
    let directory = tempfile::tempdir().unwrap();
    let [key, config] = ["key", "natha.toml"].map(|name| directory.path().join(name));
    fs::write(&key, "0123456789abcdef\n").unwrap();
    let text = format!("cluster = \"blue\"\nheartbeat.key_file = \"{}\"\n", key.display());
    fs::write(&config, text).unwrap();
    let flags = Flags { config: Some(config), ..Flags::default() };
    let with_mode = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        load_despite_key(&flags, None).unwrap()
    };
    let (resolved, problem) = with_mode(0o644);
    assert_eq!(resolved.settings.cluster.as_deref(), Some("blue"));
    assert_eq!(resolved.settings.heartbeat.key, None);
    assert!(problem.unwrap().what.contains("644"));
    assert!(load(&flags, None).is_err());
    let (resolved, problem) = with_mode(0o600);
    assert_eq!((resolved.settings.heartbeat.key.is_some(), problem), (true, None));
}

#[test]
fn the_service_managers_credential_is_the_key_where_no_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let resolved = resolve(&Sources::default()).unwrap();
    assert_eq!(read_key(&resolved, Some(directory.path())).unwrap(), None);
    let path = directory.path().join(CREDENTIAL);
    fs::write(&path, [7; 32]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let key = read_key(&resolved, Some(directory.path())).unwrap();
    assert_eq!(key, Some(ClusterKey(vec![7; 32])));
}

#[test]
fn a_named_file_must_be_there() {
    let flags =
        Flags { config: Some(PathBuf::from("/nonexistent/natha.toml")), ..Flags::default() };
    let problem = read_file(&flags, &BTreeMap::new()).unwrap_err();
    assert!(problem.to_string().contains("/nonexistent/natha.toml (flag --config)"), "{problem}");
}

#[test]
fn a_control_character_is_refused_and_not_shown() {
    let tags = texts(&[("natha:cluster", "blue\u{1b}[2J")]);
    let refused = resolve(&Sources { tags: Some(&tags), ..Sources::default() }).unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("control character") && told.contains("tag natha:cluster"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn an_unknown_tag_is_ignored_with_a_warning_and_a_renamed_one_is_refused() {
    let resolved = |tag: &str| {
        let tags = BTreeMap::from([
            (tag.to_owned(), "1".to_owned()),
            ("natha:heartbeat.port".to_owned(), "7000".to_owned()),
        ]);
        resolve(&Sources { tags: Some(&tags), ..Sources::default() })
    };
    let found = resolved("natha:heartbeat.prot").unwrap();
    assert_eq!(found.settings.heartbeat.port, 7000);
    let [warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
    assert!(warning.to_string().contains("did you mean `heartbeat.port`"), "{warning}");
    assert!(resolved("natha:notices.lead").is_err());
}

#[test]
fn replication_without_a_cluster_key_is_refused() {
    let source = file("replicate.enabled = true");
    let sources = Sources { file: Some(source), ..Sources::default() };
    let mut resolved = resolve(&sources).unwrap();
    let problem = unkeyed_replication(&resolved).unwrap().to_string();
    assert!(problem.contains("replicate.enabled") && problem.contains("heartbeat.key_file"));
    resolved.settings.heartbeat.key = Some(ClusterKey(vec![1; LEAST_KEY]));
    assert_eq!(unkeyed_replication(&resolved), None);
    assert_eq!(unkeyed_replication(&resolve(&Sources::default()).unwrap()), None);
}

#[test]
fn the_least_rate_of_replication_may_not_be_above_the_greatest() {
    let problem = only_problem("replicate.min_rate = 200\nreplicate.max_rate = 100");
    assert!(problem.contains("set replicate.max_rate to at least 200"), "{problem}");
}

#[test]
fn what_belongs_to_a_webhook_needs_one() {
    for key in ["webhook_ca", "webhook_header_file"] {
        let text = format!("notify.{key} = \"/etc/natha/file\"");
        let problem = only_problem(&text);
        assert!(problem.contains(key) && problem.contains("set notify.webhook"), "{problem}");
        let with = format!("{text}\nnotify.webhook = \"https://a.example/\"");
        let sources = Sources { file: Some(file(&with)), ..Sources::default() };
        assert!(resolve(&sources).is_ok());
    }
}

#[test]
fn metrics_may_not_take_the_port_of_the_replication() {
    let taken = "replicate.enabled = true\nmetrics.listen = \"0.0.0.0:6284\"";
    let problem = only_problem(taken);
    assert!(problem.contains("cannot share TCP port 6284") && problem.contains("off"), "{problem}");
    for fine in [taken.replace("0.0.0.0", "127.0.0.1"), taken.replace("true", "false")] {
        let sources = Sources { file: Some(file(&fine)), ..Sources::default() };
        assert!(resolve(&sources).is_ok(), "{fine}");
    }
}

#[test]
fn a_nat_that_is_closed_to_private_hosts_serves_them_no_address_unless_some_are_let_in() {
    let group = "[[group]]\nname = \"db\"\ntables = [\"rtb-00000001\"]\n\
                 [[group.resource]]\nkind = \"private-ip\"\naddress = \"10.0.0.50\"";
    let accepts = "host.protect = true\nhost.accept = [\"192.168.9.9\"]";
    for closed in [accepts.to_owned(), format!("host.protect = true\n{group}")] {
        let problem = only_problem(&closed);
        assert!(problem.contains("set host.protect_except to the networks"), "{problem}");
    }
    let let_in = format!("host.protect_except = [\"10.0.5.0/24\"]\n{accepts}");
    for fine in [let_in, format!("host.nat = false\n{accepts}"), "host.protect = true".to_owned()] {
        let sources = Sources { file: Some(file(&fine)), ..Sources::default() };
        assert!(resolve(&sources).is_ok(), "{fine}");
    }
}

#[test]
fn copies_of_packets_may_not_take_the_port_of_the_heartbeats() {
    let taken = "replicate.enabled = true\nreplicate.relay_port = 6284";
    let problem = only_problem(taken);
    assert!(problem.contains("cannot share UDP port 6284"), "{problem}");
    for fine in ["\nreplicate.relay = false", "\nheartbeat.port = 7000"] {
        let sources = Sources { file: Some(file(&format!("{taken}{fine}"))), ..Sources::default() };
        assert!(resolve(&sources).is_ok(), "{fine}");
    }
}
