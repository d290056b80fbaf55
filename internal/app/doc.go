// Package app wires the service together: it makes all parts, passes them to each other, starts
// them, and stops them in reverse order. It does not read flags.
package app
