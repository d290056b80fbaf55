// Package calls runs calls at the judge of web/demo/edge with the tokens that the service
// issues, as an SDK and an app would. The judge admits and drops a call by its token alone.
// Each call also keeps a record, a Tally, of the tokens and events that it received from the
// service.
package calls
