package config

import "iter"

// nearest is the broker setting whose name is closest to a misspelt one; "" when
// none is close.
func nearest(name string) string {
	return nearestOf(name, func(yield func(string) bool) {
		for d := range Defs(ScopeBroker) {
			if !yield(d.Name) {
				return
			}
		}
	})
}

// nearestOf is the candidate with the smallest edit distance to name, if that is
// at most a third of the name's length; of equal ones the first by alphabet.
func nearestOf(name string, candidates iter.Seq[string]) string {
	if len(name) > 100 {
		return ""
	}
	best, bestDist := "", len(name)/3+1
	for c := range candidates {
		d := editDistance(name, c, bestDist)
		if d < bestDist || d == bestDist && best != "" && c < best {
			best, bestDist = c, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, substitutions and swaps of two
// neighbours; it gives up at limit+1.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
