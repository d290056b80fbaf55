package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// ownUser is the Redis user of this package. Its password need not be secret: only programs of this machine can reach
// the server, and the server ends with the test.
const (
	ownUser     = "redistest"
	ownPassword = "redistest"
)

// Do executes one command on the server and returns the reply as text: a number in decimal, a
// missing value as (nil), an array with one element on each line. An error fails the test.
// Every command has a connection of its own.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	text, err := s.Try(args...)
	if err != nil {
		s.t.Fatalf("redistest: %s: %s: %v", s.Addr(), strings.Join(args, " "), err)
	}
	return text
}

// Try is Do for a command that may fail.
func (s *Server) Try(args ...string) (string, error) {
	conn, replies, err := s.send(args...)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return decode(replies)
}

// send sends a command on a new connection, and returns a reader for its replies.
func (s *Server) send(args ...string) (net.Conn, *bufio.Reader, error) {
	if !s.answers() {
		return nil, nil, errors.New("the server is killed or paused")
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(lasting(s.t), "unix", s.socket())
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	replies := bufio.NewReader(conn)
	_, err = conn.Write(append(encode("AUTH", ownUser, ownPassword), encode(args...)...))
	if err == nil {
		_, err = decode(replies)
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("log in as %s: %w", ownUser, err)
	}
	s.own.Add(1)
	return conn, replies, nil
}

// encode returns a command in the format of RESP: an array of strings.
func encode(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}

const none = "(nil)"

type replyError string

func (e replyError) Error() string { return string(e) }

func decode(reader *bufio.Reader) (string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty line for a reply")
	}
	switch sort, rest := line[0], line[1:]; sort {
	case '+', ':':
		return rest, nil
	case '-':
		return "", replyError(rest)
	case '$':
		return decodeBulk(reader, rest)
	case '*':
		return decodeArray(reader, rest)
	default:
		return "", fmt.Errorf("not a reply: %q", line)
	}
}

func decodeBulk(reader *bufio.Reader, size string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	if n < 0 {
		return none, nil
	}
	var text strings.Builder
	if _, err := io.CopyN(&text, reader, int64(n)); err != nil {
		return "", err
	}
	if _, err := reader.Discard(len("\r\n")); err != nil {
		return "", err
	}
	return text.String(), nil
}

func decodeArray(reader *bufio.Reader, size string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	if n < 0 {
		return none, nil
	}
	var elements []string
	for range n {
		element, err := decode(reader)
		if refusal, ok := errors.AsType[replyError](err); ok {
			// an error inside an array, such as a result of EXEC
			element = "(error) " + refusal.Error()
		} else if err != nil {
			return "", err
		}
		elements = append(elements, element)
	}
	return strings.Join(elements, "\n"), nil
}
