package agora

import (
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for _, v := range []Version{V006, V007} {
		if got, err := ParseVersion(string(v)); got != v || err != nil {
			t.Errorf("ParseVersion(%q) = %q, %v", v, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                        `token version "": want "007" or "006"`,
		"7":                       `token version "7": want "007" or "006"`,
		"007 ":                    `token version "007 ": want "007" or "006"`,
		strings.Repeat("0", 1000): `token version "0000000000000000": want "007" or "006"`,
	} {
		if v, err := ParseVersion(in); v != "" || err == nil || err.Error() != want {
			t.Errorf("ParseVersion(%.20q) = %q, %v; want the error %s", in, v, err, want)
		}
	}
}
