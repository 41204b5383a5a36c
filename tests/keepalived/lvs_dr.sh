#!/usr/bin/env bash
# LVS-DR as it was meant: two keepalived directors with IPVS, one address, two web servers that
# answer the client themselves, in a virtual machine with Debian's cloud kernel. A namespace has no
# IPVS of its own where the kernel below has none. Nothing of this machine's network is touched.
#
# Usage: tests/keepalived/lvs_dr.sh
#
# Needs what scripts/test installs: qemu-system-x86_64, busybox, keepalived, ipvsadm, ip, nft, and
# the kernel in target/vm-kernel. The processor is emulated, so that no /dev/kvm is needed: it takes
# about 20 seconds. Exit status: 0 all is as it should be, 1 something is not.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernel=$(cd "$here/../.." && pwd)/target/vm-kernel
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

for tool in qemu-system-x86_64 busybox bash keepalived ipvsadm ip nft; do
    command -v "$tool" >/dev/null || die "$tool not found: scripts/test installs what is missing"
done
images=("$kernel"/boot/vmlinuz-*)
[[ -f ${images[0]} ]] || die "no kernel in $kernel: scripts/test downloads it"
version=${images[0]##*/vmlinuz-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk=$work/disk
mkdir -p "$disk"/{bin,dev,etc,proc,run,sys,tmp,var,lib/modules/"$version"}
ln -s ../run "$disk/var/run"

# add_program PROGRAM…: with the libraries that it is linked with.
add_program() {
    local program library
    for program in "$@"; do
        program=$(readlink -f "$(command -v "$program")")
        cp "$program" "$disk/bin/"
        while read -r library; do
            mkdir -p "$disk$(dirname "$library")"
            cp -Ln "$library" "$disk$library"
        done < <(ldd "$program" 2>/dev/null | grep -o '/[^ ]*' || true)
    done
}

# add_modules MODULE…: with those that they need.
add_modules() {
    local modules=$kernel/lib/modules/$version file
    busybox depmod -b "$kernel" "$version"
    for module in "$@"; do
        grep "/$module\.ko:" "$modules/modules.dep" || die "the kernel has no module $module"
    done | tr -d : | tr ' ' '\n' | sort -u | while read -r file; do
        mkdir -p "$disk/lib/modules/$version/$(dirname "$file")"
        cp "$modules/$file" "$disk/lib/modules/$version/$file"
    done
}

add_program busybox bash keepalived ipvsadm ip nft
ln -s bash "$disk/bin/sh"
for applet in cat chmod date depmod echo grep httpd kill ln mkdir modprobe mount poweroff sort \
    timeout tr uniq usleep wget; do
    ln -s busybox "$disk/bin/$applet"
done
add_modules bridge veth ip_vs ip_vs_rr nft_chain_nat nft_redir
cp "$here/lvs_dr_guest.sh" "$disk/init"
chmod 755 "$disk/init"
(cd "$disk" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd"

timeout -k 5 150 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 512 -nographic \
    -no-reboot -net none -kernel "${images[0]}" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 rdinit=/init" </dev/null |
    tr -d '\r' | tee "$work/console"
grep -q '^ALL PASSED$' "$work/console" || die "the machine did not come to its end"
