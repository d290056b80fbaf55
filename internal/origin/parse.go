package origin

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// address is an origin in normal form, so that two can be compared.
type address struct {
	scheme string // in lower case
	// host is in lower case and ASCII; an IPv6 address is in brackets. For schemes other than
	// http and https, host is everything after the scheme, unchanged.
	host string
	port string // of http and https only; the scheme's default if the origin has none
}

// defaultPorts are the ports that URLs leave out, by scheme. Other schemes have no port here.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

var errForm = errors.New("no origin")

// parse reads an origin: the value of an Origin header, or one that a setting
// spells out.
func parse(s string) (address, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	usual := defaultPorts[scheme]
	switch {
	case !ok || scheme == "" || scheme[0] < 'a' || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "":
		return address{}, errForm
	case usual != "":
		host, port, err := parseHost(rest)
		if port == "" {
			port = usual
		}
		return address{scheme, host, port}, err
	case strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/?#@*\`, r) }):
		return address{}, errForm
	}
	return address{scheme: scheme, host: rest}, nil
}

// parseHost reads a name or an IP address, and a port if there is one. Labels of a
// name may have stars in them.
func parseHost(s string) (host, port string, err error) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		number, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil {
			return "", "", errForm
		}
		host, port = s[:i], strconv.FormatUint(number, 10)
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || !strings.HasSuffix(literal, "]") {
			return "", "", errForm
		}
		return "[" + ip.String() + "]", port, nil
	}
	host, err = parseName(host)
	return host, port, err
}

// names converts as browsers do (UTS 46): to lower case, and to ASCII.
var names = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false), idna.VerifyDNSLength(true),
)

// maxName bounds a name as it comes, in bytes: the time to convert one grows with the square
// of its length, and DNS has none that is longer.
const maxName = 255

// parseName brings a host's name into ASCII; labels with stars have to be in ASCII
// already.
func parseName(s string) (string, error) {
	if len(s) > maxName || !utf8.ValidString(s) {
		return "", errForm
	}
	name, err := names.ToASCII(s)
	if err != nil || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._*") != "" {
		return "", errForm
	}
	for label := range strings.SplitSeq(name, ".") {
		if strings.HasPrefix(label, "xn--") && strings.Contains(label, "*") {
			return "", errForm
		}
	}
	return name, nil
}
