// Package oracle compares internal/agora with Agora's Node packages, which share no code with it:
// each must be able to read the tokens that the other builds. It runs by
// go test -tags programs ./test/oracle.
package oracle
