package bench

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
)

// child is another process of this test binary. It says "ready" when it has begun,
// and after each order that it was given; it ends when its input does.
type child struct {
	b      *testing.B
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// start runs a child and waits until it is ready.
func start(b *testing.B, env, order string) *child {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+order)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &child{b: b, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	c.ready()
	return c
}

func (c *child) ready() {
	c.b.Helper()
	if line, err := c.stdout.ReadString('\n'); line != "ready\n" {
		c.b.Fatalf("%q, %v", line, err)
	}
}

// order gives the child an order and waits until it was carried out.
func (c *child) order(text string) {
	c.b.Helper()
	if _, err := io.WriteString(c.stdin, text+"\n"); err != nil {
		c.b.Fatal(err)
	}
	c.ready()
}

// end ends the child.
func (c *child) end() {
	c.b.Helper()
	_ = c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		c.b.Fatal(err)
	}
}
