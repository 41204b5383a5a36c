//! A host whose table of connections is full.

use anyhow::{Result, bail};

use crate::lab::Lab;

/// Adds flows that the kernel does not evict, as far as `room` more find room, and says how many
/// there are and may be. Without room, the last of them find none: flows of the host's own are
/// there already.
const FILL: &str = "max=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
[ $room = 0 ] && n=$max || n=$((max - $(conntrack -C) - room))
awk -v n=$n 'BEGIN {
    for (i = 0; i < n; i++)
        printf \"-I -p udp -s 192.0.2.%d -d 198.51.100.1 --sport %d --dport 9 --timeout 600 \
         --status SEEN_REPLY,ASSURED\\n\", 1 + i / 60000, 1024 + i % 60000
}' >/tmp/flows
conntrack -R /tmp/flows >/dev/null 2>&1
rm /tmp/flows
echo $(conntrack -C) $max";

/// Removes them.
const FREE: &str = "conntrack -D -d 198.51.100.1 >/dev/null 2>&1";

impl Lab {
    /// Fills a host's table of connections, so that about so many more find room in it.
    ///
    /// # Errors
    /// When it is not as full as that.
    pub fn fill_connections(&self, host: &str, room: u32) -> Result<()> {
        let told = self.sh(host, &format!("room={room}\n{FILL}"))?;
        let counts = told.split_whitespace().map(str::parse::<u32>);
        let counts = counts.collect::<Result<Vec<_>, _>>()?;
        match counts[..] {
            // Flows of the host's own may have ended meanwhile.
            [count, limit] if count + 2 * room >= limit => Ok(()),
            _ => bail!("the table of {host} is not full: {told}"),
        }
    }

    /// Removes what [`Self::fill_connections`] has added.
    ///
    /// # Errors
    /// When there is nothing of it.
    pub fn free_connections(&self, host: &str) -> Result<()> {
        self.sh(host, FREE).map(drop)
    }
}
