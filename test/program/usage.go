package program

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// CPU returns the processor time that a process has used, in user and kernel mode. Linux
// counts it in steps of 10 ms.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets, which may contain spaces. utime and stime are the fields 14
	// and 15.
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system int64
	if fields := strings.Fields(rest); len(fields) > 12 {
		_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, err // USER_HZ, the number of steps in a second, is 100 on all of Linux's platforms
}

// Resident returns the resident memory of a process in bytes.
func Resident(pid int) (int64, error) {
	return kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

// Slab returns the memory of the kernel's slab allocator in bytes, for the whole machine. It
// includes sockets.
func Slab() (int64, error) { return kilobytes("/proc/meminfo", "Slab:") }

// kilobytes reads a line such as "VmRSS:  123 kB" of a file, and returns bytes.
func kilobytes(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), name)
	var kb int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kb); err != nil {
		return 0, fmt.Errorf("%s has no %s: %w", file, name, err)
	}
	return kb << 10, nil
}
