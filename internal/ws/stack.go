package ws

// deep is a little more stack, in bytes, than the handling of a message needs.
const deep = 12 << 10

// growStack grows the goroutine's stack to 16 KiB in one step, while there is little to copy.
// Otherwise the runtime would double the stack, and copy it, several times during a message.
//
//go:noinline
func growStack() byte {
	var room [deep]byte
	return room[one]
}

var one = 1 // so that room is not optimised away
