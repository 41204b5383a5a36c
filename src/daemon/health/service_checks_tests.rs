use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::config::ResourceSetting;
use crate::daemon::inbox::{self, Inbox};

const LIMIT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn told(inbox: &mut Inbox) -> Option<Vec<String>> {
    match inbox.take()? {
        Note::Input(Input::ServiceChecks { failing }) => {
            Some(failing.iter().map(ToString::to_string).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_round_decides_and_then_as_many_in_a_row_as_are_asked_for() {
    let mut judge = ServiceJudge::new(3, 2);
    assert_eq!(judge.round(true), Some(true));
    for good in [false, false, true, false, false] {
        assert_eq!(judge.round(good), None, "a success in between starts the count anew");
    }
    assert_eq!(judge.round(false), Some(false));
    assert_eq!(judge.round(false), None, "no news");
    assert_eq!(judge.round(true), None);
    assert_eq!(judge.round(false), None);
    assert_eq!(judge.round(true), None);
    assert_eq!(judge.round(true), Some(true));
    assert_eq!(ServiceJudge::new(3, 2).round(false), Some(false));
}

#[tokio::test]
async fn the_machine_is_told_everything_at_once_and_then_each_change() {
    let (notes, mut inbox) = inbox::channel().unwrap();
    let board = ServiceBoard::new([group("a"), group("b")].into_iter(), notes);
    board.set(&group("a"), false).await;
    assert_eq!(told(&mut inbox), None, "the other one is not known yet");
    board.set(&group("b"), true).await;
    assert_eq!(told(&mut inbox), Some(vec!["a".to_owned()]));
    board.set(&group("b"), true).await;
    assert_eq!(told(&mut inbox), None, "nothing has changed");
    board.set(&group("b"), false).await;
    assert_eq!(told(&mut inbox), Some(vec!["a".to_owned(), "b".to_owned()]));
    board.set(&group("a"), true).await;
    board.set(&group("b"), true).await;
    assert_eq!(told(&mut inbox), Some(vec!["b".to_owned()]));
    assert_eq!(told(&mut inbox), Some(Vec::new()));
}

#[tokio::test]
async fn a_service_that_listens_is_well_and_one_that_does_not_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = ServiceProbe::Tcp(listener.local_addr().unwrap());
    assert_eq!(ask(&probe, LIMIT).await, Ok(()));
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = ask(&probe, LIMIT).await.unwrap_err();
    assert!(error.contains(&address) && error.contains("refused"), "{error}");
}

/// What the check makes of this answer.
async fn answered(answer: &'static str) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let found = ask(&ServiceProbe::Http(to, "/health?deep=1".to_owned()), LIMIT).await;
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: {to}\r\n")) && request.ends_with("\r\n\r\n"));
    found
}

#[tokio::test]
async fn a_page_is_well_below_400() {
    for good in ["HTTP/1.1 200 OK\r\n\r\nfine", "HTTP/1.0 399\n\n", "HTTP/1.1 302 Found\r\n\r\n"] {
        assert_eq!(answered(good).await, Ok(()), "{good}");
    }
    let error = answered("HTTP/1.1 503 Not Now\r\n\r\n").await.unwrap_err();
    assert!(error.contains("status 503") && error.contains("/health?deep=1"), "{error}");
    for bad in ["HTTP/1.1 400\r\n", "HTTP/1.1 20", "HTTP/2 200 OK\r\n", "SSH-2.0-x\r\n", ""] {
        assert!(answered(bad).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn an_informational_response_does_not_count() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    for bad in [
        hints.to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        format!("{hints}HTTP/1.1 500 No\r\n\r\n"),
    ] {
        let answer: &'static str = bad.leak();
        assert!(answered(answer).await.is_err(), "{answer}");
    }
    let answer: &'static str = format!("{hints}HTTP/1.1 200 OK\r\n\r\n").leak();
    assert_eq!(answered(answer).await, Ok(()));
}

#[tokio::test]
async fn a_service_that_accepts_and_says_nothing_fails_at_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = ServiceProbe::Http(listener.local_addr().unwrap(), "/".to_owned());
    let error = ask(&probe, SHORT).await.unwrap_err();
    assert_eq!(error, "no answer within 100ms");
}

fn script(body: &str) -> ServiceProbe {
    ServiceProbe::Exec(PathBuf::from("/bin/sh"), vec!["-c".to_owned(), body.to_owned()])
}

#[tokio::test]
async fn a_program_is_judged_by_its_status() {
    assert_eq!(ask(&script("exit 0"), LIMIT).await, Ok(()));
    let error = ask(&script("exit 3"), LIMIT).await.unwrap_err();
    assert!(error.contains("/bin/sh") && error.contains("exit status: 3"), "{error}");
    let missing = ServiceProbe::Exec(PathBuf::from("/no/such/program"), Vec::new());
    let error = ask(&missing, LIMIT).await.unwrap_err();
    assert!(error.contains("/no/such/program"), "{error}");
}

#[tokio::test]
async fn a_program_gets_a_clean_environment_and_the_root_directory() {
    let body = "[ \"$PWD\" = / ] && [ -z \"$CARGO_MANIFEST_DIR\" ] && [ -n \"$PATH\" ]";
    assert_eq!(ask(&script(body), LIMIT).await, Ok(()));
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The child holds the pipe open: its end is read when it is gone.
    let body = format!("(exec 3>{0}; echo there >&3; exec sleep 600) & wait", fifo.display());
    let reader = std::thread::spawn(move || std::fs::read_to_string(fifo).unwrap());
    let error = ask(&script(&body), Duration::from_millis(500)).await.unwrap_err();
    assert!(error.contains("did not end within 500ms"), "{error}");
    assert_eq!(reader.join().unwrap(), "there\n");
}

/// Runs `ip` in this thread's network namespace.
async fn ip(args: &str) {
    let args: Vec<&str> = args.split(' ').collect();
    let program = run::Program::find("ip", "iproute2").unwrap();
    program.run(&args, b"", LIMIT).await.unwrap();
}

/// Waits for the next news of the checks. The note of their end follows, with or without news.
async fn next(inbox: &mut Inbox) -> usize {
    loop {
        let note = timeout(LOOK_EVERY / 2, inbox.next()).await.expect("the kernel tells at once");
        match note {
            Some(Note::Input(Input::ServiceChecks { failing })) => return failing.len(),
            Some(Note::Checked(group)) => assert_eq!(group.as_str(), "g"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_check_that_ends_is_told_also_one_without_news() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = ServiceProbe::Tcp(listener.local_addr().unwrap());
    let (notes, mut inbox) = inbox::channel().unwrap();
    let board = ServiceBoard::new([group("g")].into_iter(), notes);
    let check = ServiceCheck { probe, interval: SHORT, timeout: LIMIT, fall: 2, rise: 2 };
    let watching = tokio::spawn(watch(group("g"), check, board));
    assert_eq!(next(&mut inbox).await, 0);
    for _ in 0..3 {
        let note = timeout(LIMIT, inbox.next()).await.expect("a check each round");
        assert!(matches!(note, Some(Note::Checked(_))), "{note:?}");
    }
    watching.abort();
}

#[test]
fn an_address_that_somebody_else_moves_is_followed_as_the_kernel_tells_it() {
    let in_own_network = async || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("run the tests as root");
        ip("link set lo up").await;
        ip("link add ens5 type veth peer name other").await;
        ip("link set ens5 up").await;
        let state = tempfile::tempdir().unwrap();
        let (notes, mut inbox) = inbox::channel().unwrap();
        let board = ServiceBoard::new([group("g")].into_iter(), notes);
        let vip = Ipv4Addr::new(192, 168, 20, 11);
        tokio::spawn(follow(group("g"), vip, state.path().to_owned(), board));
        assert_eq!(next(&mut inbox).await, 1, "it is nowhere");
        // On loopback it is natha's own way to carry it, or a static one: that follows nobody.
        ip("addr add 192.168.20.11/32 dev lo").await;
        for _ in 0..2 {
            ip("addr add 192.168.20.11/32 dev ens5").await;
            assert_eq!(next(&mut inbox).await, 0);
            ip("addr del 192.168.20.11/32 dev ens5").await;
            assert_eq!(next(&mut inbox).await, 1);
        }
        // What natha puts there is no sign of what somebody else decided.
        let private = ResourceSetting::PrivateIp { address: vip };
        let cidr = ipnet::Ipv4Net::default();
        let plain = GroupSetting::of_tables(group("g"), None, vec![], cidr);
        let setting =
            GroupSetting { resources: vec![private], local: crate::config::Local::Lo, ..plain };
        ip("addr del 192.168.20.11/32 dev lo").await;
        let duties = [(group("g"), true)].into();
        let (settings, primaries) = ([setting], crate::plan::Primaries::new());
        let carried =
            carry::reconcile(state.path(), &settings, &duties, "ens5", &primaries).await.unwrap();
        assert_eq!(carried.changes.len(), 1, "{carried:?}");
        assert!(!is_here(vip, state.path()).await.unwrap());
    };
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(in_own_network());
}

#[test]
fn the_address_that_is_followed_is_the_first_that_a_host_can_have() {
    let mut setting = GroupSetting::of_tables(group("g"), None, vec![], ipnet::Ipv4Net::default());
    assert_eq!(setting.first_address(), None);
    let (vip, private) = (Ipv4Addr::new(192, 168, 20, 11), Ipv4Addr::new(10, 0, 0, 9));
    let allocation = "eipalloc-0123456789abcdef0".parse().unwrap();
    setting.resources = vec![
        ResourceSetting::Eip { allocation, on: None },
        ResourceSetting::Vip { address: vip, tables: vec![] },
        ResourceSetting::PrivateIp { address: private },
    ];
    assert_eq!(setting.first_address(), Some(vip));
}
