package metadata

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// place chooses replicas for new partitions, the first of each a live broker that
// leads it. It stripes: racks in turn in a random order, so that a partition's
// replicas are in as many racks as there are, and brokers within a rack in turn,
// so that each leads equally often. Fenced brokers are used only where a rack has
// no other left. Racks and brokers are shuffled anew after each round of them, lest the
// partitions that one broker leads all follow on the same others.
//
//	racks A, B, C of three brokers each:   A0 B1 C2 | B0 C2 A1 | C0 A0 B0 | A1 B2 C0 …
func place(r *rand.Rand, brokers []*Broker, partitions, replicas int) ([][]int32, error) {
	live := 0
	for _, b := range brokers {
		if b.Active() {
			live++
		}
	}
	switch {
	case live == 0:
		return nil, fmt.Errorf("all brokers are fenced or shutting down")
	case replicas > len(brokers):
		return nil, fmt.Errorf("the replication factor %d is larger than the %d registered brokers", replicas, len(brokers))
	}
	racks := newRacks(brokers)
	out := make([][]int32, partitions)
	for k := range out {
		if k%live == 0 {
			r.Shuffle(len(racks), func(i, j int) { racks[i], racks[j] = racks[j], racks[i] })
			for i := range racks {
				racks[i].shuffle(r)
			}
		}
		out[k] = placeOne(racks, k, replicas)
	}
	return out, nil
}

// placeOne chooses the replicas of partition k. The stride from broker to broker
// differs between partitions led from different racks, lest they share replicas.
func placeOne(racks []rack, k, replicas int) []int32 {
	turn, stride := k/len(racks), 1+k%len(racks)
	list := make([]int32, 0, replicas)
	for i := 0; len(list) < replicas; i++ {
		rk := &racks[(k+i)%len(racks)]
		id, ok := pick(rk.live, turn+i*stride, list)
		if !ok && len(list) > 0 {
			id, ok = pick(rk.fenced, turn+i*stride, list)
		}
		if ok {
			list = append(list, id)
		}
	}
	return list
}

// pick is the first broker from a place on, round about, that is not yet used.
func pick(ids []int32, from int, used []int32) (int32, bool) {
	for i := range ids {
		if id := ids[(from+i)%len(ids)]; !slices.Contains(used, id) {
			return id, true
		}
	}
	return 0, false
}

// rack is the brokers of one rack.
type rack struct {
	name         string // "" for brokers without one
	live, fenced []int32
}

func newRacks(brokers []*Broker) []rack {
	var racks []rack
	for _, b := range brokers {
		name := ""
		if b.Rack != nil {
			name = *b.Rack
		}
		i, found := slices.BinarySearchFunc(racks, name, func(r rack, name string) int { return cmp.Compare(r.name, name) })
		if !found {
			racks = slices.Insert(racks, i, rack{name: name})
		}
		if b.Active() {
			racks[i].live = append(racks[i].live, b.ID)
		} else {
			racks[i].fenced = append(racks[i].fenced, b.ID)
		}
	}
	return racks
}

func (k *rack) shuffle(r *rand.Rand) {
	for _, ids := range [][]int32{k.live, k.fenced} {
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	}
}
