// Package api serves plain HTTP: the classic token endpoints that Agora's UIKits and tutorials
// call, renewal for clients whose WebSocket is blocked, and the operators' endpoints. It handles
// paths, parameters, headers, the formats of answers, and which endpoint needs which credential.
// Other packages mint tokens, schedule renewals, and pass changes to other nodes.
//
// # Answers about other nodes
//
// A revocation takes effect on all nodes within a second, and the answer to its request waits that long. The
// answer's field "waitingFor" lists the live nodes that have not ended the matching sessions yet. If the store
// cannot be reached, the answer has the status 503, and its field "done" says what this node has done.
package api
