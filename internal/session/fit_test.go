package session

import (
	"math"
	"testing"
	"time"
)

func stored() Record {
	return Record{
		ResumeClaims: ResumeClaims{
			Session: "S", App: "app", Subject: "ana", Epoch: 3,
			Identity: Identity{RTC: &RTC{Channel: "c", UID: 7}, RTM: &RTM{UserID: "u"}},
			Terms:    Terms{TTL: time.Hour, Until: 4_102_444_800},
		},
		Proven: 2, Seq: 9, HeldSeq: 8, ExpiresAt: 4_102_444_800, HeldExpiresAt: 4_102_444_000,
		IssuedAt: 4_102_444_800, AckedAt: 4_102_444_800, DetachedAt: 4_102_444_800_123,
	}
}

func TestRecordsThatNoNodeWrites(t *testing.T) {
	highest := stored()
	highest.Epoch, highest.Proven, highest.Seq, highest.HeldSeq, highest.Terms.TTL = maxEpoch, maxEpoch, MaxSeq, MaxSeq, MaxLifetime
	must(t, highest.Check())
	for name, spoil := range map[string]func(*Record){
		"no session":   func(r *Record) { r.Session = "" },
		"no app":       func(r *Record) { r.App = "" },
		"no service":   func(r *Record) { r.Identity = Identity{} },
		"no ttl":       func(r *Record) { r.Terms.TTL = 0 },
		"long ttl":     func(r *Record) { r.Terms.TTL = MaxLifetime + time.Second },
		"epoch":        func(r *Record) { r.Epoch = math.MaxUint64 },
		"proven":       func(r *Record) { r.Proven = math.MaxUint64 },
		"seq":          func(r *Record) { r.Seq = MaxSeq + 1 },
		"held seq":     func(r *Record) { r.HeldSeq = MaxSeq + 1 },
		"until":        func(r *Record) { r.Terms.Until = math.MaxInt64 },
		"milliseconds": func(r *Record) { r.ExpiresAt = 4_102_444_800_000 },
		"held expiry":  func(r *Record) { r.HeldExpiresAt = math.MaxInt64 },
		"acked":        func(r *Record) { r.AckedAt = math.MaxInt64 },
		"approved":     func(r *Record) { r.ApprovedAt = math.MinInt64 },
		"issued":       func(r *Record) { r.IssuedAt = math.MaxInt64 },
		"detached":     func(r *Record) { r.DetachedAt = math.MinInt64 },
	} {
		bad := stored()
		spoil(&bad)
		check(t, bad.Check() != nil, "%s: taken", name)
	}
}

func TestRecordFitsItsKey(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Record)
		fits   bool
	}{
		"another role":     {func(r *Record) { r.Identity.RTC.Role = Publisher }, true},
		"a later epoch":    {func(r *Record) { r.Epoch++ }, true},
		"another session":  {func(r *Record) { r.Session = "T" }, false},
		"another app":      {func(r *Record) { r.App = "other" }, false},
		"another subject":  {func(r *Record) { r.Subject = "ben" }, false},
		"another channel":  {func(r *Record) { r.Identity.RTC.Channel = "d" }, false},
		"another uid":      {func(r *Record) { r.Identity.RTC.UID = 8 }, false},
		"an account":       {func(r *Record) { r.Identity.RTC.Account = "7" }, false},
		"no RTC":           {func(r *Record) { r.Identity.RTC = nil }, false},
		"another RTM user": {func(r *Record) { r.Identity.RTM = &RTM{UserID: "v"} }, false},
		"Chat too":         {func(r *Record) { r.Identity.Chat = &Chat{UserID: "u"} }, false},
	} {
		key, r := stored().ResumeClaims, stored()
		c.change(&r)
		equal(t, name, r.Fits(&key), c.fits)
	}
}
