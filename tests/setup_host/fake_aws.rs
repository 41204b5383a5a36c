//! The few answers of the instance metadata service and of EC2 that setup asks for, on a
//! namespace's loopback. Its faults are switched by what it is made with.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::netns::Netns;

/// What the fake knows.
#[derive(Default)]
pub(crate) struct State {
    /// By interface id: its hardware address, and whether its check is on.
    pub(crate) interfaces: BTreeMap<String, (String, bool)>,
    /// The action that is answered with `UnauthorizedOperation`.
    pub(crate) denied: Option<&'static str>,
    /// How often a read of tags is answered with `RequestLimitExceeded` from now on.
    pub(crate) throttled: usize,
    /// Whether EC2 takes requests and does not answer them.
    pub(crate) hangs: bool,
    /// Whether the metadata service is gone.
    pub(crate) no_metadata: bool,
    /// The instance's tags.
    pub(crate) tags: BTreeMap<&'static str, &'static str>,
    /// The actions that were asked for, in order.
    pub(crate) calls: Vec<String>,
}

/// The fake. Its thread ends with the test process.
pub(crate) struct FakeAws {
    state: Arc<Mutex<State>>,
}

impl FakeAws {
    /// Starts it in a namespace and returns that namespace, pointed at it.
    pub(crate) fn start(netns: Netns, interfaces: &[(&str, &str)]) -> (Netns, Self) {
        let interfaces = interfaces
            .iter()
            .map(|(id, mac)| ((*id).to_owned(), ((*mac).to_owned(), true)))
            .collect();
        let state = Arc::new(Mutex::new(State { interfaces, ..State::default() }));
        let listener = netns.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        (netns.with_aws_at(&address), Self { state })
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    pub(crate) fn check_is_on(&self, id: &str) -> bool {
        self.with(|state| state.interfaces[id].1)
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let body = String::from_utf8(body).unwrap();
    let is_ec2 = path == "/";
    if is_ec2 && state.lock().unwrap().hangs {
        // The connection stays open until the client closes it.
        let _ = reader.read_to_end(&mut Vec::new());
        return;
    }
    if !is_ec2 && state.lock().unwrap().no_metadata {
        return;
    }
    let (status, answer) = if is_ec2 {
        ec2(&body, &mut state.lock().unwrap())
    } else {
        metadata(path, &state.lock().unwrap())
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n",
        answer.len()
    );
    let mut stream = reader.into_inner();
    // A client that went away is judged by what it did before.
    let _ = stream.write_all((head + &answer).as_bytes());
}

fn metadata(path: &str, state: &State) -> (u16, String) {
    let item = path.trim_start_matches("/latest/").trim_start_matches("meta-data/");
    let item = item.trim_end_matches('/');
    let found = match item {
        "api/token" => Some("token".to_owned()),
        "instance-id" => Some("i-0123456789abcdef0".to_owned()),
        "placement/availability-zone" => Some("eu-west-1a".to_owned()),
        "placement/region" => Some("eu-west-1".to_owned()),
        "network/interfaces/macs" => {
            let macs = state.interfaces.values().map(|(mac, _)| format!("{mac}/"));
            Some(macs.collect::<Vec<_>>().join("\n"))
        }
        _ => item.strip_prefix("network/interfaces/macs/").and_then(|rest| {
            let (mac, field) = rest.split_once('/')?;
            interface(mac, field, state)
        }),
    };
    found.map_or((404, String::new()), |text| (200, text))
}

fn interface(mac: &str, field: &str, state: &State) -> Option<String> {
    let position = state.interfaces.values().position(|(own, _)| own == mac)?;
    Some(match field {
        "interface-id" => state.interfaces.keys().nth(position)?.clone(),
        "device-number" => position.to_string(),
        "local-ipv4s" => format!("10.0.{position}.10"),
        "subnet-id" => "subnet-0123456789abcdef0".to_owned(),
        "vpc-id" => "vpc-0123456789abcdef0".to_owned(),
        "vpc-ipv4-cidr-blocks" => "10.0.0.0/16".to_owned(),
        _ => return None,
    })
}

fn ec2(body: &str, state: &mut State) -> (u16, String) {
    let fields: BTreeMap<&str, &str> =
        body.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let action = fields["Action"];
    state.calls.push(action.to_owned());
    if state.denied == Some(action) {
        return error(403, "UnauthorizedOperation", "You are not authorized");
    }
    match action {
        "DescribeInstances" if state.throttled > 0 => {
            state.throttled -= 1;
            error(503, "RequestLimitExceeded", "Request limit exceeded.")
        }
        "DescribeInstances" => (200, envelope(action, &instance(&state.tags))),
        "DescribeNetworkInterfaces" => {
            let id = fields["NetworkInterfaceId.1"];
            let Some((_, on)) = state.interfaces.get(id) else {
                return error(400, "InvalidNetworkInterfaceID.NotFound", "no such interface");
            };
            let item = format!(
                "<networkInterfaceSet><item><networkInterfaceId>{id}</networkInterfaceId>\
                 <sourceDestCheck>{on}</sourceDestCheck></item></networkInterfaceSet>"
            );
            (200, envelope(action, &item))
        }
        "ModifyNetworkInterfaceAttribute" => {
            let on = fields["SourceDestCheck.Value"] == "true";
            state.interfaces.get_mut(fields["NetworkInterfaceId"]).unwrap().1 = on;
            (200, envelope(action, "<return>true</return>"))
        }
        _ => error(400, "InvalidAction", action),
    }
}

fn instance(tags: &BTreeMap<&str, &str>) -> String {
    let tags = tags
        .iter()
        .map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"));
    let tags = tags.collect::<String>();
    format!(
        "<reservationSet><item><instancesSet><item><instanceId>i-0123456789abcdef0</instanceId>\
         <instanceState><code>16</code><name>running</name></instanceState>\
         <privateIpAddress>10.0.0.10</privateIpAddress>\
         <subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId>\
         <placement><availabilityZone>eu-west-1a</availabilityZone></placement>\
         <tagSet>{tags}</tagSet></item></instancesSet></item></reservationSet>"
    )
}

fn envelope(action: &str, inner: &str) -> String {
    format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>1</requestId>{inner}</{action}Response>"
    )
}

fn error(status: u16, code: &str, message: &str) -> (u16, String) {
    let text = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
         </Errors><RequestID>1</RequestID></Response>"
    );
    (status, text)
}
