#!/usr/bin/env bash
# What the scripts beside this one share: where the repository is, timed steps, and the tools that
# a bare Debian 12 with a Rust toolchain lacks.
#
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"   (it is not run by itself)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$root/target/tools/bin:$PATH:$HOME/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin"
logs=$root/target/logs
mkdir -p "$logs"

# Built when a machine has no cargo-nextest.
nextest_version=0.9.143

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "error: $*"
    exit 1
}

# seconds_since START: time since START, a value of $EPOCHREALTIME, as "12.3".
seconds_since() {
    local start=${1/[.,]/} now=${EPOCHREALTIME/[.,]/}
    local tenths=$(((now - start) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# step NAME COMMAND…: runs it quietly and prints one line with its time. When it fails, its whole
# output is shown and its status returned. Steps may run side by side: each prints its lines at
# once, and appends "NAME<tab>SECONDS<tab>STATUS" to the file that $steps names, if it does.
step() {
    local name=$1 start=$EPOCHREALTIME status=0 took lock
    local log=$logs/${name//[^a-zA-Z0-9]/-}.log
    shift
    [[ ! -t 2 || -n ${steps-} ]] || printf '  …           %s\r' "$name" >&2
    "$@" >"$log" 2>&1 </dev/null || status=$?
    took=$(seconds_since "$start")
    [[ -z ${steps-} ]] || printf '%s\t%s\t%d\n' "$name" "$took" "$status" >>"$steps"
    exec {lock}>"$logs/.lock"
    flock "$lock"
    if ((status == 0)); then
        printf '  ok %7s s  %s\n' "$took" "$name" >&2
    else
        printf '  FAILED %3s s  %s (status %d)\n' "$took" "$name" "$status" >&2
        sed 's/^/    /' "$log" >&2
    fi
    exec {lock}>&-
    return "$status"
}

# The Debian package that has a tool.
package_of() {
    case $1 in
        aarch64-linux-gnu-gcc) echo gcc-aarch64-linux-gnu ;;
        busybox) echo busybox-static ;;
        cc) echo gcc libc6-dev ;;
        chromium) echo chromium ;;
        chromedriver) echo chromium-driver ;;
        conntrack) echo conntrack ;;
        conntrackd) echo conntrackd ;;
        curl) echo curl ;;
        dbus-daemon) echo dbus-daemon ;;
        g++) echo g++ ;;
        git) echo git ;;
        gpg) echo gnupg ;;
        gpgv) echo gpgv ;;
        dpkg-deb) echo dpkg ;;
        ethtool) echo ethtool ;;
        faketime) echo faketime ;;
        firewall-cmd) echo firewalld ;;
        fish) echo fish ;;
        ip) echo iproute2 ;;
        iptables | iptables-nft) echo iptables ;;
        ipvsadm) echo ipvsadm ;;
        jq) echo jq ;;
        keepalived) echo keepalived ;;
        lintian) echo lintian ;;
        man) echo man-db ;;
        debugfs | mke2fs) echo e2fsprogs ;;
        dig) echo bind9-dnsutils ;;
        mmdebstrap) echo mmdebstrap ;;
        musl-gcc) echo musl-tools ;;
        nft) echo nftables ;;
        # It comes with ClusterLabs' agents, which are in /usr/lib/ocf and not on the PATH.
        ocf-tester) echo resource-agents ;;
        packer) echo packer ;;
        pgrep) echo procps ;;
        ping) echo iputils-ping ;;
        prometheus | promtool) echo prometheus ;;
        psql) echo postgresql ;;
        python3) echo python3 python3-venv ;;
        qemu-aarch64-static) echo qemu-user-static ;;
        qemu-system-x86_64) echo qemu-system-x86 ;;
        readelf | strip) echo binutils ;;
        rpm | rpmbuild) echo rpm ;;
        sfdisk) echo fdisk ;;
        shellcheck) echo shellcheck ;;
        sshd) echo openssh-server ;;
        systemd-nspawn) echo systemd-container ;;
        tcpdump) echo tcpdump ;;
        ufw) echo ufw ;;
        nsenter | setsid | unshare) echo util-linux ;;
        zsh) echo zsh ;;
        *) die "no package is known for $1: add it to package_of in scripts/lib.sh" ;;
    esac
}

apt_updated=no

update_packages() {
    [[ $apt_updated == no ]] || return 0
    step "apt-get update" apt-get -q update || die "apt-get update failed"
    apt_updated=yes
}

# install_packages WHY PACKAGE…: by apt, as root only. RUNLEVEL keeps the services among them from
# being started: the tests run their own, in namespaces.
install_packages() {
    local why=$1
    shift
    command -v apt-get >/dev/null || die "$why. Install the equivalent of: $*"
    ((EUID == 0)) || die "$why. As root: apt-get install $*"
    say "  installing $* ($why)"
    update_packages
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive step "apt-get install" \
        apt-get -qy install --no-install-recommends "$@" || die "apt-get install failed"
}

# need TOOL…: makes sure that each is there, installing what is missing.
need() {
    local tool missing=() packages=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]})) || return 0
    for tool in "${missing[@]}"; do
        # Word splitting is wanted: some tools need two packages.
        # shellcheck disable=SC2207
        packages+=($(package_of "$tool"))
    done
    install_packages "${missing[*]} not found" "${packages[@]}"
    for tool in "${missing[@]}"; do
        command -v "$tool" >/dev/null || die "$tool is still not found after installing it"
    done
}

need_cargo() {
    need cc
    command -v cargo >/dev/null ||
        die "cargo not found. Install Rust as https://rustup.rs tells, then run this again"
}

need_nextest() {
    need_cargo
    cargo nextest --version >/dev/null 2>&1 && return 0
    say "  cargo-nextest not found: building it into target/tools (some minutes, once)"
    step "cargo install cargo-nextest" cargo install --locked --root "$root/target/tools" \
        "cargo-nextest@$nextest_version" || die "cargo-nextest could not be built"
}

# unpack_kernel DIRECTORY: Debian's cloud kernel with its modules, not installed.
unpack_kernel() {
    local image
    image=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2 }')
    rm -rf "$1" "$1.new" &&
        mkdir -p "$1.new" &&
        (cd "$1.new" && apt-get -q -o APT::Sandbox::User=root download "$image" &&
            dpkg -x ./linux-image-*.deb . && rm ./linux-image-*.deb) &&
        mv "$1.new" "$1"
}

# need_vm_kernel: a kernel with IPVS in target/vm-kernel, for the virtual machine of one test.
need_vm_kernel() {
    local directory=$root/target/vm-kernel
    [[ ! -d $directory ]] || return 0
    command -v apt-get dpkg >/dev/null ||
        die "no kernel in $directory: unpack Debian's package linux-image-cloud-amd64 there"
    update_packages
    step "Debian's cloud kernel in target/vm-kernel" unpack_kernel "$directory" ||
        die "the kernel could not be downloaded; apt's output is above"
}

# The interpreter the virtual environment is made with: one that can make one.
python_with_venv() {
    local python
    for python in "$(command -v python3 || true)" /usr/bin/python3; do
        if [[ -x $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# Commands are chained: `set -e` is off in here, as it is in whatever a `||` follows.
make_venv() {
    local venv=$root/target/venv
    rm -rf "$venv" &&
        "$(python_with_venv)" -m venv "$venv" &&
        "$venv/bin/pip" install --disable-pip-version-check -r "$root/scripts/requirements.txt" &&
        "$venv/bin/python" -c 'import boto3, moto.server, websockets.sync.server' &&
        "$venv/bin/aws" --version &&
        cp "$root/scripts/requirements.txt" "$venv/installed.txt"
}

# need_python: a virtual environment in target/venv with scripts/requirements.txt, made anew only
# when that file changed. Exports NATHA_PYTHON and NATHA_AWS for the tests.
need_python() {
    local venv=$root/target/venv lock
    export NATHA_PYTHON=$venv/bin/python NATHA_AWS=$venv/bin/aws
    python_with_venv >/dev/null ||
        install_packages "no python3 that can make a virtual environment" python3 python3-venv
    exec {lock}>"$root/target/venv.lock"
    flock "$lock"
    cmp -s "$root/scripts/requirements.txt" "$venv/installed.txt" ||
        step "python environment in target/venv" make_venv ||
        die "the python environment could not be made; pip's output is above"
    exec {lock}>&-
}

# The repository's shell scripts, by their first line, as paths relative to its root.
shell_scripts() {
    (cd "$root" && find scripts .ci tests ami packaging -type f -not -path '*/target/*' -print0 |
        xargs -0 awk 'FNR == 1 { if (/^#!.*[\/ ](ba)?sh( |$)/) print FILENAME; nextfile }' |
        sort)
}
