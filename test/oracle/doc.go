// Package oracle holds internal/agora against Agora's Node packages, in both
// directions: a second opinion that shares no code with either Go side:
// go test -tags programs ./test/oracle.
package oracle
