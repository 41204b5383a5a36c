#!/usr/bin/env bash
# Removing a trial, and proving that nothing of it is left. What is there is found by its tags
# alone: this works from any machine and after any failure.
#
# Usage: source scripts/trial.d/remove.sh   (scripts/trial does it)
set -euo pipefail

# Set by scripts/trial.
: "${name:=}" "${region:=}" "${poll:=}" "${log:=}" "${work:=}" "${living:=}"

# How long the removal may take, in seconds: instances take minutes to end.
removal=900

# attempt ARGUMENT…: a call that may fail: the next round makes it again. Its error is in the log.
attempt() {
    call "$@" >/dev/null 2>>"$log" || true
}

has_role() {
    call iam get-role --role-name "natha-trial-$name" >/dev/null 2>>"$log"
}

has_profile() {
    call iam get-instance-profile --instance-profile-name "natha-trial-$name" \
        >/dev/null 2>>"$log"
}

# iam_left KIND: a line if IAM has the trial's thing of this kind. Fails unless IAM says whether.
iam_left() {
    local error=$work/iam-error
    if call iam "get-$1" "--$1-name" "natha-trial-$name" >/dev/null 2>"$error"; then
        printf '%s natha-trial-%s\n' "$1" "$name"
    elif ! grep -q NoSuchEntity "$error"; then
        cat "$error" >&2
        return 1
    fi
}

kinds=(instance elastic-ip network-interface security-group subnet route-table internet-gateway vpc)

# list_left: everything of this trial that exists, one kind and id a line. Fails where AWS does not
# answer: then nothing is proven.
list_left() {
    local kind all id
    for kind in "${kinds[@]}"; do
        all=$(ids "$kind") || return
        for id in $all; do printf '%s %s\n' "$kind" "$id"; done
    done
    iam_left instance-profile && iam_left role
}

# remove_instances: ends them all, and waits for that: all else depends on it. Fails if EC2 refuses.
remove_instances() {
    local all
    all=$(ids instance 2>>"$log") || return 0
    [[ -n ${all// /} ]] || return 0
    # Word splitting is wanted: they are ids.
    # shellcheck disable=SC2086
    call ec2 terminate-instances --instance-ids $all >/dev/null 2>>"$log" || return
    wait_for 600 "the instances end" no_instance || true
}

no_instance() {
    local all
    all=$(ids instance 2>>"$log") && [[ -z ${all// /} ]]
}

# each KIND ACTION OPTION: one call for each thing of a kind.
each() {
    local all id
    all=$(ids "$1" 2>>"$log") || return 0
    for id in $all; do attempt ec2 "$2" "$3" "$id"; done
}

remove_gateways() {
    local all id attached
    all=$(ids internet-gateway 2>>"$log") || return 0
    for id in $all; do
        attached=$(ec2 describe-internet-gateways --internet-gateway-ids "$id" \
            --query 'InternetGateways[0].Attachments[].VpcId' 2>>"$log") || continue
        [[ -z $attached ]] || attempt ec2 detach-internet-gateway --internet-gateway-id "$id" \
            --vpc-id "$attached"
        attempt ec2 delete-internet-gateway --internet-gateway-id "$id"
    done
}

remove_tables() {
    local all id association associations
    all=$(ids route-table 2>>"$log") || return 0
    for id in $all; do
        associations=$(ec2 describe-route-tables --route-table-ids "$id" --query \
            'RouteTables[0].Associations[].RouteTableAssociationId' 2>>"$log") || continue
        for association in $associations; do
            attempt ec2 disassociate-route-table --association-id "$association"
        done
        attempt ec2 delete-route-table --route-table-id "$id"
    done
}

remove_role() {
    local role=natha-trial-$name
    if has_profile; then
        attempt iam remove-role-from-instance-profile --instance-profile-name "$role" \
            --role-name "$role"
        attempt iam delete-instance-profile --instance-profile-name "$role"
    fi
    if has_role; then
        attempt iam delete-role-policy --role-name "$role" --policy-name natha
        attempt iam delete-role-policy --role-name "$role" --policy-name natha-measure
        attempt iam delete-role --role-name "$role"
    fi
}

# remove_once: one round. What another thing still needs stays until the next one.
remove_once() {
    remove_instances || return 0
    each elastic-ip release-address --allocation-id
    each network-interface delete-network-interface --network-interface-id
    each security-group delete-security-group --group-id
    remove_tables
    each subnet delete-subnet --subnet-id
    remove_gateways
    each vpc delete-vpc --vpc-id
    remove_role
}

# remove_all: rounds until two lists in a row are empty: a list may lack what was made a moment ago.
remove_all() {
    local end=$((SECONDS + removal)) left empty=0
    while ((empty < 2)); do
        if ! left=$(list_left); then
            say "  cannot list what is left; trying again"
            empty=0
        elif [[ -z $left ]]; then
            empty=$((empty + 1))
        else
            empty=0
            remove_once
        fi
        ((empty >= 2)) && break
        if ((SECONDS >= end)); then
            say "error: not all of the trial $name is removed. What is left:"
            say "${left:-unknown}"
            say "Run this again: scripts/trial --remove $name --region $region"
            return 1
        fi
        sleep "$poll"
    done
    say "nothing of the trial $name is left: no ${kinds[*]} with the tag natha-trial=$name, no" \
        "role and no instance profile natha-trial-$name"
}

# list_trials: the names of the trials of this region, by all that can outlive the rest.
list_trials() {
    local value="[].Tags[?Key=='natha-trial'] | [].Value" tagged=Name=tag-key,Values=natha-trial
    local names=()
    names+=("$(ec2 describe-vpcs --filters "$tagged" --query "Vpcs$value")")
    names+=("$(ec2 describe-addresses --filters "$tagged" --query "Addresses$value")")
    names+=("$(ec2 describe-instances --filters "$tagged" "$living" \
        --query "Reservations[].Instances$value")")
    names+=("$(call iam list-roles --path-prefix /natha-trial/ --query 'Roles[].RoleName' |
        sed 's/natha-trial-//g')")
    printf '%s\n' "${names[@]}" | tr '\t' '\n' | sed '/^$/d' | sort -u
}
