// Package clients runs real client programs, each in its newest and one old
// version, against the real binary. A program is told BOOTSTRAP (the broker's
// address), PREFIX (what its topics and groups begin with), CLIENT_VERSION and
// SCRATCH (a folder), and exits with 0 when all it checked holds. Run with
// LEAT_BROKER=kafka, the same programs run against Apache Kafka, which shows
// that what they check is right.
package clients
