#!/usr/bin/env bash
# Runs the tests of packages under the race detector: scripts/race.sh [FLAGS] PACKAGES...
# The detector may crash in a bubble of testing/synctest, without having found
# anything (golang/go#78156). A package that it crashed in is run again, each test
# in a process of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# One package more at a time than there are processors: some wait for servers.
if go test -race -shuffle=on -p "$(($(nproc) + 1))" -timeout 5m "$@" 2>&1 | tee "$log"; then
	exit 0
fi
mapfile -t failed < <(awk -F '\t' '$1 == "FAIL" && $2 != "" { sub(" .*", "", $2); print $2 }' "$log")
crashes=$(grep -c -e '^SIGSEGV' -e '^\(FATAL: \)\?ThreadSanitizer' "$log" || true)
if ((${#failed[@]} == 0 || crashes < ${#failed[@]})) || grep -q -e 'DATA RACE' -e '--- FAIL' -e '^panic: ' "$log"; then
	exit 1
fi
for package in "${failed[@]}"; do
	echo "the race detector crashed in $package; running its tests one by one"
	scripts/parts.sh "$package"
done
