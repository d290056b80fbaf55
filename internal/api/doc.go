// Package api serves plain HTTP: the classic token endpoints that Agora's UIKits and tutorials
// call, renewal for clients whose WebSocket is blocked, and the operators' endpoints. It handles
// paths, parameters, headers, the formats of answers, and which endpoint needs which credential.
// Other packages mint tokens, schedule renewals, and pass changes to other nodes.
//
// # Answers about other nodes
//
// A revocation takes effect on all nodes within a second, and the answer waits that long. It lists
// the live nodes that have not acted yet (waitingFor). If the store cannot be reached, the answer
// is 503, and its field "done" says what this node has done.
package api
