package agora

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"refresher/internal/session"
)

// Explain reports in words why Agora would refuse text as a token for the given use, or why a call with it would not
// work as expected. The argument text may be anything, since apps often pass something other than a token to an SDK.
// The signature is checked with each certificate, the current one first. Explain never panics. Apart from one pass over
// text, the time that Explain takes and the length of its report are bounded.
func Explain(text string, use Use, certificates []string, now time.Time) Report {
	e := examination{use: use, now: session.SecOf(now)}
	for _, c := range certificates {
		if c != "" {
			e.certificates = append(e.certificates, c)
		}
	}
	t := e.read(text)
	if t != nil {
		e.examine(t)
	}
	rank := []string{SeverityError, SeverityWarning, SeverityInfo}
	slices.SortStableFunc(e.findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(rank, a.Severity), slices.Index(rank, b.Severity))
	})
	return Report{Token: t, Findings: e.findings}
}

// examination collects the findings about one text.
type examination struct {
	use          Use
	certificates []string
	now          session.UnixSec
	findings     []Finding
}

func (e *examination) add(severity, code, format string, args ...any) {
	e.findings = append(e.findings, Finding{Code: code, Severity: severity, Text: fmt.Sprintf(format, args...)})
}

func (e *examination) fail(code, format string, args ...any) {
	e.add(SeverityError, code, format, args...)
}

func (e *examination) warn(code, format string, args ...any) {
	e.add(SeverityWarning, code, format, args...)
}

func (e *examination) info(code, format string, args ...any) {
	e.add(SeverityInfo, code, format, args...)
}

func (e *examination) failed() bool {
	return slices.ContainsFunc(e.findings, func(f Finding) bool { return f.Severity == SeverityError })
}

// staticKey is the error that Agora's SDKs report to a client that joins without a token.
const staticKey = `110 in native SDKs, "CAN_NOT_GET_GATEWAY_SERVER: dynamic use static key" on the web: the project has an App Certificate and so wants a token, but `

// read parses text. If text is not a token, read returns nil and adds a finding that says what the text may be.
func (e *examination) read(text string) *Token {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		e.fail(FindingStaticKey, "%s", staticKey+"there is none: the client joins by App ID alone")
		return nil
	case len(trimmed) > maxTokenLength:
		e.fail(FindingTooLong, "%d characters long: the web SDK takes %d at most", len(trimmed), maxTokenLength)
		return nil
	case checkHex(trimmed) == nil:
		e.readHex(trimmed)
		return nil
	case trimmed != text:
		e.fail(FindingWhiteSpace, "110 invalid token: white space or a line break stands around it, and SDKs do not remove it")
	}
	t, err := Parse(trimmed)
	if err == nil {
		return t
	}
	reason := err.Error()
	if refusal := new(session.Error); errors.As(err, &refusal) {
		reason = strings.TrimPrefix(refusal.Message, "token: ")
	}
	if strings.HasPrefix(reason, "service type ") {
		e.warn(FindingUnreadable, "opens a service that is not known here, so that nothing can be said of it: %s", reason)
		return nil
	}
	e.fail(FindingNotAToken, "110 invalid token: %s%s", reason, hint(trimmed))
	return nil
}

// readHex adds a finding for a text of 32 hex digits: an App ID or an App Certificate.
func (e *examination) readHex(text string) {
	for _, c := range e.certificates {
		if subtle.ConstantTimeCompare([]byte(text), []byte(c)) == 1 {
			e.fail(FindingCertificate, "110 invalid token: this is the App Certificate, which signs tokens and is secret; if a client had it, replace it in Agora's console")
			return
		}
	}
	what := "this is an App ID (or an App Certificate, which would be secret)"
	if strings.EqualFold(text, e.use.AppID) {
		what = "this is its App ID"
	}
	e.fail(FindingStaticKey, "%s", staticKey+what+"; the token is what a token server answers")
}

// hint returns a guess at why a text is not a valid token, or an empty string.
func hint(text string) string {
	lower := strings.ToLower(text)
	is := func(words ...string) bool { return slices.Contains(words, lower) }
	begins := func(prefix string) bool { return strings.HasPrefix(lower, prefix) }
	switch {
	case is("null", "undefined", "nil", "none", "nan", "[object object]", "[object promise]"):
		return ": a program's word for nothing, or for what it did not wait for"
	case begins("eyj"):
		return ": this is a JSON Web Token, such as services ask of their own clients, and no token of Agora's"
	case begins("bearer "):
		return ": give it without the word Bearer"
	case begins("{"), begins(`"`), begins("'"):
		return ": give the token alone, without quotes or the JSON around it"
	case begins("http:"), begins("https:"):
		return ": this is the address of a token server, or of a page"
	case strings.Contains(text, "%"):
		return ": it holds %, so it is still URL-encoded"
	case strings.ContainsAny(text, " \t\r\n"):
		return ": it holds white space; + becomes a space where a URL is decoded that was never encoded"
	case (begins("006") || begins("007")) && strings.ContainsAny(text, "-_"):
		return ": it holds - or _, which are of the URL-safe alphabet; want + and /"
	case begins("006"), begins("007"):
		return ": a part may be missing, as when it is cut or copied by hand"
	}
	return ""
}

// examine adds the findings about a token that could be parsed.
func (e *examination) examine(t *Token) {
	ours := true
	if e.use.AppID != "" && t.AppID != e.use.AppID {
		ours = false
		note := ""
		if strings.EqualFold(t.AppID, e.use.AppID) {
			note = ": they differ in case alone, but it is signed as written"
		}
		e.fail(FindingAppID, "101 invalid App ID in a join, 110 invalid token in a renewal: it is for App ID %s, not %s%s", t.AppID, cut(e.use.AppID), note)
	}
	s := e.service(t)
	if s == nil {
		return
	}
	if s.Type == ServiceRTM && e.use.Channel != "" {
		e.streams(t)
	}
	holder, known := e.names(t, s)
	if ours && known {
		e.signature(t, holder)
	}
	e.times(t, s)
}

// service returns the service of t that the client wants to use. If t lacks that service, the result is nil and there
// is a new finding.
func (e *examination) service(t *Token) *Service {
	want := e.use.Service
	if want == 0 && e.use.Channel != "" {
		want = ServiceRTC
	}
	var names []string
	for i := range t.Services {
		s := &t.Services[i]
		if want == 0 || s.Type == want {
			return s
		}
		names = append(names, s.Type.String())
	}
	switch {
	case len(names) > 0:
		number := ""
		if want == ServiceRTC {
			number = "110 invalid token: "
		}
		e.fail(FindingService, "%sit opens %s, not %s", number, strings.Join(slices.Compact(names), ", "), want)
	default:
		e.fail(FindingService, "110 invalid token: it opens no service at all")
	}
	return nil
}

// streams adds a finding if an RTM token cannot enter the stream channels of the wanted channel.
// To enter them, the token also needs the RTC service.
func (e *examination) streams(t *Token) {
	i := slices.IndexFunc(t.Services, func(s Service) bool { return s.Type == ServiceRTC })
	switch {
	case i < 0:
		e.warn(FindingChannel, "it logs in to RTM, but opens no stream channel: it holds no RTC beside RTM")
	case t.Services[i].Channel != e.use.Channel && t.Services[i].Channel != "*":
		e.warn(FindingChannel, "it logs in to RTM, but opens stream channels of %q, not %q", cut(t.Services[i].Channel), cut(e.use.Channel))
	}
}

// signature checks the signature with each certificate and adds a finding about the result.
func (e *examination) signature(t *Token, holder Holder) {
	n := len(e.certificates)
	if n == 0 {
		e.info(FindingUnverified, "signature not checked: no App Certificate was given")
		return
	}
	for i, c := range e.certificates {
		if t.Verify(c, holder) != nil {
			continue
		}
		note := ""
		if i > 0 {
			note = ": an older one, which Agora takes until it is deleted there"
		}
		e.info(FindingSigned, "signed with certificate %d of %d%s", i+1, n, note)
		return
	}
	e.fail(FindingSignature, "110 invalid token: signed with another certificate, or changed afterwards: the signature fits none of the %d given", n)
}

// cut shortens a long name from a token or a caller, so that a finding can quote it.
func cut(s string) string {
	const most = 80 // bytes
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
