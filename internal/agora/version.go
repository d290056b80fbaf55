package agora

// Version is a token format, named as the first three characters of its
// tokens.
type Version string

const (
	// V006 is the older format, for SDKs and back ends that know no other.
	V006 Version = "006"
	// V007 is AccessToken2, the current format.
	V007 Version = "007"
)
