package replica

// waiter is one long poll at one partition.
type waiter struct {
	p  *Partition
	op *FetchOp
	of *waiters
	at int // its place in of
}

// waiters are the long polls at one partition, in an order that follows from what
// happened before; Partition.mu guards them.
type waiters []*waiter

func (ws *waiters) add(w *waiter) {
	w.of, w.at = ws, len(*ws)
	*ws = append(*ws, w)
}

// remove takes a waiter out that is in.
func (w *waiter) remove() {
	list := *w.of
	last := len(list) - 1
	list[w.at] = list[last]
	list[w.at].at = w.at
	list[last] = nil
	*w.of = list[:last]
}

// all lists the operations that wait.
func (ws *waiters) all() []*FetchOp {
	if len(*ws) == 0 {
		return nil
	}
	ops := make([]*FetchOp, len(*ws))
	for i, w := range *ws {
		ops[i] = w.op
	}
	return ops
}
