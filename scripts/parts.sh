#!/usr/bin/env bash
# Runs the tests of a package under the race detector, each in a process of its own:
# scripts/parts.sh PACKAGE
# The detector crashes in bubbles of testing/synctest (golang/go#78156), the more
# often the more hours were simulated in a process, by SIGSEGV on a thread that runs
# no Go code. A test that it crashes in all the same, without having found anything,
# is run again without it, and said so.
set -euo pipefail
cd "$(dirname "$0")/.."

package=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go test -race -c -o "$work/race.test" "$package"
cd "$(go list -f '{{.Dir}}' "$package")"
mapfile -t tests < <("$work/race.test" -test.list '^Test')
if ((${#tests[@]} == 0)); then
	echo "scripts/parts.sh: $package has no tests" >&2
	exit 1
fi
for test in "${tests[@]}"; do
	if "$work/race.test" -test.run "^$test\$" -test.timeout 5m >"$work/log" 2>&1; then
		continue
	fi
	if ! grep -q -e '^SIGSEGV' -e '^FATAL: ThreadSanitizer' "$work/log" || grep -q -e 'DATA RACE' -e '--- FAIL' "$work/log"; then
		cat "$work/log"
		echo "FAIL $package $test"
		exit 1
	fi
	echo "the race detector crashed in $test; running it without"
	go test -count 1 -timeout 5m -run "^$test\$" .
done
echo "ok   $package, ${#tests[@]} tests"
