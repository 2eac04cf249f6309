package api

import "slices"

// endpoint is how a client of a connection reaches a broker.
type endpoint struct {
	id   int32
	host string
	port int32
	rack *string
}

// endpoints lists the brokers of the given ids, once each, as the request's client
// reaches them (KIP-951).
func (s *Server) endpoints(r *Request, ids []int32) []endpoint {
	var all []endpoint
	img := s.Image()
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		b := img.Broker(id)
		if b == nil {
			continue
		}
		if host, port, ok := s.Endpoint(r.Conn, b); ok {
			all = append(all, endpoint{id, host, port, b.Rack})
		}
	}
	return all
}
