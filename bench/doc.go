// Package bench measures refresher beside servers that one could build instead, in one run on
// one machine: ratios carry over to other machines, absolute figures do not. It is a module of
// its own, so that the peers are no dependencies of the product.
//
//	make bench-peers
//
// docs/understand/performance.md explains the measurements and has the results. The variable servers
// lists the servers, with the measurements of each; to add a peer, add a value.
//
//   - measuring_test.go has the measures, such as connections, refusals, renewals by schedule.
//   - clients_test.go is the client of every server: one thread around epoll, frames without
//     a real mask, so that clients cost little and the same everywhere.
//   - process_test.go runs servers, pins them to a core, and reads their processor time and memory.
//   - control_test.go, libraries_test.go, asynq_test.go and classic_test.go are the peers.
//   - table_test.go has the goals, and prints the table.
//
// Everything needs Linux: epoll, /proc, the processor clock of another process.
//
//	go -C bench test -short -run '^$' -bench . -benchtime 1x                               # whether it works
//	go -C bench test -run '^$' -bench 'Peers/1/(control|refresher)$/calls' -benchtime 1x   # some rows, one round
package bench
