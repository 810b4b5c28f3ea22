package device

// SetBatch makes the plan run so many images at once.
func (p *Plan) SetBatch(n int) { p.batch = n }
