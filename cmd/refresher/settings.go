package main

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"refresher/internal/access"
	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/hook"
	"refresher/internal/logging"
	"refresher/internal/project"
	"refresher/internal/session"
)

type credentials struct {
	AppID              string `yaml:"appId" name:"app-id" env:"AGORA_APP_ID,APP_ID" placeholder:"HEX" group:"Agora project" help:"App ID of your Agora project, 32 hex digits."`
	AppCertificate     string `yaml:"appCertificate" env:"AGORA_APP_CERTIFICATE,APP_CERTIFICATE" placeholder:"HEX" group:"Agora project" help:"App Certificate of the project, 32 hex digits. Give it by the environment or in a file, since process lists show flags."`
	AppCertificateFile string `yaml:"appCertificateFile" type:"existingfile" env:"REFRESHER_APP_CERTIFICATE_FILE" placeholder:"FILE" group:"Agora project" help:"File with the App Certificate. The certificate on the first line signs; resume keys made with the certificates on the other lines are still accepted. Read again when it changes."`
}

// nameOf returns the name by which an error calls a setting. The setting is given by its flag, without the dashes.
type nameOf func(flag string) string

// flagName is the nameOf of settings that come from flags or variables.
func flagName(flag string) string { return "--" + flag }

// resolve checks the App ID and the certificates. If the certificates are in a file, it reads them from there first.
func (c *credentials) resolve(name nameOf) error {
	c.AppID = strings.TrimSpace(c.AppID)
	if c.AppID != "" {
		if err := agora.CheckAppID(c.AppID); err != nil {
			return fmt.Errorf("%s: %w", name("app-id"), err)
		}
	}
	text, where := c.AppCertificate, name("app-certificate")
	if file := c.AppCertificateFile; file != "" {
		if text != "" {
			return errBothSet(name("app-certificate"), name("app-certificate-file"))
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", name("app-certificate-file"), err)
		}
		text, where = string(content), name("app-certificate-file")+": "+file
	} else if text == "" {
		return nil
	}
	certificates, err := project.ParseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	c.AppCertificate = strings.Join(certificates, "\n")
	return nil
}

// certificates returns the App Certificates. The first one signs.
func (c *credentials) certificates() []string { return strings.Fields(c.AppCertificate) }

// require returns an error if no App ID or no certificate was given.
func (c *credentials) require(name nameOf) error {
	switch {
	case c.AppID == "":
		return fmt.Errorf("%s is missing; want the App ID of your Agora project, 32 hex digits", name("app-id"))
	case c.AppCertificate == "":
		return fmt.Errorf("%s is missing; want the project's App Certificate, 32 hex digits; %s is the setting for a file with it",
			name("app-certificate"), name("app-certificate-file"))
	}
	return nil
}

// settings are the settings that the commands serve and demo share.
type settings struct {
	credentials `embed:""`

	OpsListen address `env:"REFRESHER_OPS_LISTEN" default:"127.0.0.1:9090" group:"Ports" help:"Address of the operations port, with /metrics, /healthz, /readyz and pprof. On a loopback address, this port answers only requests addressed to localhost."`
	BasePath  string  `env:"REFRESHER_BASE_PATH" placeholder:"PATH" group:"Ports" help:"Path prefix of every URL on the public port, such as /refresher. Default: none."`

	SocketMode  fileMode      `env:"REFRESHER_SOCKET_MODE" default:"660" group:"Ports" help:"Permissions, in octal, of the socket file that --listen=unix:PATH creates."`
	IdleTimeout time.Duration `env:"REFRESHER_IDLE_TIMEOUT" default:"650s" group:"Ports" help:"How long the public port keeps an idle HTTP connection open. Set it longer than the timeout of your load balancer."`

	TokenVersion      string        `env:"REFRESHER_TOKEN_VERSION" enum:"007,006" default:"007" group:"Tokens and renewals" help:"Token format if neither the request nor the credential names one: 007, or 006 for old SDKs. Chat tokens are always 007."`
	MaxTTL            time.Duration `name:"max-ttl" env:"REFRESHER_MAX_TTL" default:"24h" group:"Tokens and renewals" help:"Longest token lifetime that a client may ask for."`
	MinTTL            time.Duration `name:"min-ttl" env:"REFRESHER_MIN_TTL" default:"10s" group:"Tokens and renewals" help:"Shortest token lifetime that a client may ask for."`
	RenewBefore       time.Duration `env:"REFRESHER_RENEW_BEFORE" default:"0s" group:"Tokens and renewals" help:"How long before their expiry the tokens are renewed, never more than half of their lifetime. 0 means a tenth of the lifetime, between 45s and 5m."`
	AckTimeout        time.Duration `env:"REFRESHER_ACK_TIMEOUT" default:"5s" group:"Tokens and renewals" help:"How long a client has to confirm a push before the push is repeated."`
	ResumeWindow      time.Duration `env:"REFRESHER_RESUME_WINDOW" default:"2m" group:"Sessions" help:"How long, at least, a session waits for a client that lost its connection."`
	MaxSession        time.Duration `env:"REFRESHER_MAX_SESSION" default:"168h" group:"Sessions" help:"How long after its join a session may be renewed."`
	Heartbeat         time.Duration `env:"REFRESHER_HEARTBEAT" default:"50s" group:"Sessions" help:"Longest interval between two pings of a client. Clients whose tokens live less than 50 minutes ping more often."`
	CertificateSpread time.Duration `env:"REFRESHER_CERTIFICATE_SPREAD" default:"5m" group:"Tokens and renewals" help:"Span over which live sessions get new tokens after the App Certificate was replaced; 24h at most."`
	DrainWindow       time.Duration `env:"REFRESHER_DRAIN_WINDOW" default:"20s" group:"Sessions" help:"Span over which a node that received SIGTERM tells its clients to reconnect elsewhere."`

	SessionSecret         string `env:"REFRESHER_SESSION_SECRET" placeholder:"SECRET" group:"Sessions" help:"Secret that encrypts resume keys, 16 bytes or more. Default: derived from the App Certificate."`
	SessionSecretFile     string `type:"existingfile" env:"REFRESHER_SESSION_SECRET_FILE" placeholder:"FILE" group:"Sessions" help:"File with --session-secret. Read at the start."`
	PreviousSessionSecret string `env:"REFRESHER_PREVIOUS_SESSION_SECRET" placeholder:"SECRET" group:"Sessions" help:"Previous --session-secret; resume keys that it encrypted are still accepted."`

	PreviousSessionSecretFile string `type:"existingfile" env:"REFRESHER_PREVIOUS_SESSION_SECRET_FILE" placeholder:"FILE" group:"Sessions" help:"File with --previous-session-secret. Read at the start."`

	EventsURL    string `name:"events-url" env:"REFRESHER_EVENTS_URL" placeholder:"URL" group:"Events" help:"URL of your back end that receives session events, by signed POST requests. Default: events are off."`
	EventsSecret string `env:"REFRESHER_EVENTS_SECRET" placeholder:"SECRET" group:"Events" help:"Secret that signs events: whsec_ and the base64 of 24 to 64 bytes, or a text of 24 bytes or more."`

	EventsSecretFile         string `type:"existingfile" env:"REFRESHER_EVENTS_SECRET_FILE" placeholder:"FILE" group:"Events" help:"File with --events-secret. Read at the start."`
	EventsPreviousSecret     string `env:"REFRESHER_EVENTS_PREVIOUS_SECRET" placeholder:"SECRET" group:"Events" help:"Previous --events-secret, which signs events too until the receivers have the new secret."`
	EventsPreviousSecretFile string `type:"existingfile" env:"REFRESHER_EVENTS_PREVIOUS_SECRET_FILE" placeholder:"FILE" group:"Events" help:"File with --events-previous-secret. Read at the start."`

	AddressRate    float64  `env:"REFRESHER_ADDRESS_RATE" default:"0" group:"Limits" help:"Requests a second from one client address; 0 is unlimited. Behind a proxy, set --trusted-proxies too, or all clients share one limit."`
	TrustedProxies []string `env:"REFRESHER_TRUSTED_PROXIES" placeholder:"CIDR,..." group:"Ports" help:"Networks of your proxies, in CIDR notation. The node trusts X-Forwarded-For and Forwarded only from these networks. Default: none."`
	ProxyProtocol  bool     `env:"REFRESHER_PROXY_PROTOCOL" group:"Ports" help:"Connections from --trusted-proxies begin with a PROXY header, version 1 or 2, with the address of the client."`
	TLSCertFile    string   `name:"tls-cert-file" type:"existingfile" env:"REFRESHER_TLS_CERT_FILE" placeholder:"FILE" group:"Ports" help:"Certificate chain, in PEM, to serve the public port by TLS. Read again when it changes."`
	TLSKeyFile     string   `name:"tls-key-file" type:"existingfile" env:"REFRESHER_TLS_KEY_FILE" placeholder:"FILE" group:"Ports" help:"Private key of --tls-cert-file, in PEM. Read again when it changes."`

	AllowedOrigins []string `env:"REFRESHER_ALLOWED_ORIGINS,CORS_ALLOW_ORIGIN" placeholder:"ORIGIN,..." group:"Ports" help:"Origins of the web pages that may connect, such as https://app.example.com, *.example.com, capacitor://localhost or *. Default: the service's own origin."`
	MaxSessions    int      `env:"REFRESHER_MAX_SESSIONS" default:"0" group:"Limits" help:"Limit of the sessions that this node keeps; 0 is unlimited. At the limit, the node drops sessions without a connection to make room."`
	JoinRate       float64  `env:"REFRESHER_JOIN_RATE" default:"0" group:"Limits" help:"Joins and resumes a second that this node accepts; 0 is unlimited."`

	LogFormat string   `env:"REFRESHER_LOG_FORMAT" enum:"auto,text,json" default:"auto" group:"Logs" help:"text, json, or auto: text on a terminal, else json."`
	LogLevel  logLevel `env:"REFRESHER_LOG_LEVEL" default:"info" group:"Logs" help:"debug, info, warn or error."`
}

// secrets returns all secrets but the App Certificate, which is read separately, since its file may contain several
// certificates.
func (s *settings) secrets() []secretSetting {
	return []secretSetting{
		flagged("--session-secret", &s.SessionSecret, s.SessionSecretFile),
		flagged("--previous-session-secret", &s.PreviousSessionSecret, s.PreviousSessionSecretFile),
		flagged("--events-secret", &s.EventsSecret, s.EventsSecretFile),
		flagged("--events-previous-secret", &s.EventsPreviousSecret, s.EventsPreviousSecretFile),
	}
}

func (s *settings) config(listen address, ttl time.Duration) app.Config {
	return app.Config{
		Listen: string(listen), OpsListen: string(s.OpsListen), BasePath: s.BasePath, SocketMode: fs.FileMode(s.SocketMode), IdleTimeout: s.IdleTimeout,
		Settings: project.Settings{
			Projects:      []project.Project{{AppID: s.AppID, Certificates: s.certificates(), CertificateFile: s.AppCertificateFile}},
			SessionSecret: s.SessionSecret, PreviousSessionSecret: s.PreviousSessionSecret,
		},
		Policy: session.Policy{
			DefaultFormat: formatOf(s.TokenVersion), TTL: ttl, MinTTL: s.MinTTL, MaxTTL: s.MaxTTL, MaxSession: s.MaxSession,
			RenewBefore: s.RenewBefore, AckTimeout: s.AckTimeout, ResumeWindow: s.ResumeWindow, CertificateSpread: s.CertificateSpread,
		},
		Events:    hook.Config{URL: s.EventsURL, Secret: s.EventsSecret, PreviousSecret: s.EventsPreviousSecret},
		Heartbeat: s.Heartbeat, DrainWindow: s.DrainWindow,
		Rules:       access.Rules{Auth: "none", AddressRate: s.AddressRate, TrustedProxies: s.TrustedProxies, ProxyProtocol: s.ProxyProtocol},
		TLSCertFile: s.TLSCertFile, TLSKeyFile: s.TLSKeyFile,
		AllowedOrigins: s.AllowedOrigins, MaxSessions: s.MaxSessions, JoinRate: s.JoinRate,
	}
}

// formatOf returns the token format for the value of a flag. The parser has already checked the value.
func formatOf(word string) (f session.Format) {
	if err := f.UnmarshalText([]byte(word)); err != nil {
		panic(err)
	}
	return f
}

// openLog opens the log of a service on standard error. From then on the service survives when the process that reads
// its output exits.
func (s *settings) openLog() *logging.Log {
	logging.IgnoreBrokenPipe()
	return newLog(s.LogFormat, slog.Level(s.LogLevel))
}

// newLog returns a log on standard error, in the given format: text, json, or auto, which is text on a terminal and
// JSON otherwise.
func newLog(format string, level slog.Level) *logging.Log {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: logging.Printable}
	return logging.New(os.Stderr, func(w io.Writer) slog.Handler {
		if asText(format) {
			return slog.NewTextHandler(w, options)
		}
		return slog.NewJSONHandler(w, options)
	})
}

// asText reports whether the log is text in this format; any value but text and json means auto.
func asText(format string) bool {
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return format == "text" || format != "json" && terminal
}
