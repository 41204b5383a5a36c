#!/usr/bin/env bash
# Debian systems to install packages in: copies of one that is kept, booted as containers that have
# one interface, which leads nowhere.
#
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/container.sh"   (it is not run by itself)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/natha-package.XXXXXX")

# What the containers are copies of: a Debian with what the packages depend on, so that only their
# own traces are compared and no container needs a network. It is kept, and made anew when this
# list differs from the one beside it.
base_packages=systemd-sysv,dbus,procps,nftables,ca-certificates,rpm
base=$root/target/package/debian-12.tar

# The one that runs: unshare, systemd-nspawn, its first process, its control group, its directory.
outer='' nspawn='' leader='' group='' tree=''

finish() {
    power_off
    rm -rf --one-file-system "$work"
}
trap finish EXIT

make_base() {
    local new=${base%.tar}.new.tar
    [[ ! -e $base || ! -e $base.packages || $(<"$base.packages") != "$base_packages" ]] ||
        return 0
    need mmdebstrap
    mkdir -p "${base%/*}"
    rm -f "$base"
    step "a Debian 12" mmdebstrap --variant=minbase --include="$base_packages" bookworm "$new" ||
        die "Debian 12 could not be fetched"
    printf '%s' "$base_packages" >"$base.packages"
    mv "$new" "$base"
}

# in_root COMMAND…: in the container's directory, not booted.
in_root() {
    unshare --mount --pid --fork --mount-proc="$tree/proc" chroot "$tree" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        "$@"
}

new_root() {
    make_base
    tree=$work/$1
    mkdir "$tree"
    tar -xf "$base" -C "$tree"
    echo natha-test >"$tree/etc/hostname"
}

# What lies in the system, but for what any installation and any boot leaves behind.
listing() {
    (cd "$tree" && find . -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o \
        -path ./run -prune -o -path ./tmp -prune -o -path ./var/log -prune -o \
        -path ./var/cache -prune -o -path ./var/lib/dpkg -prune -o -path ./var/lib/apt -prune -o \
        -path ./var/lib/systemd -prune -o -path ./var/tmp -prune -o -path ./root/.rpmdb -prune -o \
        -path ./etc/passwd- -o -path ./etc/group- -o -path ./etc/shadow- -o -path ./etc/gshadow- \
        -o -path ./etc/ld.so.cache -o -path ./etc/.updated -o -path ./var/.updated -o \
        -printf '%y %m %U %p\n' | sort -k 4
        find var/lib/systemd -name '*natha*'
        cat etc/passwd etc/group | cut -d : -f 1)
}

# inside COMMAND…: in the booted container.
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        timeout 120 "$@"
}

# Boots the container in a network of its own with one interface, which leads nowhere, and in a
# control group and process namespace of its own: systemd-nspawn takes the group of process 1 for
# the root of its own.
power_on() {
    local until=$((SECONDS + 120))
    group=natha-package-$$
    # shellcheck disable=SC2016  # the inner shells expand these
    unshare --mount --pid --fork --mount-proc sh -c '
        set -e
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mkdir -p "/sys/fs/cgroup/$1"
        echo $$ >"/sys/fs/cgroup/$1/cgroup.procs"
        umount /sys/fs/cgroup
        export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
        exec unshare --cgroup sh -c "
            mount -t cgroup2 cgroup2 /sys/fs/cgroup
            exec systemd-nspawn --quiet --boot --directory=\"\$0\" --private-network \\
                --register=no --keep-unit --capability=CAP_IPC_LOCK --resolv-conf=off \\
                --timezone=off --link-journal=no --console=pipe --machine=natha-test" "$2"
    ' sh "$group" "$tree" >"$work/console" 2>&1 </dev/null &
    outer=$!
    until nspawn=$(pgrep -P "$outer") && leader=$(pgrep -P "$nspawn") &&
        inside test -S /run/systemd/private 2>/dev/null; do
        kill -0 "$outer" 2>/dev/null || die "the container ended: $(tail -n 5 "$work/console")"
        ((SECONDS < until)) || die "no systemd in the container: $(tail -n 5 "$work/console")"
        sleep 0.2
    done
    inside systemctl is-system-running --wait >/dev/null || true
    # A container has a boot id of its own in its own /proc, but not in those that systemd makes for
    # units: to natha, setup's journal would be of another boot.
    inside umount /proc/sys/kernel/random/boot_id
    nsenter --target "$leader" --net sh -c '
        ip link add uplink0 type veth peer name beyond0 &&
        ip link set uplink0 up && ip link set beyond0 up &&
        ip address add 192.0.2.2/24 dev uplink0 && ip route add default via 192.0.2.1'
}

power_off() {
    [[ -n $outer ]] || return 0
    # It shuts the container down, and a second one ends it at once.
    [[ -z $nspawn ]] || kill -s TERM "$nspawn" 2>/dev/null || true
    wait "$outer" 2>/dev/null || true
    outer='' nspawn='' leader=''
    # The kernel does not do that by itself.
    # shellcheck disable=SC2016
    unshare --mount sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
        find "/sys/fs/cgroup/$0" -depth -type d -exec rmdir {} +' "$group" 2>/dev/null || true
}
