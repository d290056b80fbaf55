// Package app wires the service together: it makes all parts, passes them to each other, starts
// them, and stops them in reverse order. It reads no flags and has no rules of its own.
package app
