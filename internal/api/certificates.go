package api

// certificates answers GET /v1/certificates: how far the rotation of the App Certificate
// of the caller's project is.
func (o *operators) certificates(r *request) (any, error) {
	report, err := o.config.Certificates(r.Context(), r.caller.App)
	if err != nil {
		return nil, storeAway(err)
	}
	return report, nil
}
