package project

import (
	"strings"
	"testing"
)

func TestParseSecret(t *testing.T) {
	const secret = "hush-hush, 'of' \"32\" bytes or more"
	for _, text := range []string{
		secret, secret + "\n", secret + "\r\n", " " + secret + "\t", "\n" + secret + "\n\n", "\ufeff" + secret, "\u00a0" + secret,
	} {
		if have, err := ParseSecret(text); have != secret || err != nil {
			t.Errorf("%q: %q, %v", text, have, err)
		}
	}
	for text, want := range map[string]string{
		"":                      "is empty",
		" \r\n":                 "is empty",
		"\ufeff\n":              "is empty",
		`"hush-hush"`:           "is in quotes",
		"'hush-hush'\n":         "is in quotes",
		"hush-hush\nhush-hush2": "has several lines",
		"hush-hush\r\nmore\r\n": "has several lines",
		"hush-hush\xff":         "is not UTF-8 text",
		"h\x00u\x00s\x00h\x00":  "is not UTF-8 text",
	} {
		have, err := ParseSecret(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %q, %v; want %q", text, have, err, want)
		}
	}
}

func TestParseCertificates(t *testing.T) {
	const a, b = "5CFd2fd1755d40ecb72977518be15d3b", "0123456789abcdef0123456789ABCDEF"
	for text, want := range map[string]string{
		a + "\n":                  "",
		"\ufeff" + a + "\r\n" + b: "",
		" \n":                     "is empty",
		`"` + a + `"`:             "is in quotes",
		a + "\n" + a:              "has the same App Certificate twice, as number 1 and 2",
		a + "\nnonsense":          "certificate 2: ",
		strings.Repeat(a+"\n", 9): "has 9 words; want at most 8",
	} {
		certificates, err := ParseCertificates(text)
		if want == "" && (err != nil || certificates[0] != a) || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %q, %v; want %q", text, certificates, err, want)
		}
	}
}
