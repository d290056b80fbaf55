package ws

// deep is the number of bytes that growStack uses of the stack. The handling of a message needs a little less.
const deep = 12 << 10

// growStack grows the goroutine's stack to 16 KiB in one step, while the stack has little content to copy. Otherwise the
// runtime would double and copy the stack several times while a message is handled.
//
//go:noinline
func growStack() byte {
	var room [deep]byte
	return room[one]
}

var one = 1 // one is a variable, so that the compiler cannot remove growStack's array
