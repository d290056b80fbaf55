package redis_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// garbage lists invalid values for a field of a record. The last one stands for removing
// the field.
var garbage = []string{
	"", "x", "-1", "0", "NaN", "9223372036854775807", "18446744073709551616", "4102444800000",
	apptest.OtherAppID, strings.Repeat("long ", 1000), "\x00\xff\u202e", "one two", removed,
}

const removed = "(removed)"

// spot is a place in a record: one word of a field of its hash, or the whole field.
type spot struct {
	field string
	word  int // index of the word in the field; -1 means the whole field
}

func spots() (all []spot) {
	for field, words := range map[string]int{"f": 8, "s": 4, "g": 4, "c": 0, "u": 0, "a": 0, "m": 0, "h": 0, "j": 0, "e": 0} {
		for word := -1; word < words; word++ {
			all = append(all, spot{field, word})
		}
	}
	return all
}

func (s spot) spoil(redis *redistest.Server, id, value string) {
	key := fmt.Sprintf("{refresher:%02d}:s:%s", store.ShardOf(id), id)
	if s.word >= 0 {
		words := strings.Split(redis.Do("HGET", key, s.field), " ")
		words[s.word] = value
		value = strings.Replace(strings.Join(words, " "), removed+" ", "", 1)
	}
	if value == removed {
		redis.Do("HDEL", key, s.field)
	} else {
		redis.Do("HSET", key, s.field, value)
	}
}

// TestGarbageInRecords writes garbage into every field of records. Some records are overdue, and a
// second node claims them when it starts. On the second node all sessions are listed, renewed over
// HTTP and resumed. Each resume has a clear outcome, and nothing panics.
func TestGarbageInRecords(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	shared := func(c *app.Config) { c.Redis.URL = redis.URL() }
	first := apptest.StartNode(t, shared)
	join := func() apptest.Ticket {
		ws := first.Dial()
		defer func() { _ = ws.CloseNow() }()
		ws.Send(`{"type":"join","rtc":{"channel":"c","uid":7,"role":"publisher"},"rtm":{"userId":"u"}}`)
		m := ws.Expect("joined")
		return apptest.Ticket{Session: m.Session, Key: m.Key}
	}
	type victim struct {
		apptest.Ticket
		spot
		value string
	}
	var victims []victim
	for _, at := range spots() {
		for _, value := range garbage {
			victims = append(victims, victim{join(), at, value})
		}
	}
	control := join() // a valid session, which is adopted last: its adoption shows that the node has examined all others
	for store.ShardOf(control.Session) != store.Shards-1 {
		control = join()
	}
	first.Stop()
	for i, v := range victims {
		if i%2 == 0 {
			redis.Do("ZADD", fmt.Sprintf("{refresher:%02d}:due", store.ShardOf(v.Session)), "1000", v.Session)
		}
		v.spoil(redis, v.Session, v.value)
	}
	redis.Do("ZADD", fmt.Sprintf("{refresher:%02d}:due", store.Shards-1), "2000", control.Session)
	redis.Do("ZADD", "{refresher:nodes}:leases", "-1", "since") // makes the lease data look old, since no session is adopted while that data is new

	second := apptest.StartLoggedNode(t, shared, app.Outside{}, new(net.Dialer).DialContext)
	second.Log.Await(`msg="session adopted from a dead node" component=scheduler session=` + control.Session)
	if answer, text := second.Do(http.MethodGet, "/v1/sessions?limit=200", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("list: %d %s", answer.StatusCode, text)
	}
	joined := 0
	for i, v := range victims {
		if i%3 == 0 {
			answer, _ := second.Do(http.MethodPost, "/v1/sessions/"+v.Session+"/renew", "", "Authorization", "Bearer "+v.Key)
			if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusGone {
				t.Errorf("%s %d %.40q: renewal: %d", v.field, v.word, v.value, answer.StatusCode)
			}
		}
		ws := second.Node.Dial()
		ws.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, v.Session, v.Key))
		m, code := ws.Next()
		switch {
		case m.Type == "joined" && m.Tokens.RTC != nil && m.Tokens.RTM != nil:
			joined++
		case m.Type == "ended":
			_, code = ws.Next()
			if code != protocol.CloseEnded && code != protocol.CloseSuperseded {
				t.Errorf("%s %d %.40q: ended with %d", v.field, v.word, v.value, code)
			}
		default:
			t.Errorf("%s %d %.40q: %+v, %d", v.field, v.word, v.value, m, code)
		}
		_ = ws.CloseNow()
	}
	if joined < len(victims)*9/10 {
		t.Errorf("%d of %d resumed", joined, len(victims))
	}
	_, metrics := second.Ops("/metrics")
	for _, part := range []string{"session", "connection", "request", "hook"} {
		if want := `refresher_panics_total{part="` + part + `"} 0`; !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if answer, text := second.Ops("/readyz"); answer.StatusCode != http.StatusOK || strings.Contains(text, "degraded") {
		t.Errorf("/readyz: %d %s", answer.StatusCode, text)
	}
}
