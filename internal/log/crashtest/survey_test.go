package crashtest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestSurvey counts kinds of failures.
func TestSurvey(t *testing.T) {
	digits := regexp.MustCompile(`[0-9]+`)
	kinds := map[string][]uint64{}
	for seed := uint64(1); seed <= cases(1500); seed++ {
		if err := runCase(seed, nil); err != nil {
			line, _, _ := strings.Cut(err.Error(), "\n")
			k := digits.ReplaceAllString(line, "#")
			kinds[k] = append(kinds[k], seed)
		}
	}
	for k, s := range kinds {
		fmt.Println(len(s), k[:min(len(k), 220)], s[:min(len(s), 4)])
	}
}
