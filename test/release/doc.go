// Package release tests the parts of a release: the form of the changelog, the configuration
// of GoReleaser, builds that are reproducible to the byte, bills of materials that list the
// contents of a binary, and the script that renames the modules.
// testdata/goreleaser.schema.json is the output of `goreleaser jsonschema` of GoReleaser
// 2.16.0 (MIT License). The tests use this schema, since compiling GoReleaser's own strict
// parser takes longer than all other tests of the package.
package release
