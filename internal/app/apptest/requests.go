package apptest

import (
	"fmt"
	"strings"
)

// SplitRequest cuts "METHOD path body" apart.
func SplitRequest(s string) (method, path, body string) {
	method, rest, _ := strings.Cut(s, " ")
	path, body, _ = strings.Cut(rest, " ")
	return method, path, body
}

// Classic are all classic endpoints, for one user of a channel.
func Classic(channel, user, kind string) []string {
	return []string{
		fmt.Sprintf("GET /rtc/%s/publisher/%s/%s", channel, kind, user),
		fmt.Sprintf("GET /rtc/%s/subscriber/%s/%s/?expiry=60", channel, kind, user),
		fmt.Sprintf("GET /rte/%s/publisher/%s/%s", channel, kind, user),
		fmt.Sprintf("GET /rte/%s/publisher/%s/%s/%s", channel, kind, user, user),
		fmt.Sprintf(`POST /getToken {"tokenType":"rtc","channel":%q,"role":"publisher","uid":%q}`, channel, user),
		fmt.Sprintf(`POST /fetch_rtc_token_string {"uid":%q,"ChannelName":%q}`, user, channel),
		fmt.Sprintf("GET /access_token?channelName=%s&uid=%s", channel, user),
		fmt.Sprintf("GET /rtcToken?channelName=%s&uid=%s", channel, user),
	}
}

// Named are those that know no channel.
func Named(user string) []string {
	return []string{
		"GET /rtm/" + user,
		"GET /chat/account/" + user,
		"GET /chat/user/" + user + "/token",
		"GET /rtmToken?account=" + user,
		fmt.Sprintf(`POST /fetch_rtm_token {"uid":%q}`, user),
		fmt.Sprintf(`POST /getToken {"tokenType":"rtm","uid":%q}`, user),
		fmt.Sprintf(`POST /getToken {"tokenType":"chat","uid":%q}`, user),
	}
}

func FetchRTC(channel string, uid int) string {
	return fmt.Sprintf(`POST /fetch_rtc_token {"uid":%d,"ChannelName":%q,"role":1}`, uid, channel)
}

func JoinRTC(channel string, uid int) string {
	return fmt.Sprintf(`join "rtc":{"channel":%q,"uid":%d,"role":"publisher"}`, channel, uid)
}

func Concat(lists ...[]string) (joined []string) {
	for _, l := range lists {
		joined = append(joined, l...)
	}
	return joined
}
