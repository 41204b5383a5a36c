#!/usr/bin/env bash
# What the boot tests share: the repository's tools, the image, the lab's program, and checks.
#
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"   (it is not run by itself)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

image=${NATHA_IMAGE:-$root/target/image/root}
# How long whatever a boot leads to may take, in seconds.
patience=60
boot_logs=$root/target/image/logs
mkdir -p "$boot_logs"

# pass WHAT…: one line for what was seen to be so.
pass() {
    printf '  ok          %s\n' "$*" >&2
}

# fails STATUS TEXT COMMAND…: it must end with this status and say this.
fails() {
    local want=$1 text=$2 status=0 said
    shift 2
    said=$("$@" 2>&1) || status=$?
    ((status == want)) || die "\`$*\` ended with $status instead of $want: $said"
    [[ $said == *"$text"* ]] || die "\`$*\` does not say \"$text\": $said"
}

# until_ok SECONDS WHAT COMMAND…: tries until it succeeds. What it last printed is in $last, and is
# shown when it never does.
until_ok() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until last=$("$@" 2>&1); do
        ((SECONDS < limit)) || die "not so in time: $what; last: $last"
        sleep 0.1
    done
}

need_image() {
    [[ -e $image/usr/bin/natha ]] ||
        die "there is no image in $image: make it with scripts/image, or name one by NATHA_IMAGE"
}

# The lab's program: what NATHA_LAB names, else the one that was built here.
need_lab() {
    need ip nft ping unshare systemd-nspawn jq
    lab_program=${NATHA_LAB:-$root/target/debug/natha-lab}
    [[ -x $lab_program ]] || die "$lab_program is missing: cargo build -p natha-lab"
}

# lab VERB…: asks the lab in $lab_directory. No call may take longer than a boot does.
lab() {
    timeout 120 "$lab_program" --lab "$lab_directory" "$@"
}

# in_node NODE COMMAND…: runs it in the node's image.
in_node() {
    local node=$1
    shift
    lab exec --limit 90 "$node" inside "$@"
}

# booted NODE: until its systemd has nothing left to start, and nothing has failed.
booted() {
    until_ok "$patience" "$1 boots" in_node "$1" test -S /run/dbus/system_bus_socket
    local state
    state=$(in_node "$1" systemctl is-system-running --wait || true)
    [[ $state == running ]] || die "$1 is $state: $(in_node "$1" systemctl --failed --no-pager)"
}

well() {
    until_ok "$patience" "$1 finds all well" lab exec "$1" natha status
}

property() {
    in_node "$1" systemctl show -P "$2" natha-monitor.service
}

instance_of() {
    lab status --json | jq -r --arg name "$1" '.hosts[] | select(.name == $name) | .instance'
}

boot_of() {
    lab status --json | jq -r --arg name "$1" '.hosts[] | select(.name == $name) |
        "\(.power) \(.boot)"'
}

# lab_is NODE "POWER BOOT" SECONDS
lab_is() {
    local limit=$((SECONDS + $3))
    until [[ $(boot_of "$1") == "$2" ]]; do
        ((SECONDS < limit)) || die "$1 is $(boot_of "$1") instead of $2"
        sleep 0.1
    done
}

# holds_everything NODE: as it knows itself. Its status exits with 3 while a node is missing.
holds_everything() {
    local status
    status=$(lab exec "$1" natha status --json 2>/dev/null || true)
    jq -e '.view.groups | all(.holder == "'"$(instance_of "$1")"'")' <<<"$status"
}

# stop_and_start NODE OTHER LAST SECONDS: EC2 stops NODE, which has so many seconds to shut down in
# order, with LAST as the end of its console, and holds nothing while it is off; then EC2 starts it.
stop_and_start() {
    local node=$1 other=$2 last=$3 limit=$4 id
    id=$(instance_of "$node")
    lab ec2 StopInstances InstanceId.1="$id" >/dev/null
    lab_is "$node" 'off 1' "$limit"
    lab console "$node" | grep "$last" >/dev/null || die "$node was not shut down in order"
    # A node does not believe reads of a state that it has replaced less than 5 s ago.
    until_ok 10 "$other holds everything while $node is off" holds_everything "$other"
    # Not before EC2 itself has it as stopped.
    until_ok 90 "EC2 starts $node" lab ec2 StartInstances InstanceId.1="$id"
    lab_is "$node" 'on 2' 40
}

# save_logs NODE…: their consoles and journals, in $boot_logs.
save_logs() {
    local node
    for node in "$@"; do
        {
            lab console "$node"
            in_node "$node" journalctl --no-pager -o short-monotonic
        } >"$boot_logs/$node.log" 2>&1 || true
    done
    say "  logs are in $boot_logs"
}

# The lab is its own owner's: it is told to end, whatever becomes of the test.
lab_down() {
    [[ -z ${lab_directory:-} || ! -d $lab_directory ]] || lab down || true
    lab_directory=''
}
