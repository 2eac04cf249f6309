//go:build race

package api_test

// mutations is how many damaged requests each API gets; the race detector looks at
// what they run, which fewer of them run too.
const mutations = 200
