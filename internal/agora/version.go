package agora

// Version is a token format. Its name is the first three characters of each token.
type Version string

const (
	// V006 is the older format, for SDKs and back ends that do not support 007.
	V006 Version = "006"
	// V007 is AccessToken2, the current format.
	V007 Version = "007"
)
