package agora

import (
	"strings"

	accesstoken "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/AccessToken"

	"refresher/internal/session"
)

// These constants limit the work of Parse, since its input may come from anyone.
const (
	maxTokenLength = 2047 // in characters; Agora's web SDK refuses longer tokens
	maxContent     = 4096 // in bytes after inflation
	maxServices    = 16   // per token; more than there are service types, since Agora's Node builder may repeat a type
	maxPrivileges  = 64   // per service; Agora defines fewer than that
)

// login006 is the only privilege of RTM in 006; it distinguishes RTM tokens from RTC tokens.
const login006 = accesstoken.KLoginRtm

// Parse parses a token of either format. It does not check the signature; [Token.Verify] does.
// Parse is safe for untrusted input: it never panics, needs only some kilobytes of memory however
// large the inflated token would be, and refuses truncated tokens, trailing bytes, and services
// that Agora's Go module does not know. The error is a *session.Error with CodeBadRequest.
func Parse(token string) (*Token, error) {
	if len(token) > maxTokenLength {
		return nil, badToken("%d characters long; want %d at most", len(token), maxTokenLength)
	}
	if text, ok := strings.CutPrefix(token, string(V007)); ok {
		return parse007(text)
	}
	if text, ok := strings.CutPrefix(token, string(V006)); ok {
		return parse006(text)
	}
	return nil, badToken(`begins with neither "007" nor "006"; want one of them`)
}

func parse007(text string) (*Token, error) {
	stream, err := decodeBase64(text)
	if err != nil {
		return nil, err
	}
	content, err := inflate(stream)
	if err != nil {
		return nil, err
	}
	r := reader{rest: content}
	t := &Token{Version: V007, Services: []Service{}}
	t.signature = r.signature()
	t.signed = r.rest
	t.AppID = r.appID(int(r.uint16()))
	t.IssuedAt = session.UnixSec(r.uint32())
	t.ValidUntil = t.IssuedAt + session.UnixSec(r.uint32())
	t.Salt = r.uint32()
	count := int(r.uint16())
	if count > maxServices {
		r.fail("%d services; want %d at most", count, maxServices)
	}
	for len(t.Services) < count && r.err == nil {
		t.Services = append(t.Services, r.service(t.IssuedAt))
	}
	return t.finish(&r)
}

func parse006(text string) (*Token, error) {
	head := reader{rest: []byte(text)}
	t := &Token{Version: V006, AppID: head.appID(hexDigits)}
	if head.err != nil {
		return nil, head.err
	}
	content, err := decodeBase64(text[hexDigits:])
	if err != nil {
		return nil, err
	}
	r := reader{rest: content}
	t.signature = r.signature()
	t.Checksums = &Checksums{Channel: r.uint32(), User: r.uint32()}
	t.signed = r.bytes()
	if r.end(); r.err != nil {
		return nil, r.err
	}

	message := reader{rest: t.signed}
	t.Salt = message.uint32()
	t.ValidUntil = session.UnixSec(message.uint32())
	t.IssuedAt = t.ValidUntil - maxLifetime
	service := Service{Type: ServiceRTC, Privileges: message.privileges(0)}
	if p := service.Privileges; len(p) == 1 && p[0].ID == login006 {
		service.Type = ServiceRTM
	}
	t.Services = []Service{service}
	return t.finish(&message)
}

// service reads one service. The expiries of its privileges are relative to issuedAt.
func (r *reader) service(issuedAt session.UnixSec) Service {
	s := Service{Type: ServiceType(r.uint16())}
	switch s.Type {
	case ServiceRTC, ServiceRTM, ServiceFPA, ServiceChat, ServiceAPaaS:
		s.Privileges = r.privileges(issuedAt)
	default:
		r.fail("service type %d; want 1 (RTC), 2 (RTM), 4 (FPA), 5 (Chat) or 7 (APaaS)", uint16(s.Type))
	}
	switch s.Type {
	case ServiceRTC:
		s.Channel = r.string()
		s.User = r.string()
	case ServiceRTM, ServiceChat:
		s.User = r.string()
	case ServiceAPaaS:
		s.Room = r.string()
		s.User = r.string()
		s.Role = int16(r.uint16())
	case ServiceFPA: // FPA has no names
	}
	return s
}

// finish checks that r has read all of its input without an error, and computes the derived
// fields of t.
func (t *Token) finish(r *reader) (*Token, error) {
	if r.end(); r.err != nil {
		return nil, r.err
	}
	t.ExpiresAt = t.ValidUntil
	for i := range t.Services {
		s := &t.Services[i]
		for j := range s.Privileges {
			p := &s.Privileges[j]
			p.Name = privilegeName(s.Type, p.ID)
			if p.ExpiresAt != 0 {
				t.ExpiresAt = min(t.ExpiresAt, p.ExpiresAt)
			}
		}
	}
	return t, nil
}

func badToken(format string, args ...any) error {
	return session.Errorf(session.CodeBadRequest, "token: "+format, args...)
}
