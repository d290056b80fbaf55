#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a release: scripts/release-notes.sh v1.2.3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# != 1)); then
	echo "usage: scripts/release-notes.sh VERSION" >&2
	exit 2
fi
notes=$(awk -v heading="## [${1#v}] - " '
	index($0, heading) == 1 { inside = 1; next }
	/^## / || /^\[[^]]*\]: / { inside = 0 }
	inside' CHANGELOG.md)
if [[ -z ${notes//[[:space:]]/} ]]; then
	echo "scripts/release-notes.sh: CHANGELOG.md has no section of ${1#v}, or nothing in it" >&2
	exit 1
fi
printf '%s\n' "$notes" | sed '/./,$!d'
