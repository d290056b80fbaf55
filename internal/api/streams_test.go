package api

import (
	"context"
	"strings"
	"testing"

	"refresher/internal/session"
)

// backEnd denies an RTC user, a role or everybody, and counts the approval requests that it receives.
type backEnd struct {
	access
	deny  string
	grant session.Grant
	asked int
}

func (b *backEnd) Authenticate(context.Context, string) (session.Caller, error) {
	return session.Caller{App: "app", Grant: b.grant}, nil
}

func (b *backEnd) Authorize(_ context.Context, r session.Request) session.Decision {
	b.asked++
	rtc := r.Claims.Identity.RTC
	switch {
	case b.deny == "not granted" && r.Claims.Identity.RTM != nil:
		return session.Decision{Reason: session.NotGranted, Refusal: session.Errorf(session.CodeForbidden, "rtc.account: no")}
	case b.deny == "everybody", rtc != nil && (b.deny == rtc.User() || b.deny == rtc.Role.String()):
		return session.Decision{Reason: session.Denied}
	}
	return session.Decision{Allowed: true}
}

// An RTM token for stream channels also names an RTC user, which needs the back end's approval. If the request's RTC
// token is for the same user, the approval is requested only once. If the credential or the back end allows only
// subscribers, the RTM user can only read streams.
func TestStreamChannelsNeedApproval(t *testing.T) {
	all := session.Grant{All: true}
	subscriber := session.Grant{
		Channels: []string{"c"}, Accounts: []string{"ana"}, UIDs: []string{"7"}, Roles: []session.Role{session.Subscriber}, RTMUsers: []string{"ana"},
	}
	const getToken = `POST /getToken {"tokenType":"rtm","uid":"ana","channel":"c"}`
	for _, c := range []struct {
		request, deny string
		grant         session.Grant
		asked, status int
		want          string
	}{
		{"GET /rte/c/publisher/userAccount/ana", "", all, 1, 200, `"rtcToken":"ana in c, publisher","rtmToken":"ana with streams as ana in c, publisher"`},
		{"GET /rte/c/publisher/uid/7/ana", "", all, 2, 200, `"rtcToken":"7 in c, publisher","rtmToken":"ana with streams as ana in c, publisher"`},
		{"GET /rte/c/publisher/uid/7/eve", "eve", all, 3, 403, `"code":"forbidden"`},
		{"GET /rte/c/publisher/uid/7/ana", "7", all, 1, 403, `"code":"forbidden"`},
		{"GET /rte/c/subscriber/userAccount/ana", "publisher", all, 3, 200, `"rtmToken":"ana with streams as ana in c, subscriber"`},
		{"GET /rte/c/subscriber/userAccount/ana", "", subscriber, 1, 200, `"rtmToken":"ana with streams as ana in c, subscriber"`},
		{"GET /rtc/c/publisher/uid/7", "7", all, 1, 403, `"code":"forbidden"`},
		{"GET /chat/app", "everybody", all, 1, 403, `"code":"forbidden"`},
		{getToken, "", all, 1, 200, `"token":"ana with streams as ana in c, publisher"`},
		{getToken, "publisher", all, 2, 200, `"token":"ana with streams as ana in c, subscriber"`},
		{getToken, "", subscriber, 1, 200, `"token":"ana with streams as ana in c, subscriber"`},
		{getToken, "not granted", all, 1, 403, `the RTM token opens stream channels as RTC user \"ana\": rtc.account: no`},
		{strings.ReplaceAll(getToken, "ana", "eve"), "", subscriber, 0, 403, `rtm.userId`},
	} {
		b := &backEnd{deny: c.deny, grant: c.grant}
		conf := config(t)
		conf.Access = b
		if w := answer(t, conf, c.request); w.Code != c.status || b.asked != c.asked || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s, denied %q: %d %s after %d requests; want %s after %d", c.request, c.deny, w.Code, w.Body, b.asked, c.want, c.asked)
		}
	}
}
