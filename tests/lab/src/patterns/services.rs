//! Commands for user data that start a service. Each may run at every boot of an instance.

use anyhow::{Context, Result};

use crate::lab::program;

/// A server that greets with a line, over HTTP if wanted, as [`crate::Lab::greet`] starts it.
///
/// # Errors
/// When the `natha-lab` binary is not found.
pub fn greeter(port: u16, line: &str, http: bool) -> Result<String> {
    let program = program()?;
    let program = program.to_str().context("the program's path is not UTF-8")?;
    let http = if http { " --http" } else { "" };
    Ok(format!("'{program}' greet --port {port} '{line}'{http} || exit 1"))
}

/// Debian's PostgreSQL, listening on `listen`, with one database of this name besides its own.
#[must_use]
pub fn postgres(database: &str, listen: &str) -> String {
    format!(
        "bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
data=/var/lib/postgresql/lab
install -d -o postgres /run/postgresql $data
as() {{ setpriv --reuid postgres --regid postgres --clear-groups \"$@\"; }}
new=no
if [ ! -e $data/PG_VERSION ]; then
    as $bin/initdb -D $data -A trust --no-sync >/dev/null || exit 1
    echo 'host all all 0.0.0.0/0 trust' >>$data/pg_hba.conf
    new=yes
fi
rm -f $data/postmaster.pid
as $bin/pg_ctl -D $data -l $data/log -w -o '-c listen_addresses={listen} -c fsync=off' start \\
    >/dev/null || exit 1
[ $new = no ] || as $bin/createdb '{database}' || exit 1"
    )
}

/// How to end it as a crash does: at once, without a word to its clients.
pub const POSTGRES_CRASH: &str = "kill -KILL $(head -n 1 /var/lib/postgresql/lab/postmaster.pid)";

/// How to start it again.
pub const POSTGRES_AGAIN: &str = "bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
data=/var/lib/postgresql/lab
rm -f $data/postmaster.pid
setpriv --reuid postgres --regid postgres --clear-groups \\
    $bin/pg_ctl -D $data -l $data/log -w -o '-c fsync=off -c listen_addresses=*' start >/dev/null";

/// Debian's keepalived as the document of 2015 configures it: unicast VRRP between two nodes, the
/// addresses on the interface, and scripts that are told of changes.
#[derive(Debug, Clone, Copy)]
pub struct Keepalived<'a> {
    /// The addresses.
    pub addresses: &'a [&'a str],
    /// The node's priority: the larger one is MASTER.
    pub priority: u8,
    /// The other node's host name in the lab.
    pub peer: &'a str,
    /// The node's own.
    pub own: &'a str,
    /// What is run on which change, such as `notify_master`, with its arguments.
    pub notify: &'a [(&'a str, &'a str)],
}

impl Keepalived<'_> {
    /// Commands that write its settings and start it.
    #[must_use]
    pub fn commands(&self) -> String {
        let Self { addresses, priority, peer, own, notify } = self;
        let addresses = match addresses.join("\n        ") {
            none if none.is_empty() => none,
            some => format!("    virtual_ipaddress {{\n        {some}\n    }}\n"),
        };
        let notify = notify.iter().map(|(when, script)| format!("    {when} \"{script}\"\n"));
        let notify = notify.collect::<String>();
        format!(
            "mkdir -p /etc/keepalived
cat >/etc/keepalived/keepalived.conf <<'KEEPALIVED'
global_defs {{
    router_id LVS_DEVEL
    script_user root
    enable_script_security
}}
vrrp_instance VI_1 {{
    state BACKUP
    interface ens5
    virtual_router_id 51
    priority {priority}
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 1111
    }}
{addresses}    unicast_src_ip {{{{address.{own}}}}}
    unicast_peer {{
        {{{{address.{peer}}}}}
    }}
{notify}}}
KEEPALIVED
keepalived -n -l -P &"
        )
    }
}

/// How to make a node deaf to VRRP, and how to let it hear again.
pub const VRRP_DEAF: &str = "nft 'add table ip deaf
    add chain ip deaf in { type filter hook input priority 0; }
    add rule ip deaf in ip protocol 112 drop'";

/// The end of [`VRRP_DEAF`].
pub const VRRP_HEARS: &str = "nft 'delete table ip deaf'";
