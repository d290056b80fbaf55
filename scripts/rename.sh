#!/usr/bin/env bash
# Sets the Go module path and the name of the npm package in every file of the repository:
#
#	scripts/rename.sh github.com/acme/refresher @acme/refresher-client
#
# The names before are those in go.mod and web/client/package.json.
set -euo pipefail
cd "$(dirname "$0")/.."

give_up() {
	echo "scripts/rename.sh: $1" >&2
	exit 1
}
(($# == 2)) || give_up "want a Go module path and the name of an npm package, such as github.com/acme/refresher @acme/refresher-client"
module=$1 package=$2
[[ $module =~ ^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._~-]+)+$ ]] || give_up "the Go module path is \"$module\"; want a host and a path, such as github.com/acme/refresher"
[[ $package =~ ^@[a-z0-9-]+/[a-z0-9._-]+$ ]] || give_up "the npm package is \"$package\"; want a scope and a name, such as @acme/refresher-client"

old_module=$(sed -n 's/^module //p' go.mod)
old_package=$(sed -n 's/^  "name": "\(.*\)",$/\1/p' web/client/package.json)

# replace PATTERN REPLACEMENT FILES...: PATTERN is one of Perl, and may use $old and $new.
replace() {
	local pattern=$1 replacement=$2
	shift 2
	local files=()
	while IFS= read -r -d '' file; do files+=("$file"); done < <(git ls-files -z --cached --others --exclude-standard -- "$@")
	OLD=$old_module NEW=$module OLD_PACKAGE=$old_package NEW_PACKAGE=$package perl -pi -e "s{$pattern}{$replacement}g" "${files[@]}"
}

# Packages of the module are named in quotes by imports, and by their folders in comments.
folders='(?:bench|client|cmd|internal|test|tools|web)\b'
replace "(?<![\\w.@/-])\\Q\$ENV{OLD}\\E(?=/$folders)" '$ENV{NEW}' '*.go' '*.md' go.mod '*/go.mod' .golangci.yml
replace '^(module |replace |\t)\Q$ENV{OLD}\E(?= |$)' '$1$ENV{NEW}' go.mod '*/go.mod'
replace '(module-path: |^\s+- |pkg: )\Q$ENV{OLD}\E(?=[,\s])' '$1$ENV{NEW}' .golangci.yml
replace '\Q$ENV{OLD_PACKAGE}\E' '$ENV{NEW_PACKAGE}' '*.md' '*.js' '*.json' '*.ts' '*.html'
