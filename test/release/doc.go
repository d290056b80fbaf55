// Package release holds what a release is made of against what it should be: the
// changelog's form, the configuration of GoReleaser, builds that can be repeated
// to the byte, bills of materials that say what is in a binary, and the script that
// renames the modules.
//
// testdata/goreleaser.schema.json is what `goreleaser jsonschema` of GoReleaser
// 2.16.0 (MIT License) prints. To compile its own strict reader takes longer than
// the rest of these tests.
package release
