package health

import "testing"

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		"localhost:9644": "localhost:9644", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", ":9644": "localhost:9644",
		"10.0.0.7:9644": "10.0.0.7:9644", "[fe80::1]:9": "[fe80::1]:9",
	} {
		if got, err := reachable(address); got != want || err != nil {
			t.Errorf("%s: %s, want %s (%v)", address, got, want, err)
		}
	}
	if got, err := reachable("9644"); err == nil {
		t.Error(got)
	}
}
