// Package crash kills the real binary under load, again and again, and looks at
// what is left; and it traces the binary's system calls and compares their order
// with a golden file.
package crash
