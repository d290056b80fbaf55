package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
)

func TestAlgorithms(t *testing.T) {
	s := newStand(t, one(Keys{
		Secrets:       []string{secretA, secretB},
		PublicKeyPEMs: []string{publicPEM(rsaKey()) + publicPEM(ecKey()), publicPEM(ec384()), publicPEM(edKey())},
	}))
	for _, c := range []struct {
		alg string
		key any
		why Reason // empty: good
	}{
		{"HS256", []byte(secretA), ""},
		{"HS384", []byte(secretA), ""},
		{"HS512", []byte(secretB), ""},
		{"RS256", rsaKey(), ""},
		{"RS384", rsaKey(), ""},
		{"RS512", rsaKey(), ""},
		{"PS256", rsaKey(), ""},
		{"PS512", rsaKey(), ""},
		{"ES256", ecKey(), ""},
		{"ES384", ec384(), ""},
		{"EdDSA", edKey(), ""},
		{"HS256", []byte("none of the secrets, though it is long enough"), ReasonSignature},
		{"RS256", rsaOther(), ReasonSignature},
		{"ES256", ecOther(), ReasonSignature},
		// A public key is not accepted as a secret.
		{"HS256", []byte(publicPEM(rsaKey())), ReasonSignature},
	} {
		t.Run(c.alg, func(t *testing.T) {
			credential := sign(c.alg, "", c.key, claimsWith(nil))
			if c.why == "" {
				s.takes(t, credential)
				s.refuses(t, credential+"AAAA", ReasonSignature)
				return
			}
			s.refuses(t, credential, c.why)
		})
	}
}

// The configured keys determine the accepted algorithms; the header does not.
func TestAlgorithmConfusion(t *testing.T) {
	secrets := newStand(t, one(Keys{Secrets: []string{secretA}}))
	public := newStand(t, one(Keys{PublicKeyPEMs: []string{publicPEM(rsaKey()), publicPEM(ecKey())}}))
	good := claimsWith(nil)
	secrets.refuses(t, sign("RS256", "", rsaKey(), good), ReasonAlgorithm)
	secrets.refuses(t, sign("EdDSA", "", edKey(), good), ReasonAlgorithm)
	public.refuses(t, sign("HS256", "", []byte(publicPEM(rsaKey())), good), ReasonAlgorithm)
	public.refuses(t, sign("HS256", "", []byte(publicPEM(ecKey())), good), ReasonAlgorithm)
	public.refuses(t, sign("ES384", "", ec384(), good), ReasonAlgorithm)

	// The key's curve does not fit the algorithm.
	es384 := &jwt.SigningMethodECDSA{Name: "ES384", Hash: jwt.SigningMethodES384.Hash, KeySize: 32, CurveBits: 256}
	mixed := must(jwt.NewWithClaims(es384, good).SignedString(ecKey()))
	public.refuses(t, mixed, ReasonAlgorithm)

	for _, alg := range []string{"none", "None", "", "hs256", "HS256 ", "ES256K"} {
		for _, s := range []*stand{secrets, public} {
			header := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"alg":%q}`, alg)))
			text := header + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":9999999999}`)) + "."
			s.refuses(t, text, ReasonAlgorithm)
		}
	}
	// A key in the credential's header is ignored.
	own := jwt.NewWithClaims(jwt.SigningMethodES256, good)
	own.Header["jwk"] = jwk("", ecOther(), nil)
	public.refuses(t, must(own.SignedString(ecOther())), ReasonSignature)
}

func TestForm(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	good := sign("HS256", "", []byte(secretA), claimsWith(nil))
	parts := strings.Split(good, ".")
	// The unused last two bits of the base64 text must be zero, although package base64 accepts other bits by default.
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	loose := good[:len(good)-1] + string(digits[strings.IndexByte(digits, good[len(good)-1])|1])
	const header, claims = `{"alg":"HS256"}`, `{"exp":9999999999}`
	if c := s.takes(t, signText(header, claims)); c.App != appA {
		t.Errorf("app %q, want that of the only project", c.App)
	}
	for name, c := range map[string]struct {
		credential string
		why        Reason
	}{
		"empty":             {"", ReasonMissing},
		"one byte too long": {strings.Repeat("a", MaxCredential+1), ReasonTooLong},
		"1 MiB":             {strings.Repeat("a.", 1<<19), ReasonTooLong},
		"longest":           {strings.Repeat("a", MaxCredential), ReasonMalformed},
		"dots":              {strings.Repeat(".", MaxCredential), ReasonMalformed},
		"two parts":         {parts[0] + "." + parts[1], ReasonMalformed},
		"four parts":        {good + ".", ReasonMalformed},
		"line break":        {good + "\n", ReasonMalformed},
		"space":             {" " + good, ReasonMalformed},
		"odd last bits":     {loose, ReasonMalformed},
		"padded":            {good + "=", ReasonMalformed},
		"header no base64":  {"!." + parts[1] + "." + parts[2], ReasonMalformed},
		"header no JSON":    {signText(`{`, claims), ReasonMalformed},
		"header a list":     {signText(`[]`, claims), ReasonMalformed},
		"header null":       {signText(`null`, claims), ReasonMalformed},
		"header and more":   {signText(header+`{}`, claims), ReasonMalformed},
		"alg absent":        {signText(`{}`, claims), ReasonMalformed},
		"alg null":          {signText(`{"alg":null}`, claims), ReasonMalformed},
		"alg a number":      {signText(`{"alg":256}`, claims), ReasonMalformed},
		"alg twice":         {signText(`{"alg":"none","alg":"HS256"}`, claims), ReasonMalformed},
		"alg in capitals":   {signText(`{"ALG":"HS256"}`, claims), ReasonMalformed},
		"kid a list":        {signText(`{"alg":"HS256","kid":["a"]}`, claims), ReasonMalformed},
		"crit":              {signText(`{"alg":"HS256","crit":["b64"],"b64":false}`, claims), ReasonCriticalHeader},
		"crit empty":        {signText(`{"alg":"HS256","crit":[]}`, claims), ReasonCriticalHeader},
		"signature empty":   {parts[0] + "." + parts[1] + ".", ReasonSignature},
		"signature short":   {good[:len(good)-3], ReasonSignature},
		"claims changed":    {parts[0] + "." + parts[1] + "AAAA." + parts[2], ReasonSignature},
		"claims no JSON":    {signText(header, `{"exp":9999999999`), ReasonMalformed},
		"claims no UTF-8":   {signText(header, "{\"exp\":9999999999,\"sub\":\"\xff\"}"), ReasonMalformed},
		"claims a string":   {signText(header, `"exp"`), ReasonMalformed},
		"claims deep":       {signText(header, strings.Repeat("[", 5000)), ReasonMalformed},
		"claim twice":       {signText(header, `{"exp":1,"exp":9999999999}`), ReasonClaims},
		"claim twice, escaped": {
			signText(header, `{"exp":9999999999,"sub":"a","s\u0075b":"b"}`), ReasonClaims,
		},
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, c.credential, c.why) })
	}
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(Keys{Secrets: []string{secretA}})
		s := newStand(t, c)
		now := time.Now().Unix()
		for _, c := range []struct {
			claims map[string]any
			why    Reason
		}{
			{map[string]any{"exp": nil}, ReasonNoExpiry},
			{map[string]any{"exp": now - 29}, ""},
			{map[string]any{"exp": now - 30}, ReasonExpired},
			{map[string]any{"exp": 0}, ReasonExpired},
			{map[string]any{"exp": float64(now) + 0.5}, ""},
			{map[string]any{"exp": float64(now) - 29.5}, ReasonExpired},
			{map[string]any{"exp": "9999999999"}, ReasonClaims},
			{map[string]any{"exp": -1}, ReasonClaims},
			{map[string]any{"exp": 1e300}, ReasonClaims},
			{map[string]any{"exp": now * 1000}, ReasonClaims},
			{map[string]any{"exp": true}, ReasonClaims},
			{map[string]any{"nbf": now + 30}, ""},
			{map[string]any{"nbf": now + 31}, ReasonNotYetValid},
			{map[string]any{"nbf": "now"}, ReasonClaims},
			{map[string]any{"iat": now + 30}, ""},
			{map[string]any{"iat": now + 31}, ReasonIssuedAhead},
			{map[string]any{"iat": []int{1}}, ReasonClaims},
		} {
			credential := sign("HS256", "", []byte(secretA), claimsWith(c.claims))
			if c.why == "" {
				s.takes(t, credential)
			} else {
				s.refuses(t, credential, c.why)
			}
		}
		credential := sign("HS256", "", []byte(secretA), claimsWith(nil))
		time.Sleep(time.Hour + 29*time.Second) // bubble
		s.takes(t, credential)
		time.Sleep(time.Second) // bubble
		s.refuses(t, credential, ReasonExpired)
	})
}

func TestAudience(t *testing.T) {
	c := one(Keys{Secrets: []string{secretA}})
	open := newStand(t, c)
	c.Projects[0].Audience = "calls"
	bound := newStand(t, c)
	for _, c := range []struct {
		aud         any
		open, bound Reason
	}{
		{nil, "", ReasonAudience},
		{"calls", "", ""},
		{[]string{"mail", "calls"}, "", ""},
		{"mail", "", ReasonAudience},
		{"Calls", "", ReasonAudience},
		{"calls ", "", ReasonAudience},
		{[]string{}, "", ReasonAudience},
		{[]any{"calls", 1}, ReasonClaims, ReasonClaims},
		{7, ReasonClaims, ReasonClaims},
		{map[string]any{}, ReasonClaims, ReasonClaims},
	} {
		credential := sign("HS256", "", []byte(secretA), claimsWith(map[string]any{"aud": c.aud}))
		for s, why := range map[*stand]Reason{open: c.open, bound: c.bound} {
			if why == "" {
				s.takes(t, credential)
			} else {
				s.refuses(t, credential, why)
			}
		}
	}
}

func TestIssuer(t *testing.T) {
	c := one(Keys{Secrets: []string{secretA}})
	open := newStand(t, c)
	c.Projects[0].Issuer = "https://login.example.com/"
	bound := newStand(t, c)
	for _, c := range []struct {
		iss   any
		bound Reason
	}{
		{"https://login.example.com/", ""},
		{nil, ReasonIssuer},
		{"https://login.example.com", ReasonIssuer},
		{"", ReasonIssuer},
		{[]string{"https://login.example.com/"}, ReasonClaims},
		{7, ReasonClaims},
		{(*string)(nil), ReasonIssuer},
		{map[string]any{"a": nil}, ReasonClaims},
	} {
		credential := sign("HS256", "", []byte(secretA), claimsWith(map[string]any{"iss": c.iss}))
		open.takes(t, credential)
		if c.bound == "" {
			bound.takes(t, credential)
		} else {
			bound.refuses(t, credential, c.bound)
		}
	}
}

// A key of one project never verifies a credential that names another.
func TestProjects(t *testing.T) {
	single := newStand(t, one(Keys{Secrets: []string{secretA}}))
	both := newStand(t, Config{Projects: []Project{
		{App: appA, Keys: Keys{Secrets: []string{secretA}}},
		{App: appB, Keys: Keys{Secrets: []string{secretB}, PublicKeyPEMs: []string{publicPEM(ecKey())}}, Audience: "b"},
	}})
	hs := func(secret string, app any) string {
		return sign("HS256", "", []byte(secret), claimsWith(map[string]any{"app": app, "aud": "b"}))
	}
	if c := single.takes(t, hs(secretA, nil)); c.App != appA {
		t.Errorf("app %q", c.App)
	}
	single.takes(t, hs(secretA, appA))
	single.refuses(t, hs(secretA, appB), ReasonApp)
	single.refuses(t, hs(secretA, ""), ReasonApp)
	single.refuses(t, hs(secretA, 7), ReasonClaims)

	if c := both.takes(t, hs(secretA, appA)); c.App != appA {
		t.Errorf("app %q", c.App)
	}
	if c := both.takes(t, hs(secretB, appB)); c.App != appB {
		t.Errorf("app %q", c.App)
	}
	both.refuses(t, hs(secretA, appB), ReasonSignature)
	both.refuses(t, hs(secretB, appA), ReasonSignature)
	both.refuses(t, hs(secretA, nil), ReasonApp)
	both.refuses(t, hs(secretA, "unknown"), ReasonApp)
	both.refuses(t, hs(secretA, []string{appA}), ReasonClaims)
	both.refuses(t, signText(`{"alg":"HS256"}`, `{"app":"`+appB+`","app":"`+appA+`","exp":9999999999}`), ReasonClaims)
	both.refuses(t, signText(`{"alg":"HS256"}`, `{`), ReasonMalformed)
	es := sign("ES256", "", ecKey(), claimsWith(map[string]any{"app": appA}))
	both.refuses(t, es, ReasonAlgorithm)
	es = sign("ES256", "", ecKey(), claimsWith(map[string]any{"app": appB}))
	both.refuses(t, es, ReasonAudience)
}

func TestCaller(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	got := s.takes(t, signText(`{"alg":"HS256","typ":"JWT","kid":"1"}`, `{
		"iss": "somebody", "sub": "ana", "exp": 9999999999, "scope": "calls admin", "other": {"a": [null]},
		"grants": {
			"rtc": {"channels": ["daily-*", "a*b"], "uids": [1001, "7", "10*", "*", 0, 4294967295], "accounts": ["ana"], "roles": ["publisher", "subscriber"], "more": 1},
			"rtm": {"users": ["1001"]}, "chat": {"users": ["ana", "*"]}, "maxTtl": 3600, "until": 1700003600, "tokenFormat": "006", "more": {}
		}}`))
	format := session.Format006
	want := session.Caller{App: appA, Subject: "ana", Admin: true, ExpiresAt: 9999999999, Grant: session.Grant{
		Format: &format, Channels: []string{"daily-*", "a*b"}, UIDs: []string{"1001", "7", "10*", "*", "0", "4294967295"},
		Accounts: []string{"ana"}, Roles: []session.Role{session.Publisher, session.Subscriber},
		RTMUsers: []string{"1001"}, Chat: []string{"ana", "*"}, MaxTTL: time.Hour, Until: 1700003600,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := s.count("ok"); n != 1 {
		t.Errorf("%v counted as ok", n)
	}
	// Absent claims grant nothing.
	for _, claims := range []string{`"grants":{}`, `"grants":{"rtc":{},"rtm":{},"chat":{}}`, `"grants":{"rtc":{"uids":[]}}`, `"scope":"administrator"`} {
		got := s.takes(t, signText(`{"alg":"HS256"}`, `{"exp":9999999999,`+claims+`}`))
		if diff := cmp.Diff(session.Caller{App: appA, ExpiresAt: 9999999999}, got); diff != "" {
			t.Errorf("%s: %s", claims, diff)
		}
	}
}

func TestClaimTypes(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	name := strings.Repeat("x", maxName)
	s.takes(t, signText(`{"alg":"HS256"}`, `{"exp":9999999999,"sub":"`+name+`","grants":{"rtm":{"users":["`+name+`"]}}}`))
	ones := func(n int) string { return "[" + strings.Repeat("1,", n-1) + "1]" }
	s.takes(t, signText(`{"alg":"HS256"}`, `{"exp":9999999999,"grants":{"rtc":{"uids":`+ones(maxEntries)+`}}}`))

	for claims, detail := range map[string]string{
		`"sub":7`:                                         "sub: want a string of at most 255 bytes",
		`"sub":null`:                                      "sub: want a string of at most 255 bytes",
		`"sub":"x` + name + `"`:                           "sub: want a string of at most 255 bytes",
		`"scope":["admin"]`:                               "scope: want a string",
		`"scope":null`:                                    "scope: want a string",
		`"Scope":"admin"`:                                 "scope: is written in another case",
		`"Grants":{}`:                                     "grants: is written in another case",
		`"grants":null`:                                   "grants: want an object",
		`"grants":[]`:                                     "grants: want an object",
		`"grants":"all"`:                                  "grants: want an object",
		`"grants":{"rtc":{},"rtc":{}}`:                    "a name stands there twice",
		`"grants":{"maxTTL":60}`:                          "grants.maxTtl: is written in another case",
		`"grants":{"tokenFormat":"005"}`:                  `grants.tokenFormat: want "007", "006" or "007-single"`,
		`"grants":{"tokenFormat":7}`:                      `grants.tokenFormat: want "007", "006" or "007-single"`,
		`"grants":{"tokenFormat":""}`:                     `grants.tokenFormat: want "007", "006" or "007-single"`,
		`"grants":{"tokenformat":"006"}`:                  "grants.tokenFormat: is written in another case",
		`"grants":{"maxTtl":0}`:                           "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"maxTtl":-1}`:                          "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"maxTtl":1.5}`:                         "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"maxTtl":1e3}`:                         "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"maxTtl":"60"}`:                        "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"maxTtl":null}`:                        "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"maxTtl":9999999999999}`:               "grants.maxTtl: want whole seconds, 1 to 2147483648",
		`"grants":{"until":0}`:                            "grants.until: want whole Unix seconds, not 0, and not milliseconds",
		`"grants":{"until":1.5}`:                          "grants.until: want whole Unix seconds, not 0, and not milliseconds",
		`"grants":{"until":-5}`:                           "grants.until: want whole Unix seconds, not 0, and not milliseconds",
		`"grants":{"until":1700003600000}`:                "grants.until: want whole Unix seconds, not 0, and not milliseconds",
		`"grants":{"rtc":[]}`:                             "grants.rtc: want an object",
		`"grants":{"rtc":null}`:                           "grants.rtc: want an object",
		`"grants":{"rtc":{"channels":"*"}}`:               "grants.rtc.channels: want a list of strings of 1 to 255 bytes",
		`"grants":{"rtc":{"uids":null}}`:                  `grants.rtc.uids: want a list of uids, such as 1001, "1001", "10*" or "*"`,
		`"grants":{"rtc":{"UIDs":[]}}`:                    "grants.rtc.uids: is written in another case",
		`"grants":{"rtc":{"channels":[1]}}`:               "grants.rtc.channels: want a list of strings of 1 to 255 bytes",
		`"grants":{"rtc":{"channels":[""]}}`:              "grants.rtc.channels: want a list of strings of 1 to 255 bytes",
		`"grants":{"rtc":{"accounts":[["ana"]]}}`:         "grants.rtc.accounts: want a list of strings of 1 to 255 bytes",
		`"grants":{"rtc":{"accounts":["x` + name + `"]}}`: "grants.rtc.accounts: want a list of strings of 1 to 255 bytes",
		`"grants":{"rtc":{"roles":["admin"]}}`:            `grants.rtc.roles: want a list of "publisher" and "subscriber"`,
		`"grants":{"rtc":{"roles":["Publisher"]}}`:        `grants.rtc.roles: want a list of "publisher" and "subscriber"`,
		`"grants":{"rtc":{"roles":[1]}}`:                  `grants.rtc.roles: want a list of "publisher" and "subscriber"`,
		`"grants":{"rtm":{"users":{"a":1}}}`:              "grants.rtm.users: want a list of strings of 1 to 255 bytes",
		`"grants":{"chat":{"users":[null]}}`:              "grants.chat.users: want a list of strings of 1 to 255 bytes",
		`"grants":{"rtc":{"uids":` + ones(1001) + `}}`:    "grants.rtc.uids: want at most 1000 entries in all",
		`"grants":{"rtc":{"uids":` + ones(999) + `},"rtm":{"users":["a","b"]}}`: "grants.rtm.users: want at most 1000 entries in all",
	} {
		t.Run(claims[:min(len(claims), 60)], func(t *testing.T) {
			got := s.refuses(t, signText(`{"alg":"HS256"}`, `{"exp":9999999999,`+claims+`}`), ReasonClaims)
			if got != detail {
				t.Errorf("detail %q, want %q", got, detail)
			}
		})
	}
	for _, uid := range []string{`-1`, `1.5`, `1e3`, `4294967296`, `"4294967296"`, `"007"`, `"1*1"`, `"a"`, `"+1"`, `" 1"`, `""`, `"**"`, `null`, `true`, `{}`, `[1]`} {
		s.refuses(t, signText(`{"alg":"HS256"}`, `{"exp":9999999999,"grants":{"rtc":{"uids":[1,`+uid+`]}}}`), ReasonClaims)
	}
}

// wants has a text for each claim that the service reads.
func TestWantsAreThoseOfClaims(t *testing.T) {
	read := make(map[string]bool)
	var walk func(place string, claims reflect.Type)
	walk = func(place string, claims reflect.Type) {
		for _, f := range reflect.VisibleFields(claims) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			read[place+name] = true
			if f.Type.Kind() == reflect.Struct {
				walk(place+name+".", f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[claims]())
	if diff := cmp.Diff(slices.Sorted(maps.Keys(read)), slices.Sorted(maps.Keys(wants))); diff != "" {
		t.Error(diff)
	}
}

// The caller gets the same text for every defect. The log has the reason and the key id, and
// nothing else from the credential.
func TestRefusalsTellLittle(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	canary := "CANARY"
	kid := "my-key\n\"" + strings.Repeat("k", 500)
	texts := make(map[string]bool)
	for _, credential := range []string{
		sign("HS256", kid, []byte(secretB), claimsWith(map[string]any{"sub": canary})),
		sign("HS256", kid, []byte(secretA), claimsWith(map[string]any{"scope": []string{canary}})),
		sign("HS256", kid, []byte(secretA), claimsWith(map[string]any{"exp": 1, "aud": canary})),
		sign("HS256", kid, []byte(secretA), claimsWith(map[string]any{"grants": map[string]any{canary: 1, "rtc": canary}})),
		canary + "." + canary + "." + canary,
	} {
		_, err := s.Verify(context.Background(), credential)
		texts[err.Error()] = true
		if strings.Contains(s.log.String(), credential) {
			t.Error("the log has a credential")
		}
		if _, err := s.Verify(context.Background(), sign("HS256", "", []byte(secretA), claimsWith(nil))); err != nil {
			t.Error(err)
		}
	}
	if len(texts) != 1 {
		t.Errorf("refusals are told in %d ways: %v", len(texts), texts)
	}
	log := s.log.String()
	for _, hidden := range []string{canary, secretA, strings.Repeat("k", 60)} {
		if strings.Contains(log, hidden) {
			t.Errorf("the log has %q", hidden)
		}
	}
	for _, shown := range []string{"reason=signature", "reason=expired", `detail="scope: want a string"`, "my-key"} {
		if !strings.Contains(log, shown) {
			t.Errorf("the log has no %q: %s", shown, log)
		}
	}
	if n := strings.Count(log, "\n"); n != 5 {
		t.Errorf("%d lines for 5 refusals", n)
	}
}

func TestFloodIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, one(Keys{Secrets: []string{secretA}}))
		for range 1000 {
			s.refuses(t, "x", ReasonMalformed)
		}
		if n := strings.Count(s.log.String(), "\n"); n != logBurst {
			t.Errorf("%d lines, want %d", n, logBurst)
		}
		time.Sleep(logEvery) // bubble
		s.refuses(t, "x", ReasonMalformed)
		if want := fmt.Sprintf("unlogged=%d", 1000-logBurst); !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	})
}

func TestConfig(t *testing.T) {
	good := one(Keys{Secrets: []string{secretA}})
	good.Logger, good.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no keys":       {func(c *Config) { c.Projects[0].Keys = Keys{} }, "jwt-secret: is missing"},
		"short secret":  {func(c *Config) { c.Projects[0].Keys.Secrets = []string{secretA[:31]} }, "want at least 32"},
		"empty secret":  {func(c *Config) { c.Projects[0].Keys.Secrets = []string{secretA, ""} }, "want at least 32"},
		"three secrets": {func(c *Config) { c.Projects[0].Keys.Secrets = []string{secretA, secretB, secretA} }, "at most 2"},
		"PEM as secret": {func(c *Config) { c.Projects[0].Keys.Secrets = []string{publicPEM(ecKey())} }, "want a secret here, and a public key in jwt-public-key-file"},
		"http":          {func(c *Config) { c.Projects[0].Keys.JWKSURL = "http://login.example.com/keys" }, "want https"},
		"user in URL":   {func(c *Config) { c.Projects[0].Keys.JWKSURL = "https://me:hidden@login.example.com/" }, "without a user"},
		"ftp":           {func(c *Config) { c.Projects[0].Keys.JWKSURL = "ftp://login.example.com/" }, "want a form like"},
		"no host":       {func(c *Config) { c.Projects[0].Keys.JWKSURL = "https:///keys" }, "want a form like"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := good
			broken.Projects = append([]Project(nil), good.Projects...)
			c.change(&broken)
			_, err := New(broken)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("have %v, want %q", err, c.want)
			}
			for _, hidden := range []string{"hidden", secretA[:31], "BEGIN"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("the error repeats a setting: %v", err)
				}
			}
		})
	}
	for _, u := range []string{"http://127.0.0.1:80/keys", "http://[::1]/keys", "http://localhost/keys", "https://login.example.com"} {
		newStand(t, one(Keys{JWKSURL: u}))
	}
}

// errors.As finds the *session.Error in a RefusedError.
func TestRefusalUnwraps(t *testing.T) {
	err := refuse(ReasonMissing, "")
	told, ok := errors.AsType[*session.Error](err)
	if !ok || told.Message != "a credential is needed here" || err.Error() != told.Error() {
		t.Errorf("%v", err)
	}
}
