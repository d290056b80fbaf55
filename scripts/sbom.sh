#!/usr/bin/env bash
# Writes the CycloneDX bill of materials of a binary, from what the Go toolchain
# recorded in it: scripts/sbom.sh BINARY OUTPUT
# The same binary gives the same bytes: there is no serial number and no time.
set -euo pipefail

if (($# != 2)); then
	echo "usage: scripts/sbom.sh BINARY OUTPUT" >&2
	exit 2
fi
tool=${CYCLONEDX_GOMOD:-$(dirname "${BASH_SOURCE[0]}")/../.bin/cyclonedx-gomod}
if [[ ! -x $tool ]]; then
	echo "scripts/sbom.sh: $tool is missing; run make sbom" >&2
	exit 1
fi

# The tool does not read the version of the main module by itself. The header of
# a build without one has (devel).
version=$(go version -m "$1" | awk '$1 == "mod" { print $3; exit }')
if [[ -z $version ]]; then
	echo "scripts/sbom.sh: $1 does not say of which modules it was built" >&2
	exit 1
fi
"$tool" bin -json -std -noserial -notimestamp -version "$version" -output "$2" "$1"
