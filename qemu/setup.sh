# Sourced by qemu/up, qemu/weir, tests/run and tests/bench: installs missing packages and builds the host command.
# The sourcing script sets $root to the checkout.

name=$(basename "$0")
say() { echo "[$name] $*" >&2; }
die() { echo "$name: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command so that it and everything it started end with this script.
run() {
    setsid "$@" &
    child=$!
    trap 'kill -TERM -"$child" 2>/dev/null; wait "$child"; exit 143' INT TERM HUP
    wait "$child"
    status=$?
    trap - INT TERM HUP
    return $status
}

# Whether any toolchain has the library's source, which `-Z build-std` needs.
have_rust_src() {
    for rustc in $(
        { have rustup && rustup toolchain list | while read -r toolchain _; do rustup which --toolchain "$toolchain" rustc; done
          ls /usr/bin/rustc; } 2>/dev/null
    ); do
        [ -f "$("$rustc" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/src/lib.rs" ] && return 0
    done
    return 1
}

# ensure COMMAND PACKAGE...: requests the packages if the command is missing.
missing=
ensure() {
    tool=$1
    shift
    have "$tool" || missing="$missing $*"
}

# The same for a package with a service that must not be started, neither now nor at the next boot.
services=
ensure_without_service() {
    have "$1" || services="$services $3"
    ensure "$1" "$2"
}

# LLVM's tools may exist only in a version's own directory.
have_llvm() {
    have "$1" || ls /usr/lib/llvm-*/bin/"$1" >/dev/null 2>&1
}

# While this file exists, installing a package starts no service (policy-rc.d(8)). An existing file of others is not replaced.
policy=/usr/sbin/policy-rc.d
mark="# weir's: nothing starts that is installed for its tests, and this file goes when that is done"
keep_services_still() {
    if [ -e "$policy" ] || [ -L "$policy" ]; then
        # One left by a killed run serves as well.
        grep -qxF "$mark" "$policy" 2>/dev/null || return 0
    else
        # Created atomically, replacing nothing.
        printf '%s\n' '#!/bin/sh' "$mark" 'exit 101' >"$policy.$$" && chmod 755 "$policy.$$" && ln "$policy.$$" "$policy"
        rm -f "$policy.$$"
    fi
    trap 'release_services; exit 143' INT TERM HUP
}
release_services() {
    ! grep -qxF "$mark" "$policy" 2>/dev/null || rm -f "$policy"
    trap - INT TERM HUP
}

# Services of newly installed packages also stay off at boot. A machine without an init system needs no action.
disable_services() {
    for service in $services; do
        ! have systemctl || systemctl disable --quiet "$service.service"
        ! have update-rc.d || update-rc.d "$service" disable
    done
    services=
}

# Installs Debian packages, or prints in one line what to install.
install_missing() {
    [ -n "$missing" ] || return 0
    have apt-get || die "missing, and no apt-get here: install the equivalents of$missing"
    [ "$(id -u)" = 0 ] || die "missing: run apt-get install$missing as root"
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    keep_services_still
    # Package lists may be outdated.
    { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1
    status=$?
    [ $status != 0 ] || disable_services >>"$log" 2>&1
    release_services
    if [ $status != 0 ]; then
        why=$(grep -m1 '^E:' "$log" || tail -n1 "$log")
        rm -f "$log"
        die "apt-get install$missing failed: $why"
    fi
    rm -f "$log"
    missing=
}

# Requirements for building and running.
install_basics() {
    have_rust_src || missing="$missing rustc-web cargo-web rust-web-src"
    have_llvm ld.lld || missing="$missing lld"
    have_llvm llvm-objcopy || missing="$missing llvm"
    have_llvm llvm-ar || missing="$missing llvm"
    ensure qemu-system-x86_64 qemu-system-x86 seabios
    # The default network: QEMU's own loses clients if many arrive at once.
    ensure passt passt
    ensure cc gcc libc6-dev
    install_missing
    # A newly installed rustup may not be in PATH yet; Debian's cargo can build the host programs as well.
    have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || die "no cargo in PATH"
    export PATH
    install_vsock_daemon
}

# Requirements for disk and ISO images. Without them, `weir image build` says what to install.
ensure_image_tools() {
    ensure grub-mkimage grub-common
    [ -f /usr/lib/grub/i386-pc/kernel.img ] || missing="$missing grub-pc-bin"
    [ -f /usr/lib/grub/x86_64-efi/kernel.img ] || missing="$missing grub-efi-amd64-bin"
    ensure xorriso xorriso
    ensure qemu-img qemu-utils
    # For booting them with UEFI.
    [ -f /usr/share/OVMF/OVMF_CODE.fd ] || missing="$missing ovmf"
}

install_vsock_daemon() {
    have vhost-device-vsock || [ -x "$root/target/tools/bin/vhost-device-vsock" ] && return
    say "installing vhost-device-vsock 0.3 with cargo into target/tools"
    run cargo install --quiet --locked --version '~0.3' --root "$root/target/tools" vhost-device-vsock >&2 ||
        die "cargo install vhost-device-vsock failed"
}

# Builds the weir command and sets $weir to it.
build_weir() {
    run cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" -p weir || die "building weir failed"
    weir=${CARGO_TARGET_DIR:-$root/target}/release/weir
}
