package apptest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

// Request is an HTTP request to a node.
type Request struct{ Method, Path, Body string }

// Get is a GET request.
func Get(path string) Request { return Request{Method: http.MethodGet, Path: path} }

// Post is a POST request.
func Post(path, body string) Request { return Request{http.MethodPost, path, body} }

// Ask is a request with any method.
func Ask(method, path, body string) Request { return Request{method, path, body} }

func (r Request) String() string {
	if r.Method == "" {
		return "join"
	}
	return strings.TrimSpace(r.Method + " " + r.Path + " " + r.Body)
}

// Classic returns requests to those endpoints of the classic token servers that take a user and a channel. The
// parameter `kind` is "uid" or "userAccount".
func Classic(channel, user, kind string) []Request {
	return []Request{
		Get(fmt.Sprintf("/rtc/%s/publisher/%s/%s", channel, kind, user)),
		Get(fmt.Sprintf("/rtc/%s/subscriber/%s/%s/?expiry=60", channel, kind, user)),
		Get(fmt.Sprintf("/rte/%s/publisher/%s/%s", channel, kind, user)),
		Get(fmt.Sprintf("/rte/%s/publisher/%s/%s/%s", channel, kind, user, user)),
		Post("/getToken", fmt.Sprintf(`{"tokenType":"rtc","channel":%q,"role":"publisher","uid":%q}`, channel, user)),
		Post("/fetch_rtc_token_string", fmt.Sprintf(`{"uid":%q,"ChannelName":%q}`, user, channel)),
		Get(fmt.Sprintf("/access_token?channelName=%s&uid=%s", channel, user)),
		Get(fmt.Sprintf("/rtcToken?channelName=%s&uid=%s", channel, user)),
	}
}

// Named returns requests to those endpoints of the classic token servers that take a user and no channel.
func Named(user string) []Request {
	return []Request{
		Get("/rtm/" + user),
		Get("/chat/account/" + user),
		Get("/chat/user/" + user + "/token"),
		Get("/rtmToken?account=" + user),
		Post("/fetch_rtm_token", fmt.Sprintf(`{"uid":%q}`, user)),
		Post("/getToken", fmt.Sprintf(`{"tokenType":"rtm","uid":%q}`, user)),
		Post("/getToken", fmt.Sprintf(`{"tokenType":"chat","uid":%q}`, user)),
	}
}

// FetchRTC returns a request for a publisher's RTC token for a uid.
func FetchRTC(channel string, uid int) Request {
	return Post("/fetch_rtc_token", fmt.Sprintf(`{"uid":%d,"ChannelName":%q,"role":1}`, uid, channel))
}

// AllClassic returns the requests of Classic and Named, and a POST to /fetch_rtc_token.
func AllClassic(channel, uid, user string) []Request {
	return append(append(Classic(channel, uid, "uid"), Named(user)...), Post("/fetch_rtc_token", fmt.Sprintf(`{"uid":%s,"ChannelName":%q,"role":1}`, uid, channel)))
}

// Way is a way to request tokens: a Join, Resume, Renew, or a Request.
type Way interface {
	try(s *Cluster, node int, credential string, l *Line) Outcome
}

// Ways returns the requests of all lists, in order, as values of type Way.
func Ways(lists ...[]Request) (all []Way) {
	for _, r := range slices.Concat(lists...) {
		all = append(all, r)
	}
	return all
}

// Join is the Way to join a session for these services, such as `"rtm":{"userId":"u"}`.
type Join string

func (j Join) String() string { return "join " + string(j) }

func (j Join) try(s *Cluster, node int, credential string, _ *Line) Outcome {
	return s.greet(node, JoinMessage(credential, string(j)))
}

// JoinRTC returns a join of an RTC channel as a publisher.
func JoinRTC(channel string, uid int) Join {
	return Join(fmt.Sprintf(`"rtc":{"channel":%q,"uid":%d,"role":"publisher"}`, channel, uid))
}

// Resume is the Way to resume the session of a Line. Renew is the Way to renew the session over HTTP.
const (
	Resume = comeBack("resume")
	Renew  = comeBack("renew")
)

type comeBack string

func (b comeBack) try(s *Cluster, node int, _ string, l *Line) Outcome {
	if b == Resume {
		return s.greet(node, l.ResumeMessage())
	}
	answer, _ := s.Ask(node, l.Key, http.MethodPost, "/v1/sessions/"+l.Session+"/renew", "")
	return HTTPOutcome(answer)
}

func (r Request) try(s *Cluster, node int, credential string, _ *Line) Outcome {
	answer, _ := s.Ask(node, credential, r.Method, r.Path, r.Body)
	return HTTPOutcome(answer)
}

// Outcome is the result of a request for tokens.
type Outcome struct {
	Status int                // HTTP status; 200 if a WebSocket opened a session
	Code   string             // the error's code, or the reason of the session's end
	Close  protocol.CloseCode // close code of the connection
	Later  bool               // the answer says when to retry
}

// OK is the outcome of a request that was granted.
var OK = Outcome{Status: http.StatusOK}

// Revoked reports that the session was ended by a revocation or an operator.
func (o Outcome) Revoked() bool {
	return o == Outcome{Code: "revoked", Close: protocol.CloseEnded} || o == Outcome{Status: http.StatusGone}
}

// Refused reports that the request was refused permanently.
func (o Outcome) Refused() bool {
	return o.Revoked() || o == Outcome{Code: "forbidden", Close: protocol.CloseForbidden} || o == Outcome{Status: http.StatusForbidden}
}

// HTTPOutcome returns the status of an HTTP answer, and whether the answer asks the client to retry later.
func HTTPOutcome(answer Reply) Outcome {
	return Outcome{Status: answer.StatusCode, Later: answer.Header.Get("Retry-After") != ""}
}

func (s *Cluster) greet(node int, greeting string) (came Outcome) {
	s.T.Helper()
	l := s.Open(s.Nodes[node].Address, greeting)
	defer l.HangUp()
	for {
		switch got := l.Next(); got.Type {
		case protocol.TypeJoined:
			_ = l.Socket.Write(s.Ctx, websocket.MessageText, []byte(`{"type":"leave"}`))
			l.Await(protocol.TypeEnded)
			return OK
		case "":
			came.Close = protocol.CloseCode(got.CloseCode)
			return came
		case protocol.TypeReconnect:
			if got.AfterMs <= 0 {
				s.T.Errorf("sent away without a time: %+v", got)
			}
			came.Later = true
		default:
			came.Code = strings.TrimSpace(came.Code + " " + cmp.Or(got.Code, got.Reason))
		}
	}
}

// Try requests tokens from a node.
func (s *Cluster) Try(node int, credential string, l *Line, way Way) Outcome {
	s.T.Helper()
	return way.try(s, node, credential, l)
}

// Refusals tries the ways on the nodes in turn, and checks that each attempt is refused permanently. The argument
// `times` is the number of attempts; with go test -short each way is tried once on each node.
func (s *Cluster) Refusals(times int, credential string, l *Line, ways []Way) {
	s.T.Helper()
	if testing.Short() {
		times = min(times, len(s.Nodes)*len(ways))
	}
	tries := make(map[Outcome]int)
	for n := range times {
		way := ways[n/len(s.Nodes)%len(ways)]
		got := s.Try(n%len(s.Nodes), credential, l, way)
		tries[got]++
		if !got.Refused() {
			s.T.Errorf("%v on node %d: %+v", way, n%len(s.Nodes), got)
		}
	}
	s.T.Logf("%d attempts by %d ways: %v", times, len(ways), tries)
}

// AllOK checks that all ways succeed on all nodes.
func (s *Cluster) AllOK(credential string, ways []Way) {
	s.T.Helper()
	for i := range s.Nodes {
		for _, way := range ways {
			if got := s.Try(i, credential, nil, way); got != OK {
				s.T.Errorf("%v on node %d: %+v", way, i, got)
			}
		}
	}
}
