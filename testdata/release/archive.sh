#!/usr/bin/env bash
# One archive of a release: archive.sh OS ARCHITECTURE VERSION FOLDER makes FOLDER/logobeam-VERSION-OS-ARCHITECTURE.tar.gz with the
# program, its README and guides, pages for man, and the licences of all that is linked in. The same commit gives the same bytes.
set -euo pipefail
export GOOS=$1 GOARCH=$2 LC_ALL=C SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
name=logobeam-$3-$1-$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
to=$folder/$name
mkdir -p "$to/cmd/logobeam" "$to/testdata/docs" "$to/testdata/interop" "$4"
go build -trimpath -buildvcs=true -ldflags "-s -w" -o "$to/logobeam" ./cmd/logobeam
cp README.md ARCHITECTURE.md "$to/"
cp -R cmd/logobeam/docs "$to/cmd/logobeam/" # where the README's links lead, and the guides' on from there
cp testdata/docs/report.png "$to/testdata/docs/"
cp testdata/interop/features.sql testdata/interop/features.py "$to/testdata/interop/"
cp -R testdata/experiments "$to/testdata/"
cp -R out/man "$to/man"

# A module without a licence is not to be given away, so it is an error.
list='{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}'
{
  printf 'What is linked into logobeam, with the licences it is given under.\n\n== Go %s\n\n' "$(go env GOVERSION)"
  cat "$(go env GOROOT)/LICENSE"
  go list -deps -f "$list" ./cmd/logobeam | sort -u | while read -r path version dir; do
    printf '\n== %s %s\n\n' "$path" "$version"
    licences=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'unlicen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
    test -n "$licences" || { echo "$path has no licence" >&2; exit 1; }
    tr '\n' '\0' <<<"$licences" | xargs -0 cat
  done
} > "$to/LICENCES"

find "$to" -type d -exec chmod 755 {} +
find "$to" -type f -exec chmod 644 {} +
chmod 755 "$to/logobeam"
tar --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$folder" -cf - "$name" | gzip -9n > "$4/$name.tar.gz"
