package api

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"refresher/internal/session"
)

// fieldNames maps the fields of an identity, such as "rtc.channel", to the names that an endpoint of the classic token
// servers has for them.
type fieldNames map[string]string

var (
	channelAndUID     = fieldsOf("channel", "uid")
	channelNameAndUID = fieldsOf("ChannelName", "uid")
	withRTMUser       = fieldsOf("channel", "rtmuid")
)

func fieldsOf(channel, rtmUser string) fieldNames {
	return fieldNames{
		"rtc.channel": channel, "rtc.uid": "uid", "rtc.account": "uid", "rtm.userId": rtmUser, "chat.userId": rtmUser,
	}
}

// apply returns err with the names that the endpoint has for the fields, if err refuses the request as malformed.
// A refusal by the credential's grants keeps the names of the identity's fields, since the grants use them too.
func (n fieldNames) apply(err error) error {
	if refused, ok := errors.AsType[*session.Error](err); ok && refused.Code == session.CodeBadRequest {
		return refused.Rename(n)
	}
	return err
}

// renamed returns an endpoint whose errors name the fields as the request does.
func renamed(names fieldNames, respond endpoint) endpoint {
	return func(r *request) (any, error) {
		value, err := respond(r)
		return value, names.apply(err)
	}
}

// rtcFromPath parses the path parts channel, role, token type and user.
func rtcFromPath(args []string) (session.RTC, error) {
	rtc := session.RTC{Channel: args[0]}
	var err error
	if rtc.Role, err = role(args[1]); err != nil {
		return rtc, err
	}
	switch args[2] {
	case "uid":
		if args[3] != "" { // as in the classic token server, an empty uid means 0
			rtc.UID, err = uid(args[3])
		}
	case "userAccount":
		rtc.Account, err = account(args[3])
	default:
		err = session.Errorf(session.CodeBadRequest, `tokentype: want "uid" or "userAccount"`)
	}
	return rtc, err
}

// role parses a role. It knows the names of the roles in the classic token servers and in Agora's token builders,
// samples and SDKs. An empty string means subscriber. An unknown word is refused: if it meant subscriber, too, a client
// that misspells "publisher" could join the call, but the others in the call would not hear it.
func role(s string) (session.Role, error) {
	switch strings.ToLower(s) {
	case "publisher", "host", "1":
		return session.Publisher, nil
	case "subscriber", "audience", "attendee", "2", "0", "":
		return session.Subscriber, nil
	default:
		return 0, session.Errorf(session.CodeBadRequest, `role: want "publisher" (or "host", 1) or "subscriber" (or "audience", "attendee", 2, 0)`)
	}
}

// uid parses a numeric uid. Agora's Android UIKit sends uids from 2^31 on as negative numbers, by
// casting them to a signed 32-bit integer.
func uid(s string) (uint32, error) {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n < 0 {
		return uint32(int32(n)), nil // undoes the client's cast to a signed integer
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, session.Errorf(session.CodeBadRequest, "uid: want an integer from 0 to 4294967295")
	}
	return uint32(n), nil
}

func account(s string) (string, error) {
	if s == "" {
		return "", session.Errorf(session.CodeBadRequest, "uid: is empty; want a user account of 1 to 255 bytes")
	}
	return s, nil
}

// anyUser sets rtc's uid if s is a number. Otherwise it sets the user account.
func anyUser(rtc *session.RTC, s string) error {
	var err error
	if _, isNumber := strconv.ParseInt(s, 10, 64); isNumber == nil || errors.Is(isNumber, strconv.ErrRange) {
		rtc.UID, err = uid(s)
	} else {
		rtc.Account, err = account(s)
	}
	return err
}

// text is decoded from a JSON string or a whole number. A number is stored as its decimal digits, and null as an empty
// text.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	if string(b) == "null" {
		return nil
	}
	var n int64
	if err := json.Unmarshal(b, &n); err != nil {
		return err // the function parse replaces this error with a description of the valid values
	}
	*t = text(strconv.FormatInt(n, 10))
	return nil
}
