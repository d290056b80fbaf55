package ws

// deep is the stack that the handling of a message takes, and a little more.
const deep = 12 << 10

// growStack gives its goroutine a stack of 16 KiB at once, while there is little to copy. By
// itself a stack doubles again and again while a message is handled, and is copied each time.
//
//go:noinline
func growStack() byte {
	var room [deep]byte
	return room[one]
}

var one = 1 // so that room is not optimised away
