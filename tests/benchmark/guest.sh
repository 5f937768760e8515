#!/bin/sh
# Builds the machine that Weir is compared with: nginx on Debian's cloud kernel, running from memory, with nothing else.
#   guest.sh DIR [shaping]    writes DIR/vmlinuz and DIR/initrd; packages are downloaded and unpacked there, not installed
# `shaping` builds the machine of `tests/bandwidth`: with rate limits, and HAProxy in front.
set -eu
dir=$1
kind=${2:-}
more=
[ "$kind" = shaping ] && more="haproxy liblua5.3-0 libsystemd0 liblz4-1 libzstd1 liblzma5 libgcrypt20 libgpg-error0 libcap2 libopentracing-c-wrapper0 libopentracing1 libstdc++6 libgcc-s1"
here=$(cd "$(dirname "$0")" && pwd)
site=$here/../../qemu/demo/www
mkdir -p "$dir/debs" "$dir/packages"
cd "$dir"
if [ ! -d packages/boot ]; then
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
    (cd debs && apt-get download -qq -o APT::Sandbox::User=root "$kernel" busybox-static nginx libssl3 libpcre2-8-0 zlib1g libcrypt1 libc6 $more >/dev/null)
    for deb in debs/*.deb; do dpkg-deb -x "$deb" packages; done
fi
rm -rf root
mkdir -p root/bin root/sbin root/usr/bin root/usr/sbin root/proc root/sys root/dev root/run root/tmp root/etc \
    root/var/log/nginx root/var/lib/nginx root/lib/modules root/www
cp packages/bin/busybox root/bin/
cp packages/usr/sbin/nginx root/usr/sbin/
install -m 755 "$here/guest-init" root/init
if [ "$kind" = shaping ]; then
    cp packages/usr/sbin/haproxy root/usr/sbin/
    cp "$here/shaping/nginx.conf" "$here/shaping/haproxy.cfg" root/etc/
else
    cp "$here/nginx.conf" root/etc/
fi
echo 'root:x:0:0::/:/bin/sh' >root/etc/passwd
echo 'root:x:0:' >root/etc/group
cp "$site/128" "$site/4k" "$site/1m.bin" root/www/
for module in $(sed -n 's/^modules="\(.*\)"$/\1/p' "$here/guest-init"); do
    file=$(find packages/lib/modules packages/usr/lib/modules -name "$module.ko*" 2>/dev/null | head -n1)
    case $file in
        '') echo "guest.sh: the kernel has no module $module" >&2; exit 1 ;;
        *.xz) xz -dc "$file" >"root/lib/modules/$module.ko" ;;
        *) cp "$file" root/lib/modules/ ;;
    esac
done
# Libraries of the unpacked packages, not of the host.
libs=packages/usr/lib/x86_64-linux-gnu:packages/lib/x86_64-linux-gnu
for program in root/usr/sbin/*; do LD_LIBRARY_PATH=$libs ldd "$program"; done | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /\//) { print $i; next } }' |
    while read -r lib; do
        case $lib in
            */ld-linux*) mkdir -p root/lib64 && cp -L "$lib" root/lib64/ ;;
            *) mkdir -p root/lib/x86_64-linux-gnu && cp -L "$lib" root/lib/x86_64-linux-gnu/ ;;
        esac
    done
cp packages/boot/vmlinuz-* vmlinuz
(cd root && find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner 0:0) >initrd
