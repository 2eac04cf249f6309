package sim

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
)

// newest and oldest are the versions of each key that the brokers speak.
var newest, oldest = func() (hi, lo map[int16]int16) {
	hi, lo = map[int16]int16{}, map[int16]int16{}
	for _, h := range api.Handlers(api.ClientDoor) {
		hi[h.Key.Int16()], lo[h.Key.Int16()] = h.Max, h.Min
	}
	return hi, lo
}()

// First versions that name topics by id.
const (
	metadataIDs    = 10
	produceByID    = 13
	fetchByID      = 13
	commitByID     = 10
	offsetsByID    = 10
	offsetsByGroup = 8 // several groups in one request
)

// aged are the requests that clients speak in older versions, and the first of each that
// carries what a client here needs: Produce before 3 has no batches, and Metadata before 4
// makes topics that are not there.
var aged = []struct{ key, from int16 }{
	{kmsg.Produce.Int16(), 3}, {kmsg.Fetch.Int16(), 4}, {kmsg.Metadata.Int16(), 4}, {kmsg.ListOffsets.Int16(), 1},
	{kmsg.OffsetCommit.Int16(), 2}, {kmsg.OffsetFetch.Int16(), 1},
}

// drawVersions draws what a client speaks; every other speaks the newest of everything.
func drawVersions(r *rand.Rand) map[int16]int16 {
	v := map[int16]int16{}
	if r.IntN(2) == 0 {
		return v
	}
	for _, a := range aged {
		from := max(a.from, oldest[a.key])
		v[a.key] = from + int16(r.IntN(int(newest[a.key]-from+1)))
	}
	if v[kmsg.Metadata.Int16()] < metadataIDs { // it never hears of an id
		for key, first := range map[kmsg.Key]int16{
			kmsg.Produce: produceByID, kmsg.Fetch: fetchByID, kmsg.OffsetCommit: commitByID, kmsg.OffsetFetch: offsetsByID,
		} {
			v[key.Int16()] = min(v[key.Int16()], first-1)
		}
	}
	return v
}

// version is the one in which the client speaks a request.
func (c *Client) version(key int16) int16 {
	if v, ok := c.versions[key]; ok {
		return v
	}
	return newest[key]
}

// spoke counts a request in an older version.
func (c *Client) spoke(req kmsg.Request) {
	key, v := req.Key(), req.GetVersion()
	if v == newest[key] {
		return
	}
	c.w.Count["older "+keyName(key)]++
	switch {
	case key == kmsg.Produce.Int16() && v < produceByID:
		c.w.Count["produce by name"]++
	case key == kmsg.Fetch.Int16() && v < fetchByID:
		c.w.Count["fetch by name"]++
	}
}

// placeOf is how an answer tells one topic from another: by id, or by name.
func placeOf(version, byID int16, name string, id [16]byte) string {
	if version >= byID {
		return string(id[:])
	}
	return name
}
