package origin

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// policy is an immutable set of allowed origins. The zero value allows only the service's own origin.
type policy struct {
	any       bool
	allowed   []pattern
	localOnly bool // the service's own origin is allowed only if its host is a loopback name
}

// pattern is an allowed origin from a setting. A star in its host matches any characters within one label.
// Without a scheme it matches http and https; without a port it matches the scheme's default port.
type pattern address

// newPolicy parses the settings. Examples: "https://app.example.com"; "app.example.com" for http and https;
// "*.example.com" for any one subdomain; "capacitor://localhost" for an app, which must match exactly; "*"
// for every page.
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

// parsePattern parses one setting. Its errors show a correct form.
func parsePattern(s string) (pattern, error) {
	scheme, rest, spelled := strings.Cut(s, "://")
	switch scheme = strings.ToLower(scheme); {
	case strings.EqualFold(s, "null"):
		return pattern{}, errors.New(`sandboxed frames and local files of any page send it, so it would allow any page; serve the app's page from an origin of its own, or write "*" to allow any page`)
	case spelled && (scheme == "ws" || scheme == "wss" || scheme == "ftp"):
		return pattern{}, errors.New("this is not the origin of a page; want the address of the page, not of the service, such as https://app.example.com")
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
		return pattern{}, errors.New("want the exact origin that the app sends, without a path or a star, such as capacitor://localhost")
	default:
		return pattern{}, errors.New(`want a value such as "https://app.example.com", "*.example.com" or "*"`)
	}
}

// allows reports whether a web page may use this service. The parameter `origin` is the value of the Origin header;
// `host` is the value of the Host header. An empty origin is allowed: browsers always send an origin, so the client is
// not a web page.
func (p *policy) allows(origin, host string) bool {
	if origin == "" || p.any {
		return true
	}
	a, err := parse(origin)
	if err != nil {
		return false // an opaque origin, such as "null", is not allowed
	}
	return p.isOwn(&a, host) || slices.ContainsFunc(p.allowed, func(p pattern) bool { return p.matches(&a) })
}

// isOwn reports whether an address is the service's own origin. The parameter `host` is the value of the Host header. The
// scheme is ignored: behind a proxy, the service does not know which scheme the client used.
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
	case usual == "": // origins of apps, such as capacitor://localhost, must match exactly
		return false
	default: // path.Match compares label by label, since a star must match only within one label
		ok, err := path.Match(strings.ReplaceAll(p.host, ".", "/"), strings.ReplaceAll(a.host, ".", "/"))
		return err == nil && ok
	}
}
