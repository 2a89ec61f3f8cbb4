#!/bin/bash
# Bootstrap action of an EMR node: puts the Python packages of Nightshift's jobs into a folder.
#
# Usage: bootstrap.sh ARCHIVE SHA256 FOLDER SCRATCH
#   ARCHIVE  s3:// URI of the dependency archive that `nightshift package` built
#   SHA256   digest of its bytes
#   FOLDER   absolute path, such as /mnt/nightshift/0123456789abcdef; its parent is made where it is missing
#   SCRATCH  absolute path of a folder for temporary files, such as /mnt/tmp; made, for everybody, where it is missing
#
# Safe to repeat. The folder is there whole or not at all. What goes wrong is said in one line on standard error,
# which EMR keeps in LOGS/CLUSTER/node/INSTANCE/bootstrap-actions/.
set -euo pipefail
umask 022

fail() {
    echo "nightshift bootstrap: $*" >&2
    exit 1
}

[[ $# -eq 4 ]] || fail "needs ARCHIVE SHA256 FOLDER SCRATCH, and got $# arguments"
readonly archive=$1 sha256=$2 folder=$3 scratch=$4
[[ $archive == s3://?*/?* ]] || fail "the archive $archive is not an s3:// URI"
[[ $sha256 =~ ^[0-9a-f]{64}$ ]] || fail "$sha256 is not a sha256 in lower-case letters"
for path in "$folder" "$scratch"; do
    [[ $path == /?*/?* && $path != */ && $path != *..* ]] || fail "$path is not an absolute path below a folder"
done

# EMR runs this as hadoop, who may use sudo; where a folder can be written without, it is.
is_ours() {
    local nearest=$1
    while [[ ! -e $nearest ]]; do nearest=$(dirname "$nearest"); done
    [[ -w $nearest ]]
}

as_owner=()
is_ours "$scratch" || as_owner=(sudo -n)
if [[ ! -d $scratch || ! -w $scratch ]]; then
    "${as_owner[@]}" mkdir -p "$scratch" || fail "cannot make $scratch"
    "${as_owner[@]}" chmod 1777 "$scratch" || fail "cannot let everybody write into $scratch"
fi

parent=$(dirname "$folder")
as_owner=()
is_ours "$parent" || as_owner=(sudo -n)

if [[ -f $folder/.sha256 && $(cat "$folder/.sha256") == "$sha256" ]]; then
    echo "nightshift bootstrap: $folder has $sha256 already"
    exit 0
fi

"${as_owner[@]}" mkdir -p "$parent" || fail "cannot make $parent"
work=$("${as_owner[@]}" mktemp -d "$parent/.nightshift.XXXXXX") || fail "cannot write into $parent"
download=$(mktemp -p "$scratch") || fail "cannot write into $scratch"
trap '"${as_owner[@]}" rm -rf "$work" "$download"' EXIT

said=$(aws s3 cp --only-show-errors "$archive" "$download" 2>&1) ||
    fail "cannot download $archive: ${said//$'\n'/ } (may the instance profile read it, and is there a way to S3?)"
found=$(sha256sum "$download")
found=${found%% *}
[[ $found == "$sha256" ]] || fail "$archive has the sha256 $found, and $sha256 was asked for: it is not what was packaged"

said=$("${as_owner[@]}" tar -xzf "$download" -C "$work" --no-same-owner 2>&1) ||
    fail "cannot unpack $archive into $parent: ${said//$'\n'/ } ($(df -Ph "$parent" | awk 'NR == 2 {print $4}') free)"
echo "$sha256" | "${as_owner[@]}" tee "$work/.sha256" >/dev/null || fail "cannot write into $work"
"${as_owner[@]}" chmod -R a+rX "$work" || fail "cannot make $work readable"
# A folder that is in the way is not one of ours, or not whole.
"${as_owner[@]}" rm -rf "$folder"
"${as_owner[@]}" mv -T "$work" "$folder" || fail "cannot write $folder"
echo "nightshift bootstrap: unpacked $archive into $folder"
