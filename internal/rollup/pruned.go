package rollup

// PrunedJobs is how many jobs were in blocks past their retention, which are gone: the one
// thing beside new rows that changes what Scan finds.
func (r *Rollups) PrunedJobs() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head.Pruned
}
