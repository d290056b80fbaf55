package credential

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
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
		why Reason
	}{
		{"HS256", []byte(secretA), ""},
		{"HS512", []byte(secretB), ""},
		{"RS256", rsaKey(), ""},
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
		t.Run(c.alg, func(t *testing.T) { s.check(t, sign(c.alg, "", c.key, claimsWith(nil)), c.why) })
	}
}

// The configured keys determine the accepted algorithms; the header does not.
func TestAlgorithmConfusion(t *testing.T) {
	secrets := newStand(t, one(Keys{Secrets: []string{secretA}}))
	public := newStand(t, one(Keys{PublicKeyPEMs: []string{publicPEM(rsaKey()), publicPEM(ecKey())}}))
	good := claimsWith(nil)
	secrets.refuses(t, sign("RS256", "", rsaKey(), good), ReasonAlgorithm)
	public.refuses(t, sign("HS256", "", []byte(publicPEM(ecKey())), good), ReasonAlgorithm)
	public.refuses(t, sign("ES384", "", ec384(), good), ReasonAlgorithm)

	// The key's curve does not fit the algorithm.
	es384 := &jwt.SigningMethodECDSA{Name: "ES384", Hash: jwt.SigningMethodES384.Hash, KeySize: 32, CurveBits: 256}
	mixed := must(jwt.NewWithClaims(es384, good).SignedString(ecKey()))
	public.refuses(t, mixed, ReasonAlgorithm)

	for _, alg := range []string{"none", "", "hs256"} {
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
		"longest":           {strings.Repeat("a", MaxCredential), ReasonMalformed},
		"two parts":         {parts[0] + "." + parts[1], ReasonMalformed},
		"four parts":        {good + ".", ReasonMalformed},
		"line break":        {good + "\n", ReasonMalformed},
		"odd last bits":     {loose, ReasonMalformed},
		"padded":            {good + "=", ReasonMalformed},
		"header no base64":  {"!." + parts[1] + "." + parts[2], ReasonMalformed},
		"header no JSON":    {signText(`{`, claims), ReasonMalformed},
		"header a list":     {signText(`[]`, claims), ReasonMalformed},
		"header and more":   {signText(header+`{}`, claims), ReasonMalformed},
		"alg absent":        {signText(`{}`, claims), ReasonMalformed},
		"alg null":          {signText(`{"alg":null}`, claims), ReasonMalformed},
		"alg twice":         {signText(`{"alg":"none","alg":"HS256"}`, claims), ReasonMalformed},
		"alg in capitals":   {signText(`{"ALG":"HS256"}`, claims), ReasonMalformed},
		"kid a list":        {signText(`{"alg":"HS256","kid":["a"]}`, claims), ReasonMalformed},
		"crit":              {signText(`{"alg":"HS256","crit":["b64"],"b64":false}`, claims), ReasonCriticalHeader},
		"crit empty":        {signText(`{"alg":"HS256","crit":[]}`, claims), ReasonCriticalHeader},
		"signature empty":   {parts[0] + "." + parts[1] + ".", ReasonSignature},
		"claims changed":    {parts[0] + "." + parts[1] + "AAAA." + parts[2], ReasonSignature},
		"claims no JSON":    {signText(header, `{"exp":9999999999`), ReasonMalformed},
		"claims no UTF-8":   {signText(header, "{\"exp\":9999999999,\"sub\":\"\xff\"}"), ReasonMalformed},
		"claim twice":       {signText(header, `{"exp":9999999999,"sub":"a","s\u0075b":"b"}`), ReasonClaims},
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, c.credential, c.why) })
	}
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, one(Keys{Secrets: []string{secretA}}))
		now := time.Now().Unix()
		for _, c := range []struct {
			claims map[string]any
			why    Reason
		}{
			{map[string]any{"exp": nil}, ReasonNoExpiry},
			{map[string]any{"exp": now - 29}, ""},
			{map[string]any{"exp": now - 30}, ReasonExpired},
			{map[string]any{"exp": float64(now) - 29.5}, ReasonExpired},
			{map[string]any{"exp": -1}, ReasonClaims},
			{map[string]any{"exp": now * 1000}, ReasonClaims},
			{map[string]any{"nbf": now + 30}, ""},
			{map[string]any{"nbf": now + 31}, ReasonNotYetValid},
			{map[string]any{"iat": now + 30}, ""},
			{map[string]any{"iat": now + 31}, ReasonIssuedAhead},
			{map[string]any{"iat": []int{1}}, ReasonClaims},
		} {
			s.check(t, sign("HS256", "", []byte(secretA), claimsWith(c.claims)), c.why)
		}
	})
}

func TestIssuer(t *testing.T) {
	c := one(Keys{Secrets: []string{secretA}})
	open := newStand(t, c)
	c.Projects[0].Audience, c.Projects[0].Issuer = "calls", "https://login.example.com/"
	bound := newStand(t, c)
	const good = "https://login.example.com/"
	for _, c := range []struct {
		aud, iss    any
		open, bound Reason
	}{
		{"calls", good, "", ""},
		{[]string{"mail", "calls"}, good, "", ""},
		{nil, good, "", ReasonAudience},
		{"Calls", good, "", ReasonAudience},
		{[]string{}, good, "", ReasonAudience},
		{[]any{"calls", 1}, good, ReasonClaims, ReasonClaims},
		{"calls", nil, "", ReasonIssuer},
		{"calls", "https://login.example.com", "", ReasonIssuer},
		{"calls", []string{good}, "", ReasonClaims},
		{"calls", (*string)(nil), "", ReasonIssuer},
	} {
		credential := sign("HS256", "", []byte(secretA), claimsWith(map[string]any{"aud": c.aud, "iss": c.iss}))
		open.check(t, credential, c.open)
		bound.check(t, credential, c.bound)
	}
}

// A key of one project never verifies a credential that names another project.
func TestProjects(t *testing.T) {
	single := newStand(t, one(Keys{Secrets: []string{secretA}}))
	both := newStand(t, Config{Projects: []Project{
		{App: appA, Keys: Keys{Secrets: []string{secretA}}},
		{App: appB, Keys: Keys{Secrets: []string{secretB}, PublicKeyPEMs: []string{publicPEM(ecKey())}}, Audience: "b"},
	}})
	for _, c := range []struct {
		secret       string
		app          any
		single, both Reason
	}{
		{secretA, appA, "", ""},
		{secretB, appB, ReasonSignature, ""},
		{secretA, nil, "", ReasonApp},
		{secretA, appB, ReasonApp, ReasonSignature},
		{secretB, appA, ReasonSignature, ReasonSignature},
		{secretA, "unknown", ReasonApp, ReasonApp},
		{secretA, 7, ReasonClaims, ReasonClaims},
	} {
		credential := sign("HS256", "", []byte(c.secret), claimsWith(map[string]any{"app": c.app, "aud": "b"}))
		if got := single.check(t, credential, c.single); c.single == "" && got.App != appA {
			t.Errorf("app %q of the only project", got.App)
		}
		if got := both.check(t, credential, c.both); c.both == "" && got.App != c.app {
			t.Errorf("app %q, want %v", got.App, c.app)
		}
	}
	both.refuses(t, signText(`{"alg":"HS256"}`, `{"app":"`+appB+`","app":"`+appA+`","exp":9999999999}`), ReasonClaims)
	both.refuses(t, sign("ES256", "", ecKey(), claimsWith(map[string]any{"app": appA})), ReasonAlgorithm)
	both.refuses(t, sign("ES256", "", ecKey(), claimsWith(map[string]any{"app": appB})), ReasonAudience)
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

	details := map[string]string{
		`"Scope":"admin"`:                              "scope: is written in another case",
		`"Grants":{}`:                                  "grants: is written in another case",
		`"grants":{"rtc":{},"rtc":{}}`:                 "a name is given twice",
		`"grants":{"maxTTL":60}`:                       "grants.maxTtl: is written in another case",
		`"grants":{"rtc":{"UIDs":[]}}`:                 "grants.rtc.uids: is written in another case",
		`"grants":{"rtc":{"uids":` + ones(1001) + `}}`: "grants.rtc.uids: want at most 1000 entries in all",
		`"grants":{"rtc":{"uids":` + ones(999) + `},"rtm":{"users":["a","b"]}}`: "grants.rtm.users: want at most 1000 entries in all",
	}
	for claim, values := range map[string][]string{
		`sub`:                 {`7`, `null`, `"x` + name + `"`},
		`scope`:               {`["admin"]`, `null`},
		`app`:                 {`7`},
		`aud`:                 {`7`},
		`nbf`:                 {`"now"`},
		`iat`:                 {`[1]`},
		`grants`:              {`null`, `[]`, `"all"`},
		`grants.rtc`:          {`[]`, `null`},
		`grants.maxTtl`:       {`0`, `-1`, `1.5`, `1e3`, `"60"`, `null`, `9999999999999`},
		`grants.until`:        {`0`, `1.5`, `-5`, `1700003600000`},
		`grants.tokenFormat`:  {`"005"`, `7`, `""`},
		`grants.rtc.channels`: {`"*"`, `[1]`, `[""]`},
		`grants.rtc.uids`:     {`null`, `[1,-1]`, `[1.5]`, `[1e3]`, `[4294967296]`, `["4294967296"]`, `["007"]`, `["1*1"]`, `["a"]`, `["+1"]`, `[" 1"]`, `[""]`, `["**"]`, `[null]`, `[true]`},
		`grants.rtc.accounts`: {`[["ana"]]`, `["x` + name + `"]`},
		`grants.rtc.roles`:    {`["admin"]`, `["Publisher"]`, `[1]`},
		`grants.rtm`:          {`[]`},
		`grants.rtm.users`:    {`{"a":1}`},
		`grants.chat`:         {`"*"`},
		`grants.chat.users`:   {`[null]`},
	} {
		parts := strings.Split(claim, ".")
		for _, value := range values {
			claims := `"` + strings.Join(parts, `":{"`) + `":` + value + strings.Repeat("}", len(parts)-1)
			details[claims] = claim + ": " + wants[claim]
		}
	}
	for claims, want := range details {
		if got := s.refuses(t, signText(`{"alg":"HS256"}`, `{"exp":9999999999,`+claims+`}`), ReasonClaims); got != want {
			t.Errorf("%.60s: detail %q, want %q", claims, got, want)
		}
	}
}

// The caller gets the same text for every defect of a credential. The log has the reason and the key id, and nothing
// else from the credential.
func TestRefusalsTellLittle(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	const canary = "CANARY"
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
	for want, keys := range map[string]Keys{
		"jwt-secret: is missing":          {},
		"jwt-secret: has 31 bytes":        {Secrets: []string{secretA[:31]}},
		"jwt-secret: has 0 bytes":         {Secrets: []string{secretA, ""}},
		"jwt-secret: want at most 2":      {Secrets: []string{secretA, secretB, secretA}},
		"jwt-secret: is a key in PEM":     {Secrets: []string{publicPEM(ecKey())}},
		"jwks-url: want https":            {JWKSURL: "http://login.example.com/keys?hidden"},
		"jwks-url: want a value such as ": {JWKSURL: "https://me:hidden@login.example.com/"},
		"jwks-url: want a value such as":  {JWKSURL: "ftp://login.example.com/"},
		"jwks-url: want":                  {JWKSURL: "https:///keys"},
	} {
		c := one(keys)
		c.Logger, c.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), secretA[:31]) {
			t.Errorf("have %v, want %q", err, want)
		}
	}
	for _, u := range []string{"http://127.0.0.1:80/keys", "http://[::1]/keys", "http://localhost/keys", "https://login.example.com"} {
		newStand(t, one(Keys{JWKSURL: u}))
	}
}
