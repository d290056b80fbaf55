package origin

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// policy is a set of allowed origins. The zero value allows the service's own origin
// only. It is immutable.
type policy struct {
	any       bool
	allowed   []pattern
	localOnly bool // the service's own origin is allowed only under a loopback name
}

// pattern is an origin that a setting allows. Stars in its host stand for any
// letters of one label. No scheme is http and https; no port is that of the scheme.
type pattern address

// newPolicy reads settings: "https://app.example.com", "app.example.com" for http
// and https, "*.example.com" for any one subdomain, "capacitor://localhost" and the
// like for apps, exactly as they are spelled, and "*" for every page.
func newPolicy(settings []string) (policy, error) {
	var p policy
	for _, s := range settings {
		s = strings.TrimSpace(s)
		if s == "*" {
			p.any = true
			continue
		}
		allowed, err := parsePattern(s)
		if err != nil {
			return policy{}, fmt.Errorf("allowed-origins: %q: %w", s, err)
		}
		p.allowed = append(p.allowed, allowed)
	}
	return p, nil
}

// parsePattern reads one setting. Its errors say what to write.
func parsePattern(s string) (pattern, error) {
	scheme, rest, spelled := strings.Cut(s, "://")
	switch scheme = strings.ToLower(scheme); {
	case strings.EqualFold(s, "null"):
		return pattern{}, errors.New(`every sandboxed frame and many local files send it, so it would allow any page; give the app's page an origin of its own, or write "*" to allow any page`)
	case spelled && (scheme == "ws" || scheme == "wss" || scheme == "ftp"):
		return pattern{}, errors.New("no page has such an origin; want the page's own address, not the service's, such as https://app.example.com")
	}
	var a address
	var err error
	if spelled {
		a, err = parse(scheme + "://" + strings.TrimSuffix(rest, "/"))
	} else {
		a.host, a.port, err = parseHost(strings.TrimSuffix(s, "/"))
	}
	switch {
	case err == nil && a.host != "*":
		return pattern(a), nil
	case s == "":
		return pattern{}, errors.New("is empty; want no comma at the begin or end, and no two in a row")
	case spelled && defaultPorts[scheme] != "" && strings.Contains(strings.TrimSuffix(rest, "/"), "/"):
		return pattern{}, errors.New("has a path; want scheme, host and port alone, such as https://app.example.com")
	case spelled && scheme != "" && defaultPorts[scheme] == "":
		return pattern{}, errors.New("want it spelled out as the app sends it, without a path or a star, such as capacitor://localhost")
	default:
		return pattern{}, errors.New(`want a form like "https://app.example.com", "*.example.com" or "*"`)
	}
}

// allows reports whether a page from origin, the value of an Origin header, may talk
// to this service, which was addressed as host. An empty origin is not a page:
// browsers always send one.
func (p *policy) allows(origin, host string) bool {
	if origin == "" || p.any {
		return true
	}
	a, err := parse(origin)
	if err != nil {
		return false // among others "null"
	}
	return p.isOwn(&a, host) || slices.ContainsFunc(p.allowed, func(p pattern) bool { return p.matches(&a) })
}

// isOwn reports whether a is the origin of the service itself, which was addressed as host.
// Its scheme does not count: behind a proxy the service does not know which one the client
// used.
func (p *policy) isOwn(a *address, host string) bool {
	if p.localOnly && !AddressesLoopback(host) {
		return false
	}
	var own pattern
	var err error
	own.host, own.port, err = parseHost(host)
	return err == nil && !strings.Contains(own.host, "*") && own.matches(a)
}

func (p *pattern) matches(a *address) bool {
	usual := defaultPorts[a.scheme]
	switch {
	case p.scheme != a.scheme && (p.scheme != "" || usual == ""):
		return false
	case p.port != a.port && (p.port != "" || a.port != usual):
		return false
	case p.host == a.host:
		return true
	case usual == "": // only what was spelled out
		return false
	default: // label by label, so that a star stays within one
		ok, err := path.Match(strings.ReplaceAll(p.host, ".", "/"), strings.ReplaceAll(a.host, ".", "/"))
		return err == nil && ok
	}
}
