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
one() { # binary package test
	local log="${1%/*}/$3.log"
	if "$1" -test.short -test.run "^$3\$" -test.timeout 5m >"$log" 2>&1; then
		return
	fi
	if ! grep -q -e '^SIGSEGV' -e '^\(FATAL: \)\?ThreadSanitizer' "$log" || grep -q -e 'DATA RACE' -e '--- FAIL' "$log"; then
		cat "$log"
		echo "FAIL $2 $3"
		return 1
	fi
	echo "the race detector crashed in $3; running it without"
	go test -count 1 -timeout 5m -run "^$3\$" .
}
export -f one
# More than there are processors: each test waits about half of its time.
printf '%s\n' "${tests[@]}" | xargs -P "$(($(nproc) + 1))" -I{} bash -c 'one "$@"' _ "$work/race.test" "$package" {}
echo "ok   $package, ${#tests[@]} tests"
