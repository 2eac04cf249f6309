// Package differential sends one corpus of requests to Apache Kafka and to Leat,
// byte by byte, and compares what comes back field by field.
//
// A scenario is a short Go function over a Session: it sets up topics and groups,
// then records steps (a request at a version, valid or not, and its answer). The
// same function runs against both brokers; afterwards the two recordings are laid
// side by side. What cannot be equal (ids, ports, folders, the time of day) is
// replaced by names first; every difference that is left must stand in allow.json
// with a reason, and an entry of allow.json that matches nothing is an error, too.
//
// To add a case: add a step to a scenario, or a scenario to the list in
// scenarios.go; run the test with LEAT_BROKER=kafka first, which compares Kafka
// with itself and shows whether the step is repeatable.
package differential
