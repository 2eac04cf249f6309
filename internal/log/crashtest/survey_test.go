package crashtest

import (
	"flag"
	"regexp"
	"strings"
	"testing"
)

var surveyFlag = flag.Bool("survey", false, "run TestSurvey")

// TestSurvey runs all cases whatever fails, and counts the kinds of failures.
func TestSurvey(t *testing.T) {
	if !*surveyFlag {
		t.Skip("it shows what TestCrash finds")
	}
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
		t.Errorf("%d times, first by seeds %v: %s", len(s), s[:min(len(s), 4)], k)
	}
}
