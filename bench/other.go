//go:build !linux

// Command bench measures Leat beside Apache Kafka; it pins processes to cores and
// reads /proc, so it runs on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench runs on Linux only")
	os.Exit(1)
}
