#!/usr/bin/env bash
# Makes the image busybox:latest of a static busybox, so that no registry is needed; pulls it
# where there is none. Does nothing where the image exists. Used by `make test`, .ci/run and by hand.
set -euo pipefail

image=busybox:latest
docker image inspect "$image" >/dev/null 2>&1 && exit 0

busybox=$(command -v busybox || true)
if [ -z "$busybox" ] || ldd "$busybox" >/dev/null 2>&1; then
  timeout 120 docker pull --quiet "$image" && exit 0
  echo "cannot make the image $image: no static busybox here, and it cannot be pulled;" \
    "install the package busybox-static" >&2
  exit 1
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,usr,var/run,var/www}
mkdir -m 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for applet in $(busybox --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
ln -s ../bin "$root/usr/bin"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"

tar -C "$root" --owner=0 --group=0 -c . |
  docker import --change 'CMD ["sh"]' --change 'ENV PATH=/bin:/usr/bin' - "$image" >/dev/null
echo "made the image $image of $busybox"
