// Package app puts the service together: it reads no flags and holds no rules,
// but makes every part, hands each to those that need it, starts them, and
// stops them in the reverse order.
package app
