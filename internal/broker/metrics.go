package broker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leat-stream/leat/internal/api"
)

// metrics are the broker's instruments. Handles are looked up once: nothing on the
// path of a request searches by label.
type metrics struct {
	byKey       map[int16]*apiMetrics
	refused     prometheus.Counter
	connections prometheus.Gauge
	accepted    prometheus.Counter
	syncSeconds prometheus.Histogram
}

// apiMetrics are the instruments of one API key.
type apiMetrics struct {
	requests  prometheus.Counter
	bytesIn   prometheus.Counter
	bytesOut  prometheus.Counter
	durations prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "leat_requests_total", Help: "Requests answered, by API.",
	}, []string{"api"})
	in := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "leat_request_bytes_total", Help: "Bytes of requests received, by API.",
	}, []string{"api"})
	out := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "leat_response_bytes_total", Help: "Bytes of responses sent, by API.",
	}, []string{"api"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "leat_request_duration_seconds",
		Help:    "Time from the arrival of a request to its answer written, waits included, by API.",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
	}, []string{"api"})
	m := &metrics{
		byKey: map[int16]*apiMetrics{},
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "leat_connections_refused_total", Help: "Connections turned away by a limit, or closed because of what they sent.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "leat_connections", Help: "Open client connections.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "leat_connections_accepted_total", Help: "Client connections accepted.",
		}),
	}
	m.syncSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "leat_log_sync_seconds",
		Help:    "Time of one group commit.",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
	})
	for _, h := range api.Handlers(api.ClientDoor | api.ControllerDoor) {
		name := h.Key.Name()
		m.byKey[h.Key.Int16()] = &apiMetrics{
			requests: requests.WithLabelValues(name), bytesIn: in.WithLabelValues(name),
			bytesOut: out.WithLabelValues(name), durations: durations.WithLabelValues(name),
		}
	}
	reg.MustRegister(requests, in, out, durations, m.refused, m.connections, m.accepted)
	return m
}

// observe counts one answered request.
func (m *metrics) observe(s *slot, sent int64, now time.Time) {
	a := m.byKey[s.req.Key]
	if a == nil {
		return // refused before its API was known
	}
	a.requests.Inc()
	a.bytesIn.Add(float64(s.in))
	a.bytesOut.Add(float64(sent))
	a.durations.Observe(now.Sub(s.req.Received).Seconds())
}
