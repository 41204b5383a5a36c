#!/usr/bin/env bash
# The story of a trial, step by step. An instance gets its orders by a tag, which its user data
# reads in the metadata, and answers on its console. Results are tags of the VPC.
#
# Usage: source scripts/trial.d/story.sh   (scripts/trial does it)
set -euo pipefail

# Set by scripts/trial and the parts before this one.
: "${name:=}" "${vpc:=}" "${public:=}" "${table_a:=}" "${table_b:=}" "${poll:=}" "${out:=}"
declare -a zones

number=$(date +%s) answer='' detail=''

# id_of PART: an instance's id; interface_of PART: its network interface.
id_of() {
    local variable=instance_${1//-/_}
    printf '%s' "${!variable}"
}

interface_of() {
    local variable=interface_${1//-/_}
    printf '%s' "${!variable}"
}

# about PART FIELD: what EC2 says about an instance.
about() {
    soon ec2 describe-instances --instance-ids "$(id_of "$1")" \
        --query "Reservations[0].Instances[0].$2"
}

find_instances() {
    local part id interface
    for part in node-a node-b server host-a host-b; do
        id=''
        wait_for 120 "EC2 lists $part" is_listed "$part"
        id=$(found instance "$part")
        printf -v "instance_${part//-/_}" %s "$id"
        interface=$(about "$part" 'NetworkInterfaces[0].NetworkInterfaceId')
        printf -v "interface_${part//-/_}" %s "$interface"
    done
}

is_listed() {
    local id
    id=$(found instance "$1") && [[ -n $id ]]
}

# console PART: what an instance has written to its console.
console() {
    ec2 get-console-output --instance-id "$(id_of "$1")" --latest --query Output | tr -d '\r'
}

# has_said PART PATTERN: whether a line of its console, in $answer then, is like that.
has_said() {
    local text
    text=$(console "$1") || return
    answer=$(grep -oE "natha-trial: $2" <<<"$text" | tail -n 1)
    answer=${answer#natha-trial: }
    if [[ $text == *'natha-trial: failed'* ]]; then
        die "$1 says: $(grep -o 'natha-trial: failed.*' <<<"$text" | tail -n 1)"
    fi
    [[ -n $answer ]]
}

# order PART COMMAND: gives an instance something to do, with the next number.
order() {
    number=$((number + 1))
    tag "$(id_of "$1")" "natha-trial-order=$number:$2"
}

# perform PART COMMAND SECONDS: orders something and waits until it is done; sets $answer.
perform() {
    order "$1" "$2" || return
    wait_for "$3" "$1 does '$2'" has_said "$1" "$number done status=[0-9]+.*" || return
    answer=${answer#"$number done "}
    [[ $answer == status=0* ]] || {
        say "  $1 could not do '$2': $answer"
        return 1
    }
    answer=${answer#status=0}
    answer=${answer# }
}

leads() {
    local now
    now=$(route_of "$1" NetworkInterfaceId) && [[ $now == "$(interface_of "$2")" ]]
}

# result KEY: what was recorded under a key, or nothing.
result() {
    ec2 describe-vpcs --vpc-ids "$vpc" \
        --query "Vpcs[0].Tags[?Key=='natha-trial-result-$1'] | [].Value"
}

# at_home: whether each node serves its zone and finds nothing wrong.
at_home() {
    wait_for 900 "both zones are with their nodes" is_at_home &&
        perform node-a well 180 && perform node-b well 180
}

is_at_home() {
    leads "$table_a" node-a && leads "$table_b" node-b
}

# measured KEY: the private hosts' reports since the last ones, recorded under the key, if any.
measured() {
    local host
    for host in host-a host-b; do
        perform "$host" report 60 || return
        [[ -n $1 ]] || continue
        say "    $host: $answer"
        tag "$vpc" "natha-trial-result-$1.$host=$answer" || return
    done
}

# step KEY WHAT COMMAND…: one step, and the reports of the private hosts for the time since the
# command had them report. A step that was recorded is done. $detail is what the command adds to the
# record.
step() {
    local key=$1 what=$2 begin=$SECONDS so=ok had
    shift 2
    had=$(result "$key") || return
    [[ -z $had || $had == no* ]] || return 0
    say "  $what"
    detail=''
    "$@" || so=no
    measured "$key" || so=no
    had="$so seconds=$((SECONDS - begin)) $detail"
    # A tag holds no more.
    tag "$vpc" "natha-trial-result-$key=${had:0:256}" || return
    [[ $so == ok ]] || say "  this step did not happen: $what"
    [[ $so == ok ]]
}

wait_until_ready() {
    local address part
    say "waiting until the instances are ready"
    find_instances
    address=None
    wait_for 300 "the server has a public address" has_address
    for part in host-a host-b; do tag "$(id_of "$part")" "natha-trial-target=$address"; done
    wait_for 600 "the server answers" has_said server serving
    for part in node-a node-b; do
        wait_for 900 "$part is ready" has_said "$part" 'ready boot=[-0-9a-f]+ version=.*'
        [[ -n $(result "00-$part") ]] || tag "$vpc" "natha-trial-result-00-$part=ok $answer"
    done
    for part in host-a host-b; do
        wait_for 600 "$part measures" has_said "$part" measuring
    done
}

has_address() {
    address=$(about server PublicIpAddress) && [[ $address != None ]]
}

steady() {
    at_home && measured '' && sleep 20
}

takeover() {
    local launched
    at_home && measured '' || return
    launched=$(about node-a LaunchTime) || return
    perform node-a panic 120 && wait_for 180 "node-b takes over" leads "$table_a" node-b || return
    detail="launched=$launched"
    sleep 10
}

# repaired LAUNCHED: whether node-a was started since.
repaired() {
    local now
    now=$(about node-a LaunchTime) && [[ $now != "$1" && $(about node-a State.Name) == running ]]
}

repair() {
    local before
    measured '' && before=$(result 02-takeover) || return
    wait_for 900 "node-b stops and starts node-a" repaired "${before##*launched=}"
}

hand_back() {
    measured '' && wait_for 900 "node-a gets its zone back" leads "$table_a" node-a && at_home &&
        sleep 10
}

hand_over() {
    at_home && measured '' || return
    perform node-a "handover:${zones[0]}" 180 &&
        wait_for 180 "node-b has the zone" leads "$table_a" node-b && sleep 10
}

restart() {
    at_home && measured '' || return
    perform node-b restart 180 || return
    detail=$answer
    sleep 5
    leads "$table_b" node-b
}

flush() {
    at_home && measured '' || return
    perform node-b flush 180 || return
    detail=$answer
    sleep 5
}

# check_role: each node asks EC2 what its role may do.
check_role() {
    local part
    measured '' || return
    for part in node-a node-b; do
        perform "$part" role 180 || return
        detail+="$part: $answer "
    done
}

# tool PART ORDER: a command of natha on a node. What it prints goes into a file, also if it failed.
tool() {
    local status=0 what=${2%%:*}
    perform "$1" "tool:$2" 300 || status=1
    detail+="$1: $answer "
    [[ $answer == skipped* ]] || console "$1" |
        sed -n "s/.*natha-trial: $number text //p" >"$out/$what-$1.txt" || status=1
    return "$status"
}

diagnose() {
    measured '' && tool node-a doctor && tool node-b doctor
}

# measure: the nodes may change the scratch route for as long as they measure.
measure() {
    local status=0 node=natha-trial-$name-node
    measured '' && allow_measuring || return
    tool node-a "measure:$public:$node-b" && tool node-b "measure:$public:$node-a" || status=1
    forbid_measuring || status=1
    return "$status"
}

# measure_address: the same with an Elastic IP, which is released afterwards.
measure_address() {
    local status=0 scratch node=natha-trial-$name-node
    measured '' && scratch=$(scratch_address) && allow_measuring_address "$scratch" || return
    tool node-a "measure-elastic-ip:$scratch:$node-b" || status=1
    forbid_measuring || status=1
    ec2 release-address --allocation-id "$scratch" >/dev/null || status=1
    return "$status"
}

tell_story() {
    step 01-steady "20 seconds in which nothing happens" steady &&
        step 02-takeover "node-a's kernel panics, and node-b takes over" takeover &&
        step 03-repair "node-b stops and starts node-a" repair &&
        step 04-hand-back "node-a gets its zone back" hand_back &&
        step 05-hand-over "node-a hands its zone over, under live connections" hand_over &&
        step 06-return "node-a gets its zone back again" hand_back &&
        step 07-restart "node-b's monitor restarts" restart &&
        step 08-flush "another program deletes all packet rules of node-b" flush &&
        step 09-role "the nodes ask EC2 what their role may do" check_role &&
        step 10-doctor "natha doctor on both nodes" diagnose &&
        step 11-measure "natha measure on both nodes" measure &&
        step 12-measure-elastic-ip "natha measure with an Elastic IP" measure_address
}
