#!/usr/bin/env bash
# Build the Dockerfile without Docker, and ask the image about a photo as compose.yaml runs it.
#
#   sudo deploy/try-image.sh RUN.zip PHOTO [OPTION OF buildah build]...
#
# RUN.zip is written by `cairn pack`. The base is Debian's trixie with its own Python, in place of the
# image that a registry has. Needs debootstrap and buildah (Debian's packages), the network, a free
# port 8000, and 5 GB with --build-arg COMPUTE=graph, else 25. Leaves nothing behind.
set -euo pipefail
packed=$(realpath "${1:?which file of cairn pack?}")
photo=$(realpath "${2:?which photo?}")
shift 2
cd "$(dirname "$0")/.."
for each in debootstrap buildah setpriv curl; do
    command -v "$each" >/dev/null || { echo "$each is not installed" >&2 && exit 2; }
done

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
export TMPDIR=$work
token=only-for-this-trial
server=
store() { buildah --root "$work/store" --runroot "$work/running" "$@"; }
clean() {
    [ -z "$server" ] || kill "$server" || true
    store umount --all >/dev/null && store rm --all >/dev/null || true
    umount --quiet "$work/store/overlay" || true
    rm -rf --one-file-system "$work"
}
trap clean EXIT

# Become a command of the image, whose /run is a folder: nothing else can be written but an empty
# /tmp, where no program can be; the user is that of the image and has no capability.
become() {
    exec unshare --mount bash -ec '
        folder=$1 root=$2 token=$3 && shift 3
        mount --bind "$root" "$root"
        for each in dev sys proc; do mount --rbind "/$each" "$root/$each"; done
        mount --bind "$folder" "$root/run"
        mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root/tmp"
        mount -o remount,bind,ro "$root"
        exec env -i HOME=/tmp PATH=/opt/cairn/bin:/usr/sbin:/usr/bin CAIRN_TOKEN="$token" \
            chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups \
            --bounding-set -all --inh-caps -all --no-new-privs "$@"
    ' - "$1" "$root" "$token" "${@:2}"
}

echo "== a base of Debian's packages"
base=$(store from scratch)
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv trixie \
    "$(store mount "$base")" >"$work/log" || { tail "$work/log" >&2 && exit 1; }
store config --env PATH=/usr/sbin:/usr/bin "$base"
store commit --quiet --rm "$base" \
    "docker.io/library/$(sed -n 's/^FROM \(.*\) AS build$/\1/p' Dockerfile)"

echo "== the Dockerfile"
store build --quiet --pull-never --isolation chroot --format docker --tag cairn "$@" .
root=$(store mount "$(store from --pull-never cairn)")
du -sm "$root/opt/cairn"

echo "== cairn unpack"
install -d -o 10001 -g 10001 "$work/shared"
install -m 644 "$packed" "$work/shared/run.zip"
(become "$work/shared" cairn unpack /run/run.zip /run/run)

echo "== cairn serve"
become "$work/shared/run" cairn serve --run /run --host 0.0.0.0 &
server=$!
check=$(python3 -c '
import json, re
print(json.loads(re.search(r"HEALTHCHECK[^[]*CMD (.*)", open("Dockerfile").read())[1])[-1])')
asked=0
until (become "$work/shared/run" python -c "$check") 2>"$work/log"; do
    asked=$((asked + 1)) && [ "$asked" -lt 60 ] && kill -0 "$server" || { cat "$work/log" >&2 && exit 1; }
    sleep 1
done
curl --fail --silent --show-error --header "Authorization: Bearer $token" \
    --header 'Content-Type: image/jpeg' --data-binary "@$photo" http://127.0.0.1:8000/v1/recognize |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["answers"][0]["name"])'
kill "$server"
ended=0 && wait "$server" || ended=$?
server=
echo "== the server ended with $ended"
exit "$ended"
