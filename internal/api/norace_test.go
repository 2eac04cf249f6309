//go:build !race

package api_test

// mutations is how many damaged requests each API gets.
const mutations = 1000
