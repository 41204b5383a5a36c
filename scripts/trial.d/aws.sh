#!/usr/bin/env bash
# What the parts of scripts/trial share: calls of the AWS CLI, tags, and waiting.
#
# Usage: source scripts/trial.d/aws.sh   (scripts/trial does it)
set -euo pipefail

# Set by scripts/trial.
: "${name:=}" "${region:=}" "${work:=}"

# One page is never shown in a pager, and a busy service is asked again by the CLI itself.
export AWS_PAGER='' AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=5

# Seconds between two questions to AWS.
poll=${NATHA_TRIAL_POLL:-3}
# How long a thing that was just made may be unknown to other calls, in seconds. EC2's answers are
# eventually consistent (EC2 API reference, "Eventual consistency").
lag=60
# How AWS says that: EC2, IAM, and EC2 about IAM.
unknown_yet='NotFound|NoSuchEntity|Invalid IAM Instance Profile'
log=/dev/null

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "error: $*"
    exit 1
}

# call SERVICE ARGUMENT…: one call, as text, with a line in the log. $where is another region than
# the trial's.
call() {
    printf '%s aws %s\n' "$(date -u +%H:%M:%S)" "$*" >>"$log"
    aws "$@" --region "${where:-$region}" --output text
}

# ec2 ARGUMENT…: a call of EC2 that must succeed.
ec2() {
    call ec2 "$@"
}

# soon ARGUMENT…: a call that names things which were just made: while AWS does not know one of
# them yet, it is made again.
soon() {
    local end=$((SECONDS + lag)) error=$work/error said
    until said=$(call "$@" 2>"$error"); do
        if ((SECONDS >= end)) || ! grep -qE "$unknown_yet" "$error"; then
            cat "$error" >&2
            return 1
        fi
        sleep "$poll"
    done
    printf '%s\n' "$said"
}

# wait_for SECONDS WHAT COMMAND…: asks again until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if ((SECONDS >= end)); then
            say "  it did not happen in time: $what"
            return 1
        fi
        sleep "$poll"
    done
}

# quoted TEXT: a JSON string. Tags and settings have no control characters.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

# tag_list KEY=VALUE…: tags as JSON.
tag_list() {
    local separator='' pair
    printf '['
    for pair in "$@"; do
        printf '%s{"Key":%s,"Value":%s}' "$separator" "$(quoted "${pair%%=*}")" \
            "$(quoted "${pair#*=}")"
        separator=,
    done
    printf ']'
}

# own_tags PART: the tags by which a part of this trial is found again, as KEY=VALUE lines.
own_tags() {
    printf '%s\n' "Name=natha-trial-$name-$1" "natha-trial=$name" "natha-trial-part=$1"
}

# specification KIND PART KEY=VALUE…: the tags of one thing that is to be made, as JSON.
specification() {
    local kind=$1 part=$2 tags=() line
    shift 2
    while read -r line; do tags+=("$line"); done < <(own_tags "$part")
    printf '{"ResourceType":%s,"Tags":%s}' "$(quoted "$kind")" \
        "$(tag_list "${tags[@]}" ${@+"$@"})"
}

# tag RESOURCE KEY=VALUE…: puts tags on something.
tag() {
    local resource=$1
    shift
    soon ec2 create-tags --resources "$resource" --tags "$(tag_list "$@")" >/dev/null
}

# described KIND: the call that lists a kind of thing, and where the ids are in its answer.
described() {
    case $1 in
        vpc) echo describe-vpcs 'Vpcs[].VpcId' ;;
        subnet) echo describe-subnets 'Subnets[].SubnetId' ;;
        internet-gateway) echo describe-internet-gateways 'InternetGateways[].InternetGatewayId' ;;
        route-table) echo describe-route-tables 'RouteTables[].RouteTableId' ;;
        security-group) echo describe-security-groups 'SecurityGroups[].GroupId' ;;
        elastic-ip) echo describe-addresses 'Addresses[].AllocationId' ;;
        network-interface)
            echo describe-network-interfaces 'NetworkInterfaces[].NetworkInterfaceId'
            ;;
        instance) echo describe-instances 'Reservations[].Instances[].InstanceId' ;;
    esac
}

# A terminated instance is listed for an hour, and is gone nevertheless.
living=Name=instance-state-name,Values=pending,running,shutting-down,stopping,stopped

# ids KIND [PART]: the ids of this trial's things of a kind, in one line.
ids() {
    local what filters=("Name=tag:natha-trial,Values=$name")
    read -r -a what <<<"$(described "$1")"
    [[ $1 != instance ]] || filters+=("$living")
    [[ -z ${2:-} ]] || filters+=("Name=tag:natha-trial-part,Values=$2")
    ec2 "${what[0]}" --filters "${filters[@]}" --query "${what[1]}" | tr '\t\n' '  '
}

# found KIND PART: the id of one thing of this trial, or nothing.
found() {
    local all first
    all=$(ids "$1" "$2") || return
    read -r first _ <<<"$all" || true
    printf '%s' "$first"
}
