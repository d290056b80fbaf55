// Package logs holds docs/operate/logs.md against the source: each message that the
// service logs stands there, with its level and its keys, and nothing else does.
package logs
