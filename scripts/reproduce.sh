#!/usr/bin/env bash
# Builds a release's binary from a clone of its commit, in a temporary folder, and
# prints its SHA-256; with BINARY, fails unless that has the same bytes:
# scripts/reproduce.sh COMMIT GOOS GOARCH [BINARY]
# COMMIT is a tag or a commit of this repository, with all its tags fetched: the
# version in the binary comes from them. KEEP=file keeps what was built.
set -euo pipefail

if (($# < 3 || $# > 4)); then
	echo "usage: scripts/reproduce.sh COMMIT GOOS GOARCH [BINARY]" >&2
	exit 2
fi
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${4:+$(realpath -- "$4")}
keep=${KEEP:+$(realpath -- "$KEEP")}
commit=$(git -C "$repository" rev-parse --verify --end-of-options "$1^{commit}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The demo's files become part of the binary, so their line ends count.
git clone --quiet --no-checkout --config core.autocrlf=false --config core.eol=lf "$repository" "$work/source"
cd "$work/source"
git -c advice.detachedHead=false checkout --quiet "$commit"

# The settings of .goreleaser.yaml. The compiler is the one that go.mod names,
# and no setting of this machine counts, as they would change the bytes.
GOTOOLCHAIN=go$(awk '$1 == "go" { print $2; exit }' go.mod)
export GOTOOLCHAIN GOOS=$2 GOARCH=$3 GOWORK=off GOFLAGS=-buildvcs=true
export CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOFIPS140=off GOEXPERIMENT=
go build -trimpath -buildvcs=true -ldflags="-s -w" -o "$work/built" ./cmd/refresher

if [[ -n $keep ]]; then
	cp "$work/built" "$keep"
fi
sum=$(sha256sum <"$work/built" | cut -d' ' -f1)
echo "$sum  refresher $2/$3 of $commit"
if [[ -n $binary ]]; then
	theirs=$(sha256sum <"$binary" | cut -d' ' -f1)
	if [[ $sum != "$theirs" ]]; then
		echo "scripts/reproduce.sh: $4 has other bytes: $theirs" >&2
		exit 1
	fi
	echo "$4 has the same bytes"
fi
