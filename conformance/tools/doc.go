// Package tools runs Apache Kafka's own command-line tools against the real
// binary, and its dump tool over the files that the binary leaves behind.
package tools
