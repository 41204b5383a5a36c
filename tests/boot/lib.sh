#!/usr/bin/env bash
# What the boot tests share: the repository's tools, the image, the lab's program, and checks.
#
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"   (it is not run by itself)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

image=${NATHA_IMAGE:-$root/target/image/root}
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

# The lab is its own owner's: it is told to end, whatever becomes of the test.
lab_down() {
    [[ -z ${lab_directory:-} || ! -d $lab_directory ]] || lab down || true
    lab_directory=''
}
