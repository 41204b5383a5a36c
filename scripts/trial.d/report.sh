#!/usr/bin/env bash
# The report of a trial: trial.json and trial.md, from the results in the VPC's tags.
#
# Usage: source scripts/trial.d/report.sh   (scripts/trial does it)
set -euo pipefail

# Set by scripts/trial and the parts before this one.
: "${name:=}" "${region:=}" "${vpc:=}" "${out:=}" "${type:=}" "${base:=}" "${package:=}"
: "${sha256:=}" "${work:=}"
declare -a zones

# value KEY TEXT: the value of KEY=VALUE in a text of such pairs.
value() {
    local pair
    for pair in $2; do
        [[ $pair != "$1="* ]] || printf '%s' "${pair#*=}"
    done
}

# pairs TEXT: its KEY=VALUE pairs as members of a JSON object.
pairs() {
    local pair separator='' text
    for pair in $1; do
        [[ $pair == *=* ]] || continue
        text=${pair#*=}
        [[ $text =~ ^[0-9]+$ ]] || text=$(quoted "$text")
        printf '%s%s: %s' "$separator" "$(quoted "${pair%%=*}")" "$text"
        separator=', '
    done
}

# results: the keys and texts of all that was recorded, in order, with a tab between them.
results() {
    ec2 describe-vpcs --vpc-ids "$vpc" \
        --query "Vpcs[0].Tags[?starts_with(Key, 'natha-trial-result-')].[Key,Value]" |
        sed 's/^natha-trial-result-//' | sort
}

# of KEY: the text of one result.
of() {
    awk -F '\t' -v key="$1" '$1 == key { print $2 }' "$work/results"
}

# rest TEXT: what a step adds to its result and its seconds.
rest() {
    local words
    read -r _ _ words <<<"$1" || true
    printf '%s' "$words"
}

# steps: the keys of the steps, without those of the hosts.
steps() {
    cut -f 1 "$work/results" | grep -vE '\.|^00-' || true
}

step_json() {
    local key=$1 text host separator=''
    text=$(of "$key")
    printf '    {"step": %s, "ok": %s, %s, "detail": %s, "hosts": {' "$(quoted "${key#*-}")" \
        "$([[ $text == ok* ]] && echo true || echo false)" \
        "$(pairs "seconds=$(value seconds "$text")")" "$(quoted "$(rest "$text")")"
    for host in host-a host-b; do
        [[ -n $(of "$key.$host") ]] || continue
        printf '%s"%s": {%s}' "$separator" "$host" "$(pairs "$(of "$key.$host")")"
        separator=', '
    done
    printf '}}'
}

write_json() {
    local key separator=''
    printf '{\n  "trial": %s, "region": %s, "zones": [%s, %s],\n' "$(quoted "$name")" \
        "$(quoted "$region")" "$(quoted "${zones[0]}")" "$(quoted "${zones[1]}")"
    printf '  "type": %s, "image": %s, "package": %s, "sha256": %s,\n' "$(quoted "$type")" \
        "$(quoted "$base")" "$(quoted "$package")" "$(quoted "$sha256")"
    printf '  "natha": %s, "made": %s,\n  "steps": [\n' "$(quoted "$(version)")" \
        "$(quoted "$(date -u +%Y-%m-%dT%H:%M:%SZ)")"
    for key in $(steps); do
        printf '%s' "$separator"
        step_json "$key"
        separator=$',\n'
    done
    printf '\n  ]\n}\n'
}

version() {
    local text
    text=$(of 00-node-a)
    printf '%s' "${text#*version=}"
}

# cell TEXT: a host's report in a table.
cell() {
    local flows broken
    flows=$(value flows "$1") broken=$(value broken "$1")
    [[ -n $1 ]] || return 0
    printf '%s of %s lost, %s ms; %s of %s ended, %s ms' "$(value lost "$1")" \
        "$(value sent "$1")" "$(value outage_ms "$1")" "$broken" "$((flows + broken))" \
        "$(value stall_ms "$1")"
}

write_markdown() {
    local key text
    cat <<TOP
# Trial $name of natha

$(version), on $type from $base in ${zones[0]} and ${zones[1]}, $(date -u +%Y-%m-%d).

A private host in each zone sends a datagram every 50 ms, each a new flow, and keeps 8 TCP
connections, each with a line every 200 ms. The columns of the hosts show datagrams that were not
answered within 1 s and the longest outage for new flows, then connections that ended and the
longest wait for a line to come back.

| step | happened | seconds | host-a | host-b |
|---|---|--:|---|---|
TOP
    for key in $(steps); do
        text=$(of "$key")
        printf '| %s | %s | %s | %s | %s |\n' "${key#*-}" "${text%% *}" \
            "$(value seconds "$text")" "$(cell "$(of "$key.host-a")")" \
            "$(cell "$(of "$key.host-b")")"
    done
    printf '\n'
    for key in $(steps); do
        text=$(rest "$(of "$key")")
        [[ -z $text ]] || printf -- '- %s: %s\n' "${key#*-}" "$text"
    done
}

write_report() {
    results >"$work/results"
    write_json >"$out/trial.json"
    write_markdown >"$out/trial.md"
    say ''
    cat "$out/trial.md" >&2
    say "written: $out/trial.json and $out/trial.md"
}
