#!/usr/bin/env bash
# Runs the tests of a package under the race detector, some at a time, each part in
# a process of its own: scripts/parts.sh PACKAGE TESTS_EACH
# What the detector remembers of each stack is never let go, and thousands of whole
# services in one process outgrow it: it crashes, without a race.
set -euo pipefail
cd "$(dirname "$0")/.."

package=$1
each=$2
binary=$(mktemp -d)/parts.test
trap 'rm -rf "$(dirname "$binary")"' EXIT

go test -race -c -o "$binary" "$package"
cd "$package"
mapfile -t tests < <("$binary" -test.list '^Test')
if ((${#tests[@]} == 0)); then
	echo "scripts/parts.sh: $package has no tests" >&2
	exit 1
fi
for ((from = 0; from < ${#tests[@]}; from += each)); do
	part=("${tests[@]:from:each}")
	pattern=$(IFS='|' && echo "^(${part[*]})\$")
	printf '%s, tests %d to %d of %d: ' "$package" "$((from + 1))" "$((from + ${#part[@]}))" "${#tests[@]}"
	"$binary" -test.run "$pattern" -test.shuffle on -test.timeout 5m | grep -v '^-test.shuffle' | tail -n 200
done
