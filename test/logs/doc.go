// Package logs compares docs/operate/logs.md with the source: the page has each message that
// the service logs, with its level and keys, and no other message.
package logs
