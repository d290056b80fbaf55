package session

import "testing"

// A request may choose any format but 006. Only the credential or the operator can choose 006,
// unless the service requires no credentials.
func TestFormatOfACaller(t *testing.T) {
	both := Identity{RTC: &RTC{Channel: "c"}, RTM: &RTM{UserID: "u"}}
	f007, f006, single := new(Format007), new(Format006), new(FormatSingle)
	for _, c := range []struct {
		wanted, granted *Format
		operator        Format
		all             bool
		want            Format
		code            Code
	}{
		{nil, nil, Format007, false, Format007, ""},
		{nil, f006, Format007, false, Format006, ""},
		{nil, single, Format006, false, FormatSingle, ""},
		{f007, f006, Format006, false, Format007, ""},
		{f006, nil, Format006, false, Format006, ""},
		{f006, f006, Format007, false, Format006, ""},
		{f006, nil, Format007, true, Format006, ""},
		{f006, nil, Format007, false, 0, CodeForbidden},
		{f006, f007, Format006, false, 0, CodeForbidden},
	} {
		p := Policy{DefaultFormat: c.operator}
		got, err := p.Format(c.wanted, &Grant{All: c.all, Format: c.granted}, both)
		wantCode(t, err, c.code)
		check(t, got == c.want, "wanted %v, granted %v, operator %v, all %t: %v, %v", c.wanted, c.granted, c.operator, c.all, got, err)
	}
	_, err := (&Policy{}).Format(single, &Grant{}, Identity{RTC: both.RTC})
	wantCode(t, err, CodeBadRequest)
}
