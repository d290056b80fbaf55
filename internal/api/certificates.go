package api

// certificates answers GET /v1/certificates: the progress of the App Certificate rotation of the
// caller's project.
func (o *operators) certificates(r *request) (any, error) {
	report, err := o.config.Certificates(r.Context(), r.caller.App)
	if err != nil {
		return nil, storeAway(err)
	}
	return report, nil
}
