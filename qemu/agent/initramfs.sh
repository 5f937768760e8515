#!/bin/sh
# Builds a Linux worker VM from Debian packages: a kernel, weir-agent as init, and a server. No shell, no init system.
#   initramfs.sh DIR PACKAGES AGENT-ARGUMENT...    writes DIR/vmlinuz and DIR/initrd
# PACKAGES (one word, separated by spaces) and their dependencies are downloaded and unpacked in DIR, not installed, and their install
# scripts are not run. If DIR is up to date, nothing is done.
#   initramfs.sh target/httpbin "gunicorn python3-httpbin" --to tcp:127.0.0.1:8000 -- gunicorn --bind 127.0.0.1:8000 httpbin:app
set -eu
[ $# -ge 3 ] || { sed -n '3,6s/^# *//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
say() { echo "initramfs.sh: $*" >&2; }
die() { say "$*"; exit 1; }
mkdir -p "$1/debs"
dir=$(cd "$1" && pwd)
packages=$2
shift 2

# In this order: the kernel's package has no list of module dependencies.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci rng-core virtio-rng
    vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport"
# Dependencies of packages' tools and install scripts, which servers do not need.
unwanted='^(perl|libperl|dpkg|tar|debconf|install-info|mailcap|mime-support|libjs-|readline-common|gcc-.*-base|python3-(distutils|lib2to3)|libdb5|libgdbm)'

say "building weir-agent"
cargo rustc --quiet --locked --manifest-path "$checkout/Cargo.toml" --release -p weir-agent --bin weir-agent -- \
    -C target-feature=+crt-static -C strip=symbols || die "building weir-agent failed"
agent=${CARGO_TARGET_DIR:-$checkout/target}/release/weir-agent

key=$(cat "$0" "$agent" | { cat; printf '%s\n' "$packages" "$@"; } | sha256sum)
[ "$(cat "$dir/key" 2>/dev/null)" != "$key" ] || exit 0
rm -rf "$dir/key" "$dir/root" "$dir/kernel"

depends() { apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@"; }
download() {
    kernel=$(depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
    [ -n "$kernel" ] || return 1
    # shellcheck disable=SC2086
    list=$(depends --recurse $packages | grep '^[a-z0-9]' | sed 's/:.*//' | grep -vE "$unwanted" | sort -u)
    for package in $packages; do
        echo "$list" | grep -qx "$package" || { say "no package $package"; return 1; }
    done
    # shellcheck disable=SC2086
    files=$(apt-get download --print-uris -qq "$kernel" $list | awk '{ print $2 }')
    # shellcheck disable=SC2086
    [ -n "$files" ] && (cd "$dir/debs" && apt-get download -qq -o APT::Sandbox::User=root "$kernel" $list >/dev/null)
}
say "packages: $packages"
if ! download 2>/dev/null; then
    # Package lists may be outdated.
    apt-get update -qq || true
    download || die "downloading $packages failed"
fi

root=$dir/root
mkdir -p "$root/usr/lib" "$root/etc" "$dir/kernel"
for file in $files; do
    deb=$dir/debs/$file
    case $file in
        linux-image-*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/kernel" --wildcards './boot/vmlinuz-*' '*/modules.builtin' '*/modules/*.ko*' ;;
        *) dpkg-deb -x "$deb" "$root" ;;
    esac
done
# A single directory for what older packages put into two.
for part in bin sbin lib lib64; do
    if [ -d "$root/$part" ] && [ ! -L "$root/$part" ]; then
        mkdir -p "$root/usr/$part"
        cp -a "$root/$part/." "$root/usr/$part/"
        rm -rf "${root:?}/$part"
    fi
    ln -sfn "usr/$part" "$root/$part"
done
for part in share/doc share/man share/info share/locale share/lintian share/bug share/doc-base share/menu share/perl5 lib/x86_64-linux-gnu/gconv; do
    rm -rf "${root:?}/usr/$part"
done
for part in test tests idlelib ensurepip pydoc_data lib2to3; do
    rm -rf "$root"/usr/lib/python3.*/"$part"
done
find "$root/usr/lib" -name '*.a' -delete
# Compilation that packages do in their install scripts, with the VM's own interpreter, whatever the host has.
if [ -x "$root/usr/bin/python3" ]; then
    for libs in "$root"/usr/lib/python3*; do
        PYTHONHOME=$root/usr "$root"/lib64/ld-linux-*.so.* --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/python3" \
            -S -m compileall -q --invalidation-mode unchecked-hash -s "$root" -p / "$libs" >/dev/null ||
            say "warning: not all of ${libs##*/} was compiled"
    done
fi

mkdir -p "$root/modules"
: >"$root/etc/weir-agent.modules"
for module in $modules; do
    file=$(find "$dir/kernel" -name "$module.ko*" | head -n1)
    case $file in
        '')
            find "$dir/kernel" -name modules.builtin -exec cat {} + | grep -q "/$module\.ko" || die "the kernel has no module $module"
            continue
            ;;
        *.xz) xz -dc "$file" >"$root/modules/$module.ko" ;;
        *.zst) zstd -qdc "$file" >"$root/modules/$module.ko" ;;
        *) cp "$file" "$root/modules/" ;;
    esac
    echo "/modules/$module.ko" >>"$root/etc/weir-agent.modules"
done
echo 'root:x:0:0:root:/:/' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
printf '%s\n' "$@" >"$root/etc/weir-agent"
install -m 755 "$agent" "$root/init"
cp "$dir"/kernel/boot/vmlinuz-* "$dir/vmlinuz"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner 0:0) >"$dir/initrd"
rm -rf "$dir/kernel"
echo "$key" >"$dir/key"
say "$(du -h "$dir/initrd" | cut -f1) $dir/initrd"
