#!/usr/bin/env bash
# Runs each fuzz target whose name matches for a while, one after another:
# scripts/fuzz.sh REGEXP TIME
set -euo pipefail
cd "$(dirname "$0")/.."

pattern=$1
time=$2
ran=0

packages=$(go list ./...)
for package in $packages; do
	listed=$(go test -list '^Fuzz' "$package")
	for target in $(grep '^Fuzz' <<<"$listed" | grep -E -- "$pattern" || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
		ran=$((ran + 1))
	done
done

if ((ran == 0)); then
	echo "scripts/fuzz.sh: no fuzz target matches $pattern" >&2
	exit 1
fi
