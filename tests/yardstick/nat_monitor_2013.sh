#!/usr/bin/env bash
# The yardstick: the algorithm and the constants of AWS's 2013 NAT monitor, written anew from
# their published description, so that natha can be timed beside it. It keeps that algorithm's
# behaviour, faults included: it believes ICMP alone, never looks at itself, and is blind while it
# waits. Nobody should run it on AWS.
#
# Usage: NAT_ID=i-… NAT_RT_ID=rtb-… My_RT_ID=rtb-… [EC2_URL=https://…] nat_monitor_2013.sh
#
#   NAT_ID      the peer                       NAT_RT_ID   the peer's route table
#   My_RT_ID    this instance's route table    EC2_URL     the EC2 endpoint, else the AWS CLI's
#
# The constants below can be set in the environment, for tests that cannot wait minutes. It runs
# until it is killed. Needs the AWS CLI (AWS_CLI names another program), curl and ping.
set -euo pipefail

: "${NAT_ID:?is the instance to watch}"
: "${NAT_RT_ID:?is the route table of the instance to watch}"
: "${My_RT_ID:?is the route table of this instance}"
: "${Num_Pings:=3}"                  # echo requests a round
: "${Ping_Timeout:=1}"               # seconds to wait for a reply
: "${Wait_Between_Pings:=2}"         # seconds between rounds
: "${Wait_for_Instance_Stop:=60}"    # seconds between two looks at a stopping peer
: "${Wait_for_Instance_Start:=300}"  # seconds given to a started peer
: "${AWS_CLI:=aws}"

log() {
    printf '%s -- %s\n' "$(date '+%F %T.%3N')" "$*"
}

metadata() {
    local base=http://169.254.169.254/latest token
    token=$(curl -sSf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$base/api/token")
    curl -sSf -m 5 -H "X-aws-ec2-metadata-token: $token" "$base/meta-data/$1"
}

ec2() {
    "$AWS_CLI" ec2 ${EC2_URL:+--endpoint-url "$EC2_URL"} --output text "$@"
}

# peer FIELD: one field of what EC2 tells about the peer.
peer() {
    ec2 describe-instances --instance-ids "$NAT_ID" --query "Reservations[0].Instances[0].$1"
}

# Points a table's default route at this instance. As in 2013, failing is noted and forgotten.
route_to_me() {
    local route=(--route-table-id "$1" --destination-cidr-block 0.0.0.0/0 --instance-id "$me")
    ec2 replace-route "${route[@]}" || ec2 create-route "${route[@]}" ||
        log "the route in $1 could not be set"
}

replies() {
    { ping -n -c "$Num_Pings" -W "$Ping_Timeout" "$peer_address" || true; } | grep -c 'time=' ||
        true
}

# From the first lost round until the peer was started: its route once, then stop and start.
recover_peer() {
    local stop_sent=no state
    log "no reply from $NAT_ID: taking its route"
    route_to_me "$NAT_RT_ID"
    while true; do
        state=$(peer State.Name) || state=unknown
        if [[ $state == stopped ]]; then
            log "$NAT_ID is stopped: starting it"
            ec2 start-instances --instance-ids "$NAT_ID" || log "$NAT_ID could not be started"
            sleep "$Wait_for_Instance_Start"
            return
        fi
        if [[ $stop_sent == no ]]; then
            log "$NAT_ID is $state: stopping it"
            ec2 stop-instances --instance-ids "$NAT_ID" || log "$NAT_ID could not be stopped"
            stop_sent=yes
        fi
        sleep "$Wait_for_Instance_Stop"
    done
}

me=$(metadata instance-id)
export AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-$(metadata placement/region)}
peer_address=$(peer PrivateIpAddress)
log "$me watches $NAT_ID at $peer_address; taking its own route in $My_RT_ID"
route_to_me "$My_RT_ID"
while true; do
    if (($(replies) == 0)); then
        recover_peer
    else
        sleep "$Wait_Between_Pings"
    fi
done
