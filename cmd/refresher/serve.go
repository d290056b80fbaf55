package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/hook"
	"refresher/internal/project"
	"refresher/internal/redis"
)

type serveCommand struct {
	Listen   address       `env:"REFRESHER_LISTEN,PORT,SERVER_PORT" default:":8080" group:"Ports" help:"Address of the public port: host:port, a port alone, or unix: and the path of a socket."`
	TokenTTL time.Duration `name:"token-ttl" env:"REFRESHER_TOKEN_TTL" default:"1h" group:"Tokens and renewals" help:"Lifetime of tokens if the client asks for none."`
	settings `embed:""`

	RedisURL      string `name:"redis-url" env:"REFRESHER_REDIS_URL,REDIS_URL" placeholder:"URL" group:"Redis" help:"Redis that the nodes share: redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://. Default: sessions stay in the memory of this process."`
	RedisURLFile  string `name:"redis-url-file" type:"existingfile" env:"REFRESHER_REDIS_URL_FILE" placeholder:"FILE" group:"Redis" help:"File with --redis-url, which may hold a password. Read at the start."`
	RedisCAFile   string `name:"redis-ca-file" type:"existingfile" env:"REFRESHER_REDIS_CA_FILE" placeholder:"FILE" group:"Redis" help:"PEM file with the authorities that may sign the certificate of Redis. Default: the system's."`
	RedisCertFile string `name:"redis-cert-file" type:"existingfile" env:"REFRESHER_REDIS_CERT_FILE" placeholder:"FILE" group:"Redis" help:"Client certificate, in PEM, for a Redis that requires one. Read again for each new connection."`
	RedisKeyFile  string `name:"redis-key-file" type:"existingfile" env:"REFRESHER_REDIS_KEY_FILE" placeholder:"FILE" group:"Redis" help:"Private key of --redis-cert-file, in PEM. Read again for each new connection."`
	RedisPrefix   string `env:"REFRESHER_REDIS_PREFIX" default:"refresher" group:"Redis" help:"Prefix of all keys in Redis. Services that share a Redis need different prefixes."`

	Auth        string `env:"REFRESHER_AUTH" enum:"jwt,none" default:"jwt" group:"Credentials" help:"jwt: every request needs a credential. none: no credentials; anybody gets any token."`
	Insecure    bool   `env:"REFRESHER_INSECURE" group:"Credentials" help:"Accept --auth=none on an address that other machines can reach."`
	keySettings `embed:""`

	CredentialInPath bool `env:"REFRESHER_CREDENTIAL_IN_PATH" group:"Credentials" help:"Also accept a credential in the path of a classic endpoint (/with/CREDENTIAL/rtc/...) if it expires within an hour. For Agora's UIKits, which send no header."`

	ProjectsFile string  `type:"existingfile" env:"REFRESHER_PROJECTS_FILE" placeholder:"FILE" group:"Agora project" help:"YAML file with several Agora projects, instead of --app-id, the App Certificate and the keys of credentials."`
	SubjectRate  float64 `env:"REFRESHER_SUBJECT_RATE" default:"100" group:"Limits" help:"Requests a second with credentials of one subject; 0 is unlimited."`

	AuthorizeURL                string        `name:"authorize-url" env:"REFRESHER_AUTHORIZE_URL" placeholder:"URL" group:"Approval" help:"URL of your back end's approval webhook, which receives signed POST requests at each join and before each renewal. Default: no webhook."`
	AuthorizeSecret             string        `env:"REFRESHER_AUTHORIZE_SECRET" placeholder:"SECRET" group:"Approval" help:"Secret that signs the requests to --authorize-url, in the forms of --events-secret."`
	AuthorizeSecretFile         string        `type:"existingfile" env:"REFRESHER_AUTHORIZE_SECRET_FILE" placeholder:"FILE" group:"Approval" help:"File with --authorize-secret. Read at the start."`
	AuthorizePreviousSecret     string        `env:"REFRESHER_AUTHORIZE_PREVIOUS_SECRET" placeholder:"SECRET" group:"Approval" help:"Previous --authorize-secret, which signs the requests too until your back end has the new secret."`
	AuthorizePreviousSecretFile string        `type:"existingfile" env:"REFRESHER_AUTHORIZE_PREVIOUS_SECRET_FILE" placeholder:"FILE" group:"Approval" help:"File with --authorize-previous-secret. Read at the start."`
	AuthorizeTimeout            time.Duration `env:"REFRESHER_AUTHORIZE_TIMEOUT" default:"2s" group:"Approval" help:"How long one request to --authorize-url may take."`
	AuthorizeGrace              time.Duration `env:"REFRESHER_AUTHORIZE_GRACE" default:"10m" group:"Approval" help:"How long renewals go on while the webhook does not answer, counted from one token lifetime after its last approval."`
}

// keySettings are the settings of the keys that verify credentials.
type keySettings struct {
	JWTSecret             string `yaml:"jwtSecret" name:"jwt-secret" env:"REFRESHER_JWT_SECRET" placeholder:"SECRET" group:"Credentials" help:"Secret that verifies credentials signed by HS256, HS384 or HS512; 32 bytes or more."`
	JWTSecretFile         string `yaml:"jwtSecretFile" name:"jwt-secret-file" type:"existingfile" env:"REFRESHER_JWT_SECRET_FILE" placeholder:"FILE" group:"Credentials" help:"File with --jwt-secret. Read again when it changes."`
	JWTPreviousSecret     string `yaml:"jwtPreviousSecret" name:"jwt-previous-secret" env:"REFRESHER_JWT_PREVIOUS_SECRET" placeholder:"SECRET" group:"Credentials" help:"Previous --jwt-secret, still accepted while your back end changes to the new secret."`
	JWTPreviousSecretFile string `yaml:"jwtPreviousSecretFile" name:"jwt-previous-secret-file" type:"existingfile" env:"REFRESHER_JWT_PREVIOUS_SECRET_FILE" placeholder:"FILE" group:"Credentials" help:"File with --jwt-previous-secret. Read again when it changes."`
	JWTPublicKeyFile      string `yaml:"jwtPublicKeyFile" name:"jwt-public-key-file" type:"existingfile" env:"REFRESHER_JWT_PUBLIC_KEY_FILE" placeholder:"FILE" group:"Credentials" help:"PEM file with the public keys (RSA, ECDSA, Ed25519) that verify credentials. Read again when it changes."`
	JWKSURL               string `yaml:"jwksUrl" name:"jwks-url" env:"REFRESHER_JWKS_URL" placeholder:"URL" group:"Credentials" help:"URL of the key set (JWKS) that verifies credentials."`
	JWTAudience           string `yaml:"jwtAudience" name:"jwt-audience" env:"REFRESHER_JWT_AUDIENCE" placeholder:"NAME" group:"Credentials" help:"Audience (aud) that every credential must name. Default: any."`
	JWTIssuer             string `yaml:"jwtIssuer" name:"jwt-issuer" env:"REFRESHER_JWT_ISSUER" placeholder:"NAME" group:"Credentials" help:"Issuer (iss) that every credential must name. Default: any."`
}

// files returns the paths of all files with keys.
func (s *keySettings) files() (paths []string) {
	for _, path := range []string{s.JWTSecretFile, s.JWTPreviousSecretFile, s.JWTPublicKeyFile} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// keys returns the keys, after it has read their files and checked them. The service calls it again when a file
// changes.
func (s keySettings) keys(name nameOf) (credential.Keys, error) {
	k := credential.Keys{JWKSURL: s.JWKSURL}
	for _, secret := range []secretSetting{
		{name("jwt-secret"), name("jwt-secret-file"), &s.JWTSecret, s.JWTSecretFile},
		{name("jwt-previous-secret"), name("jwt-previous-secret-file"), &s.JWTPreviousSecret, s.JWTPreviousSecretFile},
	} {
		if err := secret.resolve(); err != nil {
			return k, err
		}
		if *secret.value == "" {
			continue
		}
		if err := credential.CheckSecret(*secret.value); err != nil {
			return k, fmt.Errorf("%s: %w", secret.where(), err)
		}
		k.Secrets = append(k.Secrets, *secret.value)
	}
	if file := s.JWTPublicKeyFile; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return k, fmt.Errorf("%s: %w", name("jwt-public-key-file"), err)
		}
		if err := credential.CheckPublicKeys(text); err != nil {
			return k, fmt.Errorf("%s: %s: %w", name("jwt-public-key-file"), file, err)
		}
		k.PublicKeyPEMs = []string{string(text)}
	}
	if s.JWKSURL != "" {
		if err := credential.CheckJWKSURL(s.JWKSURL); err != nil {
			return k, fmt.Errorf("%s: %w", name("jwks-url"), err)
		}
	}
	return k, nil
}

func (c *serveCommand) appConfig() (app.Config, error) {
	projects, err := c.projects()
	if err != nil {
		return app.Config{}, err
	}
	err = resolveSecrets(append(c.secrets(),
		flagged("--redis-url", &c.RedisURL, c.RedisURLFile),
		flagged("--authorize-secret", &c.AuthorizeSecret, c.AuthorizeSecretFile),
		flagged("--authorize-previous-secret", &c.AuthorizePreviousSecret, c.AuthorizePreviousSecretFile))...)
	if err != nil {
		return app.Config{}, err
	}
	config := c.config(c.Listen, c.TokenTTL)
	config.Projects = projects
	if file := c.ProjectsFile; file != "" {
		config.ProjectsFile, config.ReadProjects = file, func() ([]project.Project, error) { return readProjects(file) }
	}
	config.Auth, config.Insecure, config.CredentialInPath, config.SubjectRate = c.Auth, c.Insecure, c.CredentialInPath, c.SubjectRate
	config.Redis = redis.Config{URL: c.RedisURL, CAFile: c.RedisCAFile, CertFile: c.RedisCertFile, KeyFile: c.RedisKeyFile, Prefix: c.RedisPrefix}
	config.Authorize = hook.Config{URL: c.AuthorizeURL, Secret: c.AuthorizeSecret, PreviousSecret: c.AuthorizePreviousSecret, Timeout: c.AuthorizeTimeout}
	config.Policy.ApprovalGrace = c.AuthorizeGrace
	return config, nil
}

// Run serves until it receives a signal.
func (c *serveCommand) Run(from *sources) error {
	limitGarbage()
	stop := onSignals()
	defer stop.release()
	config, err := c.appConfig()
	if err != nil {
		return err
	}
	log := c.openLog()
	defer log.Close()
	from.warnUnknown(log.Logger)
	config.LogDropped = log.Dropped
	a, err := app.New(config, log.Logger)
	if err != nil {
		return err
	}
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)
	return a.Run(stop.first, stop.second, reloads)
}
