#!/bin/bash
# The first and only program of the virtual machine that lvs_dr.sh starts: the directors, the web
# servers, a client and a router, each in a network namespace; then what must be so. Ends with the
# line ALL PASSED, or with FAILED and what there is to know.
#
# Usage: as /init of a virtual machine's first file system, and nowhere else
set -euo pipefail
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /run/netns
chmod 755 /tmp
echo root:x:0:0:root:/:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
trap 'poweroff -f' EXIT

vip=192.168.20.11
: >/tmp/notify

fail() {
    echo "FAILED: $*"
    for file in /tmp/*.log /tmp/notify; do
        echo "--- $file"
        cat "$file"
    done
    exit 1
}

# await SECONDS WHAT COMMAND…: until the command succeeds.
await() {
    end=$(($(date +%s) + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || fail "not in time: $what"
        usleep 50000
    done
}

depmod
for module in bridge veth ip_vs ip_vs_rr nft_chain_nat nft_redir; do
    modprobe "$module" || fail "no module $module"
done

# plug NAMESPACE ADDRESS GATEWAY: an interface ens5, its other end in the router.
plug() {
    ip netns add "$1"
    ip -n "$1" link set lo up
    ip link add ens5 netns "$1" type veth peer name "$1" netns router
    ip -n "$1" addr add "$2/20" dev ens5
    ip -n "$1" link set ens5 up
    ip -n "$1" route add default via "$3"
    ip -n router link set "$1" up
}

ip netns add router
ip netns exec router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
# A router that sends packets back where they came from would tell the senders of a shorter way.
ip netns exec router sh -c 'echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects
    echo 0 >/proc/sys/net/ipv4/conf/default/send_redirects'
ip -n router link add subnet type bridge
ip -n router addr add 172.31.16.1/20 dev subnet
ip -n router link set subnet up
while read -r name address; do
    plug "$name" "$address" 172.31.16.1
    ip -n router link set "$name" master subnet
done <<END
lvs1 172.31.18.164
lvs2 172.31.18.163
web1 172.31.18.1
web2 172.31.18.2
END
plug client 172.31.48.10 172.31.48.1
ip -n router addr add 172.31.48.1/20 dev client

# The web servers take in what is for the address, each in one of the two ways.
ip netns exec web1 nft "add table ip vip
    add chain ip vip in { type nat hook prerouting priority dstnat; }
    add rule ip vip in ip daddr $vip redirect" || fail "no redirection on web1"
ip -n web2 addr add "$vip/32" dev lo
for web in web1 web2; do
    mkdir -p "/tmp/$web"
    echo "$web" >"/tmp/$web/index.html"
    ip netns exec "$web" httpd -f -p 80 -h "/tmp/$web" &
    echo $! >"/tmp/$web.pid"
done

# Counts packets from the address: they must not pass a director, and they must reach the client.
for place in lvs1 lvs2 client; do
    ip netns exec "$place" nft "add table ip watch
        add chain ip watch in { type filter hook prerouting priority raw; }
        add rule ip watch in ip saddr $vip counter" || fail "no counter on $place"
done

counted() {
    ip netns exec "$1" nft list table ip watch | grep -o 'packets [0-9]*'
}

web() {
    echo "    real_server $1 80 {
        weight 1
        HTTP_GET {
            url {
                path /
                status_code 200
            }
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }"
}

# director NAME PRIORITY OWN PEER: keepalived as in the document. Its script leads the route there,
# as a route table would; there is no EC2 in this machine.
director() {
    cat >"/tmp/$1.conf" <<END
global_defs {
    router_id LVS_DEVEL
    script_user root
    enable_script_security
}
vrrp_instance VI_1 {
    state BACKUP
    interface ens5
    virtual_router_id 51
    priority $2
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        $vip
    }
    unicast_src_ip $3
    unicast_peer {
        $4
    }
    notify_master "/tmp/$1.master"
}
virtual_server $vip 80 {
    delay_loop 1
    lb_algo rr
    lb_kind DR
    protocol TCP
$(web 172.31.18.1)
$(web 172.31.18.2)
}
END
    cat >"/tmp/$1.master" <<END
#!/bin/sh
ip -n router route replace $vip/32 via $3
echo $1 is master >>/tmp/notify
END
    chmod 755 "/tmp/$1.master"
    ip netns exec "$1" keepalived -n -l -D -f "/tmp/$1.conf" -p "/run/$1.pid" \
        -r "/run/$1.vrrp" -c "/run/$1.check" >"/tmp/$1.log" 2>&1 &
}

get() {
    ip netns exec client timeout 2 wget -q -O - "http://$vip/"
}

# answers COUNT: who answers so many requests, counted.
answers() {
    left=$1
    while [ "$left" -gt 0 ]; do
        get || echo nobody
        left=$((left - 1))
    done | sort | uniq -c | tr -s ' \n' ' '
}

# serve DIRECTOR COUNT: whether it has so many web servers.
serve() {
    [ "$(ip netns exec "$1" ipvsadm -Ln | grep -c ' Route ')" = "$2" ]
}

# One after the other: of two that start at the same time, both may be MASTER for a moment.
director lvs1 101 172.31.18.164 172.31.18.163
await 60 "lvs1 to be master" grep -q lvs1 /tmp/notify
director lvs2 100 172.31.18.163 172.31.18.164
await 30 "both web servers at lvs1" serve lvs1 2
await 30 "both web servers at lvs2" serve lvs2 2
await 30 "an answer" get
got=$(answers 8)
[ "$got" = " 4 web1 4 web2 " ] || fail "eight requests are answered by$got"
echo "PASSED: both web servers answer, by turns"
[ "$(counted lvs1)" = "packets 0" ] || fail "answers pass the director: $(counted lvs1)"
[ "$(counted client)" != "packets 0" ] || fail "no packet from the address was counted"
echo "PASSED: answers go from the web servers to the client, not by the director"
kill "$(cat /tmp/web1.pid)"
await 20 "web1 to be taken out" serve lvs1 1
got=$(answers 4)
[ "$got" = " 4 web2 " ] || fail "without web1, four requests are answered by$got"
echo "PASSED: a web server that died is taken out"
ip -n lvs1 link set ens5 down
kill -9 "$(cat /run/lvs1.pid)" "$(cat /run/lvs1.vrrp)" "$(cat /run/lvs1.check)"
await 20 "lvs2 to be master" grep -q lvs2 /tmp/notify
await 10 "an answer by way of lvs2" get
got=$(answers 4)
[ "$got" = " 4 web2 " ] || fail "by way of lvs2, four requests are answered by$got"
echo "PASSED: the other director takes over"
echo "ALL PASSED"
