package origin

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// address is an origin in normal form: two texts of one origin give equal addresses.
type address struct {
	scheme string
	// host is in lower-case ASCII; an IPv6 address is in brackets. For schemes other than http and https, the host
	// is everything after the scheme, unchanged.
	host string
	// port is the port of an http or https origin; it is the scheme's default if the origin names no port.
	port string
}

// defaultPorts are the ports that URLs omit, by scheme.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

var errForm = errors.New("no origin")

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

// parseHost parses a host name or IP address with an optional port. Labels of a name may contain stars.
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

// names converts host names to lower case and ASCII, as browsers do (UTS 46).
var names = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false), idna.VerifyDNSLength(true),
)

// maxName is the maximum length of a host name, in bytes. DNS allows no longer name, and the time that a conversion
// takes grows with the square of the length.
const maxName = 255

// parseName converts a host name to ASCII. A name with stars must already be in ASCII.
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
