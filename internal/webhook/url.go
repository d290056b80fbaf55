package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// parseURL reads the URL that the flag of that name holds. Its errors repeat
// nothing of it, and neither the errors of net/url: any part may be a password
// that was not escaped.
func parseURL(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("%s: want a form like https://app.example.com/path; special characters in a user, password or query want %%-encoding", flag)
	case strings.Contains(text, "#"):
		return nil, errors.New(flag + ": want no fragment (#)")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errors.New(flag + ": want a port from 1 to 65535")
		}
	}
	return u, nil
}
