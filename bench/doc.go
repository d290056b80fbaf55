// Package bench compares refresher with servers that one could build instead ("peers"), in one run
// on one machine. The ratios also hold on other machines; the absolute figures do not. It is a
// module of its own, so that refresher does not depend on the peers.
//
//	make bench-peers
//
// docs/understand/performance.md explains the measurements and shows the results. The variable
// servers lists the servers, and the measurements of each. To add a peer, add an element to it.
//
//   - measuring_test.go has the measurements, such as connections, refusals, scheduled renewals.
//   - clients_test.go has the clients of all servers. They share one thread around epoll, and mask
//     frames with zeros, so that a client costs little, and the same for every server.
//   - process_test.go runs servers, pins them to a core, and reads their processor time and memory.
//   - control_test.go, libraries_test.go, asynq_test.go and classic_test.go have the peers.
//   - table_test.go has the goals, and prints the table.
//
// The package needs Linux for epoll, /proc, and the processor clock of another process.
//
//	go -C bench test -short -run '^$' -bench . -benchtime 1x                               # whether it works
//	go -C bench test -run '^$' -bench 'Peers/1/(control|refresher)$/calls' -benchtime 1x   # some rows, one round
package bench
