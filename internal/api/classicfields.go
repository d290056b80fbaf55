package api

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"refresher/internal/session"
)

// rtcFromPath reads channel, role, token type and user.
func rtcFromPath(args []string) (session.RTC, error) {
	rtc := session.RTC{Channel: args[0]}
	var err error
	if rtc.Role, err = role(args[1]); err != nil {
		return rtc, err
	}
	switch args[2] {
	case "uid":
		if args[3] != "" { // any, as in the classic server
			rtc.UID, err = uid(args[3])
		}
	case "userAccount":
		rtc.Account, err = account(args[3])
	default:
		err = session.Errorf(session.CodeBadRequest, `tokentype: want "uid" or "userAccount"`)
	}
	return rtc, err
}

// role reads a role by any of the names that it has in the classic servers, in Agora's
// builders and samples, and in its SDKs. Without a word it is the subscriber. Unknown
// words are refused: a publisher with a misspelt role would not be heard, and not know.
func role(s string) (session.Role, error) {
	switch strings.ToLower(s) {
	case "publisher", "host", "1":
		return session.Publisher, nil
	case "subscriber", "audience", "attendee", "2", "0", "":
		return session.Subscriber, nil
	default:
		return 0, session.Errorf(session.CodeBadRequest, `role: is incorrect; want "publisher" (or "host", 1) or "subscriber" (or "audience", "attendee", 2, 0)`)
	}
}

// uid reads a numeric uid. The Android UIKit sends one of 2^31 or more as the
// negative number that it is in 32 signed bits.
func uid(s string) (uint32, error) {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n < 0 {
		return uint32(int32(n)), nil // the wrap is the point
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

// anyUser takes a number for a uid and anything else for a user account.
func anyUser(rtc *session.RTC, s string) error {
	var err error
	if _, isNumber := strconv.ParseInt(s, 10, 64); isNumber == nil || errors.Is(isNumber, strconv.ErrRange) {
		rtc.UID, err = uid(s)
	} else {
		rtc.Account, err = account(s)
	}
	return err
}

// text is a JSON string, or a number taken as its digits. Null is empty.
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
		return session.Errorf(session.CodeBadRequest, "uid and role: want strings or whole numbers")
	}
	*t = text(strconv.FormatInt(n, 10))
	return nil
}
