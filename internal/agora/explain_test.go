package agora

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"refresher/internal/session"
)

const previous = "00000000000000000000000000000000"

// sign007 makes a correctly signed token with any fields.
func sign007(t *Token) string {
	t.Version, t.AppID, t.Salt = V007, appID, 1
	body := encodeSigned(t)
	key := signingKey(certificate, uint32(t.IssuedAt), t.Salt)
	signature := hmacSHA256(key[:], body)
	return encode(signature[:], body)
}

// sign006 makes a correctly signed token in format 006, whose field ts is the argument ts.
func sign006(channel, user string, ts session.UnixSec, privileges ...Privilege) string {
	message := encodeSigned(&Token{Version: V006, Salt: 1, ValidUntil: ts, Services: []Service{{Privileges: privileges}}})
	signature := hmacSHA256([]byte(certificate), []byte(appID+channel+user+string(message)))
	b := appendString(nil, string(signature[:]))
	for _, name := range []string{channel, user} {
		n := sum(name)
		b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return wrap006(appendString(b, string(message)))
}

// tokenFor makes a token that expires after 60 seconds.
func tokenFor(services ...Service) string {
	return sign007(&Token{IssuedAt: now, ValidUntil: now + 60, Services: services})
}

// rtcFor makes a publisher's token for user 7 in channel daily. The arguments are the lifetimes, in seconds, of the token
// and of its privileges to join and to publish; 0 means that a privilege does not expire.
func rtcFor(lifetime session.UnixSec, join, publish session.UnixSec) string {
	at := func(seconds session.UnixSec) session.UnixSec {
		if seconds == 0 {
			return 0
		}
		return now + seconds
	}
	return sign007(&Token{IssuedAt: now, ValidUntil: now + lifetime, Services: []Service{{
		Type: ServiceRTC, Channel: "daily", User: "7",
		Privileges: []Privilege{{ID: 1, ExpiresAt: at(join)}, {ID: 2, ExpiresAt: at(publish)}, {ID: 3, ExpiresAt: at(publish)}, {ID: 4, ExpiresAt: at(publish)}},
	}}})
}

func TestExplain(t *testing.T) {
	mint := func(v Version, id session.Identity, ttl session.UnixSec) session.Tokens {
		return must(newMinter(t, v).Mint(id, now, now+ttl))(t)
	}
	everything := session.Identity{RTC: &session.RTC{Channel: "daily", UID: 7, Role: session.Publisher}, RTM: &session.RTM{UserID: "ana"}}
	new7, old6 := mint(V007, everything, 3600), mint(V006, everything, 3600)
	single := must(newMinter(t, V007).Minter.Mint(everything, session.FormatSingle, now, now+3600))(t).RTC
	anyone := mint(V007, session.Identity{RTC: &session.RTC{Channel: "daily"}}, 3600).RTC
	anyone6 := mint(V006, session.Identity{RTC: &session.RTC{Channel: "daily"}}, 3600).RTC
	android := mint(V007, session.Identity{RTC: &session.RTC{Channel: "daily", UID: 4294967295}}, 3600).RTC
	entry := []Privilege{{ID: 1, ExpiresAt: now + 60}}
	starred := tokenFor(Service{Type: ServiceRTC, Channel: "*", Privileges: entry})
	zero := tokenFor(Service{Type: ServiceRTC, Channel: "daily", User: "0", Privileges: entry})
	zero6 := sign006("daily", "0", now+maxLifetime, entry...)
	nobody := tokenFor(Service{Type: ServiceRTM, User: "0", Privileges: entry})
	nobody6 := sign006("0", "", now+maxLifetime, Privilege{ID: 1000, ExpiresAt: now + 60})

	daily := Use{AppID: appID, Holder: Holder{Channel: "daily", User: "7"}}
	with := func(change func(*Use)) Use {
		u := daily
		change(&u)
		return u
	}
	publishing := with(func(u *Use) { u.Publish = true })
	rtcWith := func(privileges ...uint16) Service {
		s := Service{Type: ServiceRTC, Channel: "daily", User: "7"}
		for _, id := range privileges {
			s.Privileges = append(s.Privileges, Privilege{ID: id, ExpiresAt: now + 60})
		}
		return s
	}
	good := []string{"info signed", "info good"}

	for _, c := range []struct {
		name  string
		text  string
		use   Use
		after session.UnixSec // seconds from the issue of the token to the call of Explain
		certs []string
		want  []string // severity and code of each finding
		says  string   // part of a finding's text
	}{
		{"good", new7.RTC, daily, 0, nil, good, "signed with certificate 1 of 1"},
		{"to the last second", new7.RTC, daily, 3599, nil, good, ""},
		{"old format", old6.RTC, daily, 0, nil, good, ""},
		{"any user", anyone, daily, 0, nil, good, ""},
		{"any user, old format", anyone6, daily, 0, nil, good, ""},
		{"rtm", new7.RTM, Use{AppID: appID, Holder: Holder{User: "ana"}}, 0, nil, good, ""},
		{"rtm, old format", old6.RTM, Use{Holder: Holder{User: "ana"}}, 0, nil, good, ""},

		{"second certificate", new7.RTC, daily, 0, []string{previous, certificate}, good, "signed with certificate 2 of 2: an older one"},
		{"no certificate", new7.RTC, daily, 0, []string{""}, []string{"info unverified", "info good"}, "not checked"},
		{"other certificate", new7.RTC, daily, 0, []string{previous}, []string{"error signature"}, "110 invalid token: signed with another certificate"},
		{"other app", new7.RTC, with(func(u *Use) { u.AppID = previous }), 0, nil, []string{"error app_id"}, "101 invalid App ID in a join, 110 invalid token in a renewal: it is for App ID " + appID},
		{"app in other case", new7.RTC, with(func(u *Use) { u.AppID = strings.ToLower(appID) }), 0, nil, []string{"error app_id"}, "differ in case alone"},

		{"expired", new7.RTC, daily, 3600, nil, []string{"error expired", "info signed"}, "109 token expired: it ended 0s ago, at 2023-11-14T23:13:20Z"},
		{"expired, old format", old6.RTC, daily, 3605, nil, []string{"error expired", "info signed"}, "109 token expired: its privilege to get in ended 5s ago"},
		{"other channel", new7.RTC, with(func(u *Use) { u.Channel = "weekly" }), 0, nil, []string{"error channel", "info signed"}, `110 invalid token: it is for channel "daily", not "weekly"`},
		{"channel in other case", new7.RTC, with(func(u *Use) { u.Channel = "Daily" }), 0, nil, []string{"error channel", "info signed"}, "upper and lower case differ"},
		{"channel with a space", new7.RTC, with(func(u *Use) { u.Channel = "daily " }), 0, nil, []string{"error channel", "info signed"}, "white space differs"},
		{"any channel", starred, daily, 0, nil, []string{"warning any_channel", "info signed", "info good"}, "wildcard"},
		{"other user", new7.RTC, with(func(u *Use) { u.User = "8" }), 0, nil, []string{"error user", "info signed"}, `110 invalid token: it is for user "7", not "8"`},
		{"other user, Agora chooses", new7.RTC, with(func(u *Use) { u.User = "0" }), 0, nil, []string{"error user", "info signed"}, `join as "7"`},
		{"signed number", android, with(func(u *Use) { u.User = "-1" }), 0, nil, []string{"error user", "info signed"}, "uids are unsigned"},
		{"literal zero", zero, daily, 0, nil, []string{"error literal_zero", "info signed"}, `110 invalid token: it is for a user named "0"`},
		{"rtm for nobody", nobody, Use{}, 0, nil, []string{"warning name", "info signed", "info good"}, `against the rules for names, so that it may be refused or meant for nobody: rtm.userId: is "0"`},
		{"rtm for nobody, old format", nobody6, Use{Holder: Holder{User: "0"}}, 0, nil, []string{"warning name", "info signed", "info good"}, ""},
		{"literal zero, nobody asked", zero, Use{}, 0, nil, []string{"warning literal_zero", "info signed", "info good"}, ""},
		{"literal zero, old format", zero6, daily, 0, nil, []string{"error literal_zero", "info signed"}, ""},
		{"old format, other channel", old6.RTC, with(func(u *Use) { u.Channel = "weekly" }), 0, nil, []string{"error channel"}, "the checksum in it does not fit"},
		{"old format, other user", old6.RTC, with(func(u *Use) { u.User = "8" }), 0, nil, []string{"error user"}, "the checksum in it does not fit"},
		{"old format, no names", old6.RTC, Use{}, 0, nil, []string{"warning unverified", "info good"}, "give the channel and user"},
		{"old rtm, no user", old6.RTM, Use{}, 0, nil, []string{"warning unverified", "info good"}, "give the user id"},
		{"old rtm, other user", old6.RTM, Use{Holder: Holder{User: "bob"}}, 0, nil, []string{"error user"}, ""},
		{"rtc, not rtm", new7.RTC, Use{Service: ServiceRTM}, 0, nil, []string{"error service"}, "it opens rtc, not rtm"},
		{"rtc, not fpa", new7.RTC, Use{Service: ServiceFPA}, 0, nil, []string{"error service"}, "it opens rtc, not fpa"},
		{"rtc, not a number", new7.RTC, Use{Service: 8}, 0, nil, []string{"error service"}, "it opens rtc, not 8"},
		{"both, as rtm", single, Use{Service: ServiceRTM, Holder: Holder{User: "ana"}}, 0, nil, good, ""},
		{"stream channel", single, Use{Service: ServiceRTM, Holder: Holder{Channel: "daily"}}, 0, nil, good, ""},
		{"other stream channel", single, Use{Service: ServiceRTM, Holder: Holder{Channel: "weekly"}}, 0, nil, []string{"warning channel", "info signed", "info good"}, `opens stream channels of "daily", not "weekly"`},
		{"no stream channel", new7.RTM, Use{Service: ServiceRTM, Holder: Holder{Channel: "daily"}}, 0, nil, []string{"warning channel", "info signed", "info good"}, "no stream channel"},
		{"other service", new7.RTM, daily, 0, nil, []string{"error service"}, "110 invalid token: it opens rtm, not rtc"},
		{"no service", tokenFor(), Use{}, 0, nil, []string{"error service"}, "no service at all"},
		{"token ends first", rtcFor(60, 3600, 3600), daily, 0, nil, []string{"warning silent_end", "info signed", "info good"}, "59m0s before its privilege to get in: SDKs watch the privilege, so no token-privilege-will-expire event comes"},
		{"privilege never ends", rtcFor(60, 0, 0), daily, 0, nil, []string{"warning silent_end", "info signed", "info good"}, "never ends"},
		{"privilege ends first", rtcFor(3600, 60, 60), daily, 0, nil, []string{"warning cut_off", "info signed", "info good"}, "59m0s before the token: the call is cut off there"},
		{"publishing ends first", rtcFor(3600, 3600, 60), daily, 0, nil, []string{"warning publish_ends", "info signed", "info good"}, "59m0s before the call"},
		{"listener", tokenFor(rtcWith(1)), publishing, 0, nil, []string{"info signed", "info audience", "info good"}, "made for a subscriber: may not publish audio, video, data; "},
		{"audio alone", tokenFor(rtcWith(1, 2)), publishing, 0, nil, []string{"info signed", "info audience", "info good"}, "may publish, but not video, data; "},
		{"publishing has ended", rtcFor(60, 60, 30), publishing, 30, nil, []string{"info signed", "info audience", "info good"}, "may not publish audio, video, data; "},
		{"good until", rtcFor(60, 60, 60), publishing, 18, nil, good, "good for 42 more seconds, until 2023-11-14T22:14:20Z, as far as could be checked"},
		{"a week", rtcFor(7*maxLifetime, 7*maxLifetime, 7*maxLifetime), daily, 0, nil, []string{"warning lifetime", "info signed", "info good"}, "to 2023-11-15T22:13:20Z"},
		{"a week, after a day", rtcFor(7*maxLifetime, 7*maxLifetime, 7*maxLifetime), daily, maxLifetime, nil, []string{"error expired", "warning lifetime", "info signed"}, "109"},
		{"exactly a day", rtcFor(maxLifetime, maxLifetime, maxLifetime), daily, 0, nil, good, ""},
		{"from the future", new7.RTC, daily, -11, nil, []string{"warning future", "info signed", "info good"}, "issued 11s from now"},
		{"clocks differ a little", new7.RTC, daily, -10, nil, good, ""},

		{"no way in", tokenFor(rtcWith(2)), daily, 0, nil, []string{"error privilege", "info signed"}, "no privilege to get in"},

		{"nothing", "", daily, 0, nil, []string{"error static_key"}, "dynamic use static key"},
		{"our App ID in lower case", strings.ToLower(appID) + "\n", daily, 0, nil, []string{"error static_key"}, "this is its App ID"},
		{"some App ID", strings.Repeat("ab", 16), daily, 0, nil, []string{"error static_key"}, "this is an App ID (or"},
		{"our certificate", certificate, daily, 0, []string{previous, certificate}, []string{"error certificate"}, "this is the App Certificate"},
		{"white space", new7.RTC + "\n", daily, 0, nil, []string{"error white_space", "info signed"}, "line break"},
		{"too long", "007" + strings.Repeat("A", 2045), daily, 0, nil, []string{"error too_long"}, "2048 characters long: the web SDK takes 2047 at most"},
		{"not a token", "hello", daily, 0, nil, []string{"error not_a_token"}, `110 invalid token: begins with neither "007" nor "006"`},
		{"undefined", "undefined", daily, 0, nil, []string{"error not_a_token"}, "a program's word for nothing"},
		{"a JWT", "eyJhbGciOiJIUzI1NiJ9.e30.x", daily, 0, nil, []string{"error not_a_token"}, "JSON Web Token"},
		{"bearer", "Bearer " + new7.RTC, daily, 0, nil, []string{"error not_a_token"}, "without the word Bearer"},
		{"an answer", `{"rtcToken":"` + new7.RTC + `"}`, daily, 0, nil, []string{"error not_a_token"}, "without quotes"},
		{"an address", "https://tokens.example.com/rtc/daily/1/uid/7", daily, 0, nil, []string{"error not_a_token"}, "address"},
		{"URL-encoded", strings.ReplaceAll(paddedToken(t), "=", "%3D"), daily, 0, nil, []string{"error not_a_token"}, "URL-encoded"},
		{"URL-safe", "007eJx-_A==", daily, 0, nil, []string{"error not_a_token"}, "URL-safe"},
		{"pluses lost", "007eJx A=", daily, 0, nil, []string{"error not_a_token"}, "+ becomes a space"},
		{"half", new7.RTC[:40], daily, 0, nil, []string{"error not_a_token"}, "a part may be missing"},
		{"of a service that is new", wrap(content007(&Token{Version: V007, AppID: appID, Services: []Service{{Type: 8}}})), daily, 0, nil, []string{"warning unreadable"}, "not known here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			certs := c.certs
			if certs == nil {
				certs = []string{certificate}
			}
			report := Explain(c.text, c.use, certs, (now + c.after).Time().Add(999))
			var got []string
			for _, f := range report.Findings {
				got = append(got, f.Severity+" "+f.Code)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q\n%+v", got, c.want, report.Findings)
			}
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return strings.Contains(f.Text, c.says) }) {
				t.Errorf("want a finding that says %q: %+v", c.says, report.Findings)
			}
			if failed := strings.HasPrefix(c.want[0], SeverityError); (report.Err() != nil) != failed {
				t.Errorf("error %v", report.Err())
			}
			for _, secret := range append(certs, certificate) {
				if secret != "" && strings.Contains(strings.ToLower(fmt.Sprint(report.Findings)), strings.ToLower(secret)) {
					t.Errorf("a certificate is in %+v", report.Findings)
				}
			}
		})
	}
}

func TestReportJSON(t *testing.T) {
	got := string(must(json.Marshal(Explain("x", Use{}, nil, now.Time())))(t))
	want := `{"findings":[{"code":"not_a_token","severity":"error","text":"110 invalid token: begins with neither \"007\" nor \"006\"; want one of them"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
