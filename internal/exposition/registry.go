package exposition

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/collectors/version"
	dto "github.com/prometheus/client_model/go"
)

// A Registry holds the metrics of the receiver's own health. It is a
// prometheus.Registerer for them and a prometheus.Gatherer for [Exposition.Handler].
type Registry struct{ *prometheus.Registry }

// NewRegistry returns a registry with metrics of the Go runtime, the process and
// the build (cijob_receiver_build_info) in it.
func NewRegistry() *Registry {
	r := &Registry{prometheus.NewRegistry()}
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		version.NewCollector("cijob_receiver"),
	)
	return r
}

// Gather is that of prometheus.Registry without go_memstats_alloc_bytes: in
// OpenMetrics this gauge and the counter go_memstats_alloc_bytes_total would be
// families of one name. The gauge is the one that nobody misses, for
// go_memstats_heap_alloc_bytes is the same number.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) {
	families, err := r.Registry.Gather()
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
		return f.GetName() == "go_memstats_alloc_bytes"
	}), err
}
