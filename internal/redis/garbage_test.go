package redis_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// garbage lists invalid values for a field of a record. The last one stands for removing
// the field.
var garbage = []string{
	"", "x", "-1", "0", "1.5", "NaN", "inf", "9223372036854775807", "-9223372036854775808", "18446744073709551616",
	"4102444800000", apptest.OtherAppID, strings.Repeat("9", 400), strings.Repeat("long ", 1000), "\x00\xff\u202e", "one two", removed,
}

const removed = "(removed)"

// spot is a place in a record: a field of its hash, or one word of a field.
type spot struct {
	field string
	word  int // index of the word in the field; -1 means the whole field
}

func spots() (all []spot) {
	for _, field := range []string{"f", "s", "g", "c", "u", "a", "m", "h", "j", "e"} {
		all = append(all, spot{field, -1})
	}
	for field, words := range map[string]int{"f": 8, "s": 4, "g": 4} {
		for word := range words {
			all = append(all, spot{field, word})
		}
	}
	return all
}

// spoil writes garbage into a session's record.
func (s spot) spoil(redis *redistest.Server, id, value string) {
	key := fmt.Sprintf("{refresher:%02d}:s:%s", store.ShardOf(id), id)
	switch {
	case s.word >= 0:
		words := strings.Split(redis.Do("HGET", key, s.field), " ")
		if words[s.word] = value; value == removed {
			words = append(words[:s.word], words[s.word+1:]...)
		}
		redis.Do("HSET", key, s.field, strings.Join(words, " "))
	case value == removed:
		redis.Do("HDEL", key, s.field)
	default:
		redis.Do("HSET", key, s.field, value)
	}
}

// TestGarbageInRecords writes garbage into every field of records. Some records are
// overdue, and a node claims them when it starts. On that node all are listed, renewed
// over HTTP and resumed. Each resume has a clear outcome, and nothing panics.
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
	control := join() // control is a valid session, the last one that a sweep adopts
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

	log := &awaited{text: "session adopted, its node is gone component=scheduler session=" + control.Session, found: make(chan struct{})}
	second := apptest.StartLogged(t, shared, log)
	select {
	case <-log.found:
	case <-time.After(20 * time.Second):
		t.Fatal("the overdue sessions are not adopted")
	}
	if answer, text := second.Do(http.MethodGet, "/v1/sessions?limit=200", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("list: %d %s", answer.StatusCode, text)
	}
	outcomes := make(map[string]int)
	for i, v := range victims {
		if i%3 == 0 {
			answer, _ := second.Do(http.MethodPost, "/v1/sessions/"+v.Session+"/renew", "", "Authorization", "Bearer "+v.Key)
			outcomes[fmt.Sprintf("renewal %d", answer.StatusCode)]++
			if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusGone {
				t.Errorf("%s %d %.40q: renewal: %d", v.field, v.word, v.value, answer.StatusCode)
			}
		}
		ws := second.Dial()
		ws.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, v.Session, v.Key))
		m, code := ws.Next()
		switch {
		case m.Type == "joined" && m.Tokens.RTC != nil && m.Tokens.RTM != nil:
		case m.Type == "ended":
			_, code = ws.Next()
			if code != protocol.CloseEnded && code != protocol.CloseSuperseded {
				t.Errorf("%s %d %.40q: ended with %d", v.field, v.word, v.value, code)
			}
		default:
			t.Errorf("%s %d %.40q: %+v, %d", v.field, v.word, v.value, m, code)
		}
		outcomes[m.Type+m.Reason]++
		_ = ws.CloseNow()
	}
	t.Logf("%d records: %v", len(victims), outcomes)
	if outcomes["joined"] < len(victims)*9/10 {
		t.Errorf("outcomes: %v", outcomes)
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

// awaited is a log that signals when a line with text is written.
type awaited struct {
	text  string
	found chan struct{} // closed once the line is written

	mu   sync.Mutex
	seen bool // whether the line was written; guarded by mu
}

func (a *awaited) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	plain := strings.NewReplacer(`"`, "", "msg=", "").Replace(string(bytes.TrimSpace(line)))
	if !a.seen && strings.Contains(plain, a.text) {
		a.seen = true
		close(a.found)
	}
	return len(line), nil
}
