#!/usr/bin/env bash
# Runs go generate and fails if it changed, added or removed a file. The files
# are left as generated, ready to be committed.
set -euo pipefail
cd "$(dirname "$0")/.."

snapshot() {
	git ls-files -z --cached --others --exclude-standard --deduplicate |
		while IFS= read -r -d '' file; do
			if [[ -f $file ]]; then sha256sum -- "$file"; fi
		done
}

before=$(snapshot)
go generate ./...
after=$(snapshot)

if [[ $before != "$after" ]]; then
	echo "scripts/check-generated.sh: go generate changed these files; commit them:" >&2
	diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2
	exit 1
fi
