package main

import (
	"slices"
	"testing"

	"github.com/alecthomas/kong"
)

func sourcesOf(t *testing.T, args ...string) *sources {
	t.Helper()
	return &sources{root: kong.Must(new(cli), valueMappers()...).Model.Node, args: args}
}

// A user may put the secret itself into the setting for its file. The error then does not show the secret.
func TestErrorsDoNotQuoteASecretForAPath(t *testing.T) {
	for path, want := range map[string]string{
		"nowhere.txt":                      `want the path of a file; there is none at "nowhere.txt"`,
		"0123456789abcdef0123456789abcdef": "want the path of a file; there is none at the name that it holds, which is not shown: it could be the secret itself",
	} {
		if _, err := existingFile(path); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestSettingIsNamedAsItWasWritten(t *testing.T) {
	t.Setenv("PORT", "web")
	for name, c := range map[string]struct {
		from *sources
		flag string
		want string
	}{
		"by a flag":      {sourcesOf(t, "serve", "--listen=web"), "listen", "--listen"},
		"by two words":   {sourcesOf(t, "serve", "--listen", "web"), "listen", "--listen"},
		"by a variable":  {sourcesOf(t, "serve"), "listen", "PORT"},
		"not set":        {sourcesOf(t, "serve"), "app-id", "--app-id (or AGORA_APP_ID)"},
		"a subcommand's": {sourcesOf(t, "token", "grant"), "channels", "--channels"},
	} {
		if got := c.from.name(c.from.flags()[c.flag]); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	from := sourcesOf(t, "serve")
	from.envFile = []string{"PORT"}
	if got := from.name(from.flags()["listen"]); got != "PORT in .env" {
		t.Errorf("in .env: %s", got)
	}
}

func TestUnknownVariables(t *testing.T) {
	variables, meant := sourcesOf(t, "serve").unknown([]string{
		"PATH=/bin", "REFRESHER_TOKEN_TTL=1h", "REFRESHER_URL=ws://x", "REFRESHER_ALLOWED_ORIGIN=hush", "REFRESHER_NONSENSE=1",
		// Kubernetes sets these variables for services named refresher and refresher-metrics.
		"REFRESHER_SERVICE_HOST=10.0.0.1", "REFRESHER_SERVICE_PORT=8080", "REFRESHER_SERVICE_PORT_HTTP=8080", "REFRESHER_PORT=tcp://10.0.0.1:8080",
		"REFRESHER_PORT_8080_TCP=tcp://10.0.0.1:8080", "REFRESHER_PORT_8080_TCP_ADDR=10.0.0.1", "REFRESHER_METRICS_SERVICE_HOST=10.0.0.2",
	})
	if want := []string{"REFRESHER_ALLOWED_ORIGIN", "REFRESHER_NONSENSE"}; !slices.Equal(variables, want) {
		t.Errorf("unknown %v, want %v", variables, want)
	}
	if want := []string{"REFRESHER_ALLOWED_ORIGINS"}; !slices.Equal(meant, want) {
		t.Errorf("meant %v, want %v", meant, want)
	}
}
