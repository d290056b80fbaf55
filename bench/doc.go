// Package bench measures refresher beside what one would build in its place, in one
// run on one machine: ratios carry over to other machines, figures do not. It is a
// module of its own, so that the peers are no dependencies of the product.
//
//	go -C bench test -run '^$' -bench . -benchtime 1x -count 5
//
// # What is compared
//
//   - BenchmarkIdleConnection: the memory that an open call takes, beside a connection
//     of the WebSocket library as it comes, and one of centrifuge, the library that
//     Centrifugo is made of.
//   - BenchmarkRenewal: the processor time of one renewal that the client asks for,
//     the kernel's included, beside centrifuge pushing the same tokens, with ours and
//     with those of Agora's Go builder, and beside a token server on net/http, as
//     tutorials have it, which is polled over a kept connection.
//   - BenchmarkSchedule: what renewals cost the node and Redis when they fall due by
//     themselves, and how late they are, beside asynq, the task queue on Redis.
//
// # How it is fair
//
// Clients are in another process, which writes frames that were made before, so that
// they cost little and the same everywhere. Where a peer does less, it is left so:
// centrifuge and net/http keep no schedule here and repeat nothing; asynq pushes
// nothing to anybody. Peers run with their defaults, except where the name of the
// benchmark says otherwise, and without compression, as we do.
package bench
